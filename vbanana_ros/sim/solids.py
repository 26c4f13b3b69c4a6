"""Solids: where rays enter MuJoCo's primitives, and the exact outward normals there."""

from __future__ import annotations

import mujoco
import numpy as np

_G = mujoco.mjtGeom
_TINY = 1e-12


def enter(kind: int, size: np.ndarray, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The near intersection of rays with solids of one type, in the solids' own frames.

    kind: mjtGeom value; ray: float64 [N, 3]; size, origin: float64 [N, 3], or [1, 3] for one solid and one
    eye. Returns the parameter t [N] of origin + t * ray and the normals [N, 3]. A ray that passes a curved
    solid by a hair (its drawn facets say it hits) gets the nearest point of the surface.
    """
    if kind == _G.mjGEOM_BOX:
        return _box(size, origin, ray)
    if kind == _G.mjGEOM_CYLINDER:
        return _cylinder(size, origin, ray)
    if kind == _G.mjGEOM_CAPSULE:
        return _capsule(size, origin, ray)
    radii = size[:, :1].repeat(3, 1) if kind == _G.mjGEOM_SPHERE else size
    return _ellipsoid(radii, origin, ray)


def _first_root(a: np.ndarray, half_b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The lower root of a t^2 + 2 half_b t + c, or the vertex where there is none."""
    return (-half_b - np.sqrt(np.maximum(half_b * half_b - a * c, 0))) / np.maximum(a, _TINY)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def _box(size: np.ndarray, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    safe = np.where(np.abs(ray) < _TINY, _TINY, ray)
    side = -np.sign(safe)
    near = np.where(np.abs(ray) < _TINY, -np.inf, (side * size - origin) / safe)
    axis = near.argmax(axis=1)
    rows = np.arange(len(axis))
    normal = np.zeros_like(ray)
    normal[rows, axis] = side[rows, axis]
    return near[rows, axis], normal


def _cylinder(size: np.ndarray, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = (ray[:, :2] ** 2).sum(1), (origin[:, :2] * ray[:, :2]).sum(1)
    round_ = np.where(a < _TINY, -np.inf, _first_root(a, b, (origin[:, :2] ** 2).sum(1) - size[:, 0] ** 2))
    z = np.where(np.abs(ray[:, 2]) < _TINY, _TINY, ray[:, 2])
    up = -np.sign(z)
    cap = np.where(np.abs(ray[:, 2]) < _TINY, -np.inf, (up * size[:, 1] - origin[:, 2]) / z)
    on_cap = cap > round_
    t = np.maximum(cap, round_)
    point = origin + t[:, None] * ray
    normal = np.where(on_cap[:, None], 0.0, point * (1, 1, 0))
    normal[:, 2] = np.where(on_cap, up, 0.0)
    return t, _unit(normal)


def _capsule(size: np.ndarray, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius, half = size[:, 0], size[:, 1]
    a, b = (ray[:, :2] ** 2).sum(1), (origin[:, :2] * ray[:, :2]).sum(1)
    t = _first_root(a, b, (origin[:, :2] ** 2).sum(1) - radius ** 2)
    z = origin[:, 2] + t * ray[:, 2]
    core = np.zeros_like(ray)
    core[:, 2] = np.clip(z, -half, half)
    # A ray that leaves the tube's stretch enters at the round end on that side.
    offset = origin - core
    end = _first_root((ray ** 2).sum(1), (offset * ray).sum(1), (offset ** 2).sum(1) - radius ** 2)
    t = np.where((np.abs(z) > half) | (a < _TINY), end, t)
    return t, _unit(origin + t[:, None] * ray - core)


def _ellipsoid(radii: np.ndarray, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    o, r = origin / radii, ray / radii
    t = _first_root((r ** 2).sum(1), (o * r).sum(1), (o ** 2).sum(1) - 1)
    return t, _unit((o + t[:, None] * r) / radii)
