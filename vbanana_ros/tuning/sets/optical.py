"""Cameras and normals of other conventions -> the optical frame (x right, y down, z forward)."""

from __future__ import annotations

import numpy as np

from vbanana_ros.camera import Camera

# From axes as OpenGL has them: x right, y up, z back.
FROM_OPENGL = np.diag([1.0, -1.0, -1.0])


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """float64 [3, 3], read-only, pixels; pixel centres at whole numbers."""
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
    K.flags.writeable = False  # the records of a set share it
    return K


def rays_of(K: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 [height, width, 3]: where each pixel looks, z = 1."""
    return Camera(width, height, K).rays()


def unit_normals(stored: np.ndarray, turn: np.ndarray | None = None) -> np.ndarray:
    """Vectors [H, W, 3] of any length -> float32 unit vectors; NaN where there is no direction (zero, not finite).

    turn: float [3, 3], from the set's axes to the optical frame.
    """
    vectors = np.asarray(stored, np.float32)
    if turn is not None:
        vectors = vectors @ turn.T.astype(np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(length) & (length > 0.1), vectors / length, np.float32(np.nan))


def toward_camera(normals: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Turns round the normals that face away: some sets leave the side of a surface to whoever modelled it.

    normals, rays: float [H, W, 3], optical frame; NaN stays.
    """
    away = np.einsum("hwc,hwc->hw", normals, rays) > 0
    return np.where(away[..., None], -normals, normals)
