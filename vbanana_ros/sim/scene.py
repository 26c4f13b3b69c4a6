"""Scenes: rooms and table tops made from a seed, as MuJoCo models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from .furniture import CLASSES
from .layout import Layout, Placed, SimObject
from .model import build_model
from .rooms import furnish_room, lay_table

STUFF_ID = 65535


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera: square pixels, principal point in the middle of the picture.

    position: float64 [3], world, metres; axes: float64 [3, 3], columns x right, y down, z forward
    (ROS optical frame) in the world; fovy: vertical field of view, degrees.
    """

    position: np.ndarray
    axes: np.ndarray
    fovy: float

    @classmethod
    def looking_at(cls, position: np.ndarray, target: np.ndarray, fovy: float) -> Camera:
        """The camera at a point that looks at another, its x axis level."""
        z = target - position
        z = z / np.linalg.norm(z)
        x = np.cross(z, (0, 0, 1.0))
        x = x / np.linalg.norm(x)
        return cls(position, np.stack([x, np.cross(z, x), z], axis=1), fovy)

    @property
    def floor(self) -> np.ndarray:
        """float64 [3], 1/metres: the floor, z = 0 in the world, is where floor · point = 1 in the optical frame."""
        return -self.axes[2] / self.position[2]

    def mirrored(self) -> Camera:
        """The camera that sees the world mirrored at y = 0, its picture mirrored too."""
        return Camera(self.position * (1, -1, 1), np.diag([1, -1, 1]) @ self.axes @ np.diag([-1, 1, 1]), self.fovy)

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """K, float64 [3, 3], pixels; a pixel's centre has integer coordinates."""
        f = height / 2 / np.tan(np.radians(self.fovy) / 2)
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])


@dataclass(frozen=True)
class Scene:
    """A scene: its model and what each of the model's geoms is.

    kind: "room" or "table" (others: see `wild.py`, `studio.py`). fovy: vertical field of view of its cameras, degrees.
    geom_class: uint8 [ngeom], index in names; geom_object: uint16 [ngeom], object id or 65535 for
    floor, walls and ceiling. focus: float64 [n, 3], world points worth looking at.
    """

    seed: int
    kind: str
    fovy: float
    objects: list[SimObject]
    layout: Layout
    model: mujoco.MjModel
    geom_class: np.ndarray
    geom_object: np.ndarray
    focus: np.ndarray
    names: tuple[str, ...] = CLASSES

    @cached_property
    def data(self) -> mujoco.MjData:
        """The model's state, with world poses computed."""
        data = mujoco.MjData(self.model)
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_camlight(self.model, data)
        return data

    def cameras(self, count: int = 4) -> list[Camera]:
        """Views of the scene, the same for every call; a longer list begins with the shorter one."""
        rng = np.random.default_rng((self.seed, 1))
        return [self._camera(rng) for _ in range(count)]

    def _camera(self, rng: np.random.Generator) -> Camera:
        """The first drawn view that is good, else the best of 25."""
        best, best_score = None, -1.0
        for _ in range(25):
            camera = self._draw_camera(rng)
            score = self.view_score(camera)
            if score > best_score:
                best, best_score = camera, score
            if score >= 1:
                break
        return best

    def _draw_camera(self, rng: np.random.Generator) -> Camera:
        target = self.focus[int(rng.integers(len(self.focus)))]
        if self.kind == "table":
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.6)
            offset = (reach * np.cos(angle), reach * np.sin(angle), rng.uniform(0.12, 0.8))
            position = target + np.array(offset)
            target = target + rng.normal(0, 0.1, 3)
        else:
            half = np.array([self.layout.width, self.layout.depth]) / 2 - 0.2
            position = np.array([*rng.uniform(-half, half), rng.uniform(0.4, 1.8)])
            raised = rng.uniform(0.3, 1.2) if rng.random() < 0.3 else 0.0  # now and then up the walls
            target = target + rng.normal(0, 0.25, 3) + np.array([0, 0, raised])
        position[2] = np.clip(position[2], 0.4, 1.8)
        if np.linalg.norm((target - position)[:2]) < 0.2:
            target = target + np.array([0.3, 0.3, 0])
        return Camera.looking_at(position, target, self.fovy)

    def view_score(self, camera: Camera) -> float:
        """How good a view is: below 1 it is too near a thing, in a wall, or shows too little."""
        geoms, ranges = self.cast(camera, 16, 12)
        hit = geoms >= 0
        if not hit.any() or ranges[hit].min() < 0.3 or not self._inside(camera.position):
            return 0.0
        ids = self.geom_object[geoms[hit]]
        things, counts = np.unique(ids[ids != STUFF_ID], return_counts=True)
        share = counts.sum() / geoms.size
        biggest = counts.max(initial=0) / geoms.size
        return min(len(things) / 3, share / 0.15, 0.55 / max(biggest, 0.01), hit.mean() / 0.6, 1.0)

    def _inside(self, point: np.ndarray) -> bool:
        room = self.layout
        return bool(np.all(np.abs(point[:2]) < np.array([room.width, room.depth]) / 2 - 0.15))

    def cast(self, camera: Camera, cols: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Geom ids (int32 [rows*cols], -1 nothing) and ray lengths (metres) of a grid on a 4:3 picture."""
        tan = np.tan(np.radians(camera.fovy) / 2)
        u, v = np.meshgrid(np.linspace(-tan, tan, cols) * 4 / 3, np.linspace(-tan, tan, rows))
        rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ camera.axes.T
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        geoms, lengths = np.empty(len(rays), np.int32), np.empty(len(rays))
        mujoco.mj_multiRay(self.model, self.data, camera.position, rays.ravel(), None, True, -1, geoms,
                           lengths, None, len(rays), mujoco.mjMAXVAL)
        return geoms, lengths


def make_scene(seed: int) -> Scene:
    """The scene of a seed: a furnished room or a table top in a room. Same seed, same scene."""
    rng = np.random.default_rng(seed)
    kind = "room" if rng.random() < 0.55 else "table"
    layout = furnish_room(rng) if kind == "room" else lay_table(rng)
    things = layout.things
    slabs = layout.shell(margin=rng.choice([0.5, 3.0, 15.0]))
    if kind == "table":
        table = things[0]
        top = np.array([*table.info.position[:2], table.high[2]])
        focus = [t.info.position for t in things[1:] if t.low[2] > table.high[2] - 0.05] or [top]
    else:
        focus = [t.info.position for t in things if t.info.class_name != "rug"]
    return Scene(seed, kind, rng.uniform(42, 52), [t.info for t in things], layout,
                 build_model(layout, slabs, rng), *whose_geoms([name for name, _ in slabs], things), np.array(focus))


def whose_geoms(slabs: Sequence[str], things: Sequence[Placed],
                names: tuple[str, ...] = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """`geom_class` and `geom_object` of a Scene whose geoms are slabs, of these classes, and then the things' parts."""
    classes = [*slabs, *(t.info.class_name for t in things for _ in t.parts)]
    ids = [STUFF_ID] * len(slabs) + [t.info.id for t in things for _ in t.parts]
    return np.array([names.index(name) for name in classes], np.uint8), np.array(ids, np.uint16)
