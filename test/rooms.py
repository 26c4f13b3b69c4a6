"""A tiled room as a camera in it sees it, with its exact depth, normals and axes."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vbanana_ros.camera import Camera

SIZE = np.array([4.0, 5.0, 2.6])  # metres, along x, along y, z up
TILE = 0.5


@dataclass(frozen=True)
class Room:
    """rgb: uint8 [H, W, 3]; depth: float32 [H, W], metres; normals: float32 [H, W, 3], optical frame.

    rays: float32 [H, W, 3]; axes: float64 [3, 3], the room's, a unit vector of the optical frame a row.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    rays: np.ndarray
    axes: np.ndarray


def room(camera: Camera, yaw=25.0, pitch=12.0, roll=3.0, place=(1.2, 1.0, 1.4)) -> Room:
    """A camera at a place looks along y, turned by degrees."""
    rays = camera.rays()
    level = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # the optical axes, a column each, where y is ahead, z up
    turn = Rotation.from_euler("ZXY", [yaw, -pitch, roll], degrees=True).as_matrix() @ level
    looks = rays.astype(np.float64) @ turn.T
    with np.errstate(divide="ignore", invalid="ignore"):
        ways = np.where(looks > 0, SIZE - place, np.negative(place)) / looks
    axis = np.argmin(np.where(np.isfinite(ways), ways, np.inf), -1)
    depth = np.take_along_axis(ways, axis[..., None], -1)[..., 0]
    inward = -np.sign(np.take_along_axis(looks, axis[..., None], -1))
    normals = np.eye(3)[axis] * inward @ turn
    tile = np.floor((place + looks * depth[..., None] + 1e-9) / TILE)
    odd = np.where(np.eye(3, dtype=bool)[axis], 0, tile).sum(-1) % 2
    rgb = np.repeat((90 + 25 * axis + 60 * odd)[..., None], 3, -1).astype(np.uint8)
    return Room(rgb, depth.astype(np.float32), normals.astype(np.float32), rays, axes=turn)


def angle(one, other):
    """Degrees between vectors [..., 3]."""
    cosine = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def apart(axes, others):
    """Degrees by which each of three axes is off the nearest of others, whatever their order and sign; the worst."""
    return float(angle(axes[:, None], np.concatenate([others, -others])).min(-1).max())
