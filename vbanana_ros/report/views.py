"""A cloud seen from elsewhere than its camera: z-buffered points, shaded by depth, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vbanana_ros.cloud import unpack_rgb

BACKGROUND = (24, 25, 28)
CAMERA_COLOR = (245, 196, 48)

# Where the eye is, about the middle of the cloud: degrees to the left of the camera and above it.
BESIDE, ABOVE = (14.0, 9.0), (32.0, 48.0)

_MOST_POINTS = 120_000
_FOCAL = 1.4  # of the picture's height: a longer lens than most robots have, so that shapes look straight
_LARGEST_SPLAT = 8  # pixels
# How dark an edge is, and the relative step in depth up to which it is noise and no edge.
_EDGE_SHADING, _NO_EDGE = 9.0, 0.012


@dataclass(frozen=True)
class Eye:
    """A virtual pinhole: p -> rotation @ p + shift, then f and the middle of the picture.

    rotation: float64 [3, 3]; shift: float64 [3], metres; f: pixels; height, width: of the picture.
    """

    rotation: np.ndarray
    shift: np.ndarray
    f: float
    height: int
    width: int

    def project(self, points: np.ndarray) -> np.ndarray:
        """float [..., 3] in the cloud's frame -> float64 [..., 3]: column, row (pixels) and depth (metres)."""
        seen = points @ self.rotation.T + self.shift
        z = seen[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([self.f * seen[..., 0] / z + (self.width - 1) / 2,
                             self.f * seen[..., 1] / z + (self.height - 1) / 2, z], -1)

    @property
    def position(self) -> np.ndarray:
        """float64 [3]: where the eye is in the cloud's frame, metres."""
        return -self.rotation.T @ self.shift


def eye_at(points: np.ndarray, yaw: float, pitch: float, height: int, width: int,
           inside: np.ndarray | None = None) -> Eye:
    """The eye that sees nearly all points [N, 3], from yaw degrees to the left and pitch degrees above.

    inside: [M, 3], places that must be within the picture, every one of them.
    """
    (cy, sy), (cp, sp) = ((np.cos(a), np.sin(a)) for a in np.radians((yaw, pitch)))
    rotation = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    turned = points[:: max(1, len(points) // 20_000)] @ rotation.T
    f = _FOCAL * height
    reach = 0.93 * np.array([width, height]) / (2 * f)
    must = np.median(turned, 0)[None] if inside is None else inside @ rotation.T
    shift = -np.median(turned, 0)
    for centred in (False, True, True, True, True):
        if centred:
            at = turned + shift
            at, fixed = at[at[:, 2] > 1e-6], must + shift
            places = np.percentile(at[:, :2] / at[:, 2:], (1.5, 98.5), axis=0)
            places = np.vstack([places, fixed[:, :2] / fixed[:, 2:]])
            shift[:2] -= (places.min(0) + places.max(0)) / 2 * np.median(at[:, 2])
        # What each point wants the eye to step back until it is in the picture; a few strays may stay outside.
        wanted, needed = ((np.abs(at[:, :2]) / reach).max(1) - at[:, 2] for at in (turned + shift, must + shift))
        shift[2] += max(np.percentile(wanted, 98.5), needed.max())
    return Eye(rotation, shift, f, height, width)


def render_view(cloud: np.ndarray, yaw: float, pitch: float, height: int, width: int,
                camera: bool = False) -> np.ndarray:
    """An organised cloud (`make_cloud`, [h, w], with rgb) -> uint8 RGB [height, width, 3].

    camera: show also where the camera is, as a wire pyramid. Surfaces are seen only from the side that the
    camera saw, so that no ceiling hides its room.
    """
    stride = max(1, round((cloud.size / _MOST_POINTS) ** 0.5))
    cloud = cloud[::stride, ::stride]
    xyz = np.stack([cloud[axis] for axis in "xyz"], -1)
    known = np.isfinite(xyz).all(-1) & (xyz[..., 2] > 0)
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    if np.count_nonzero(known) < 3:
        return picture
    points = xyz[known].astype(np.float64)
    pyramid = _pyramid(points) if camera else None
    eye = eye_at(points, yaw, pitch, height, width, pyramid)
    down, across = _difference(xyz, 0), _difference(xyz, 1)
    seen = _faces(xyz, np.cross(down, across), eye.position)[known]
    colors = unpack_rgb(cloud["rgb"][known][seen])
    sizes = _sizes(xyz, down, across)[known][seen]
    nearest, depth = _splat(eye.project(points[seen]), sizes * eye.f, height, width)
    hit = nearest >= 0
    shade = _shade(depth)[hit][:, None]
    picture[hit] = (shade * colors[nearest[hit]] + (1 - shade) * np.array(BACKGROUND) * 0.4).round()
    if pyramid is not None:
        _draw(pyramid, picture, eye)
    return picture


def _faces(xyz: np.ndarray, normal: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """bool [h, w]: the surface about a point turns the same side to the eye as to the camera, or is not known."""
    to_camera = -np.sign((normal * xyz).sum(-1))
    length = np.linalg.norm(normal, axis=-1) * np.linalg.norm(eye - xyz, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = to_camera * (normal * (eye - xyz)).sum(-1) / length
    return ~(cosine < -0.05)


def _difference(xyz: np.ndarray, axis: int) -> np.ndarray:
    """Differences two pixels wide either way, one-sided beside the unknown: noise must not turn a surface."""
    rows = np.moveaxis(xyz, axis, 0)
    before, after = np.concatenate([rows[:1]] * 2 + [rows])[:len(rows)], np.concatenate([rows] + [rows[-1:]] * 2)[2:]
    before, after = (np.where(np.isfinite(side), side, rows) for side in (before, after))
    return np.moveaxis(after - before, 0, axis)


def _sizes(xyz: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """float64 [h, w], metres to the next point: at least that of a surface square to the ray, at most four times."""
    with np.errstate(divide="ignore", invalid="ignore"):
        angles = np.abs(np.diff(xyz[..., 0] / xyz[..., 2], axis=1))
    angles = angles[np.isfinite(angles)]
    least = (float(np.median(angles)) if angles.size else 0.0) * xyz[..., 2].astype(np.float64)
    slanted = np.maximum(np.linalg.norm(down, axis=-1), np.linalg.norm(across, axis=-1)) / 4
    # Further apart than that they lie on two surfaces.
    return np.where(slanted < 4 * least, np.maximum(slanted, least), least)


def _splat(places: np.ndarray, footprint: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest point at each pixel (int64 [height, width], -1 none) and its depth (+inf none).

    places: [N, 3] column, row, depth; footprint: [N], size of a point one metre away, pixels.
    """
    column, row, z = places.T
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.clip(np.ceil(1.4 * footprint / z), 1, _LARGEST_SPLAT)
    size[~(z > 1e-6)] = 0
    # Depth above, index below: the least key at a pixel is its nearest point.
    key = (np.maximum(z, 0).astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)) | np.arange(
        len(z), dtype=np.uint64)
    buffer = np.full(height * width, np.iinfo(np.uint64).max)
    for n in range(1, _LARGEST_SPLAT + 1):
        chosen = np.flatnonzero(size == n)
        left, top = (np.round(p[chosen] - (n - 1) / 2).astype(np.int64) for p in (column, row))
        for dy in range(n):
            for dx in range(n):
                u, v = left + dx, top + dy
                inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
                np.minimum.at(buffer, v[inside] * width + u[inside], key[chosen[inside]])
    empty = buffer == np.iinfo(np.uint64).max
    nearest = np.where(empty, -1, (buffer & np.uint64(0xFFFFFFFF)).astype(np.int64))
    depth = np.where(empty, np.inf, (buffer >> np.uint64(32)).astype(np.uint32).view(np.float32))
    return nearest.reshape(height, width), depth.reshape(height, width)


def _shade(depth: np.ndarray) -> np.ndarray:
    """Eye-dome lighting, 0..1 [H, W]: a pixel that lies behind its neighbours is darker, so that edges show."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.pad(np.log(depth), 2, constant_values=np.inf)
        height, width = depth.shape
        middle = z[2:-2, 2:-2]
        behind = np.zeros(depth.shape)
        for dy, dx in ((0, 2), (2, 0), (0, -2), (-2, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            step = middle - z[2 + dy:2 + dy + height, 2 + dx:2 + dx + width]
            behind += np.where(np.isfinite(step), (step - _NO_EDGE).clip(0, 0.15), 0)
    return np.exp(-_EDGE_SHADING * behind / 8)


def _pyramid(points: np.ndarray) -> np.ndarray:
    """float64 [5, 3]: the tip and the four corners of the field of view that the points fill."""
    (left, top), (right, bottom) = np.percentile(points[:, :2] / points[:, 2:], (0.5, 99.5), axis=0)
    length = 0.16 * float(np.median(points[:, 2]))
    return length * np.array([(0, 0, 0), (left, top, 1), (right, top, 1), (right, bottom, 1), (left, bottom, 1)])


def _draw(pyramid: np.ndarray, picture: np.ndarray, eye: Eye) -> None:
    tip, *base = [(int(16 * u), int(16 * v)) for u, v, _ in eye.project(pyramid)]
    for i, corner in enumerate(base):
        for other in (tip, base[i - 1]):
            cv2.line(picture, corner, other, CAMERA_COLOR, max(1, picture.shape[0] // 400), cv2.LINE_AA, shift=4)
