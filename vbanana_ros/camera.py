"""Camera models: what direction each pixel looks in, as sensor_msgs/CameraInfo describes it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from vbanana_ros.errors import InputError

# The names in sensor_msgs/distortion_models.hpp; drivers that rectify on board leave the name empty.
_FISHEYE = "equidistant"
_BROWN = ("plumb_bob", "rational_polynomial")
_COEFFICIENTS = (4, 5, 8, 12, 14)  # what OpenCV takes for the two

# Image and camera_info may differ in aspect by the rounding of a resize, not by more.
_MAX_ASPECT_ERROR = 0.02

# A ray that projects further than this from its pixel did not converge, pixels.
_MAX_REPROJECTION = 0.1
_UNDISTORT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-4)


def _matrix(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A read-only float64 copy of numbers as a message or file has them."""
    matrix = np.array(values, np.float64)
    if matrix.size != math.prod(shape) or not np.isfinite(matrix).all():
        size = " x ".join(map(str, shape))
        raise InputError(f"camera's {name} is not {size} finite numbers; calibrate it anew")
    matrix = matrix.reshape(shape)
    matrix.flags.writeable = False
    return matrix


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera on one pixel grid; pixel centres at whole numbers, ROI and binning already folded in.

    width, height: pixels of the image; 0 where unknown (a file without them fits every image).
    K: float64 [3, 3], intrinsics of the raw image. D: float64 [n], distortion coefficients.
    model: `plumb_bob`, `rational_polynomial` or `equidistant`.
    R: float64 [3, 3] and P: float64 [3, 4], rectification and projection of the rectified image.
    rectified: the image is a rectified one, so that P counts and nothing is distorted.
    frame_id: the optical frame (REP 103: z forward, x right, y down).
    Cameras with equal numbers are equal, and share their rays.
    """

    width: int
    height: int
    K: np.ndarray
    D: np.ndarray = field(default_factory=lambda: np.zeros(0))
    model: str = "plumb_bob"
    R: np.ndarray = field(default_factory=lambda: np.eye(3))
    P: np.ndarray = field(default_factory=lambda: np.zeros((3, 4)))
    rectified: bool = False
    frame_id: str = ""

    def __post_init__(self) -> None:
        for name, shape in (("K", (3, 3)), ("R", (3, 3)), ("P", (3, 4)), ("D", (np.size(self.D),))):
            object.__setattr__(self, name, _matrix(getattr(self, name), shape, name))
        known = self.D.size == 4 if self.model == _FISHEYE else (
            self.model in _BROWN and self.D.size in _COEFFICIENTS)
        if self.distorted and not known:
            raise InputError(f"distortion model {self.model!r} with {self.D.size} coefficients is not known; "
                             f"rectify the image first or calibrate as {', '.join((*_BROWN, _FISHEYE))}")

    @classmethod
    def from_message(cls, camera_info: Any, rectified: bool = False) -> Camera:
        """sensor_msgs/CameraInfo (rclpy's or rosbags' class) -> the camera of the image it announces.

        Its size is that of the region of interest after binning; `resized` brings it to another image.
        rectified: the image is the rectified one (`image_rect...`). The message is not changed.
        Raises InputError for a distortion model that is not known, or matrices of a wrong size.
        """
        m, roi = camera_info, camera_info.roi
        bx, by = max(1, m.binning_x), max(1, m.binning_y)
        # REP and CameraInfo: the ROI is in pixels before binning, and all zeros means the whole image.
        width, height = roi.width or m.width, roi.height or m.height
        fold = np.array([[1 / bx, 0, -roi.x_offset / bx], [0, 1 / by, -roi.y_offset / by], [0, 0, 1]])
        return cls(
            width // bx, height // by,
            K=fold @ _matrix(m.k, (3, 3), "K"), D=m.d, model=m.distortion_model or "plumb_bob",
            R=m.r, P=fold @ _matrix(m.p, (3, 4), "P"), rectified=rectified, frame_id=m.header.frame_id,
        )

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float) -> Camera:
        """A pinhole camera with square pixels; fov_deg: full horizontal angle of view, degrees, 0..180."""
        if not 0 < fov_deg < 180:
            raise InputError(f"a field of view of {fov_deg} degrees is none; give one between 0 and 180")
        f = width / 2 / math.tan(math.radians(fov_deg) / 2)
        return cls(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]))

    @classmethod
    def from_file(cls, path: str | Path) -> Camera:
        """ROS camera_calibration YAML, or JSON with fx, fy, cx, cy or with Open3D's intrinsic_matrix.

        Raises InputError where the file is missing or has neither form.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            data = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"camera file {path} cannot be read ({reason}); "
                             "give a calibration YAML or JSON") from None
        try:
            return _from_calibration(data) if "camera_matrix" in data else _from_intrinsics(data)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"camera file {path} is no camera ({error!r}); it needs camera_matrix "
                             "(ROS YAML), intrinsic_matrix (Open3D) or fx, fy, cx, cy") from None

    @functools.cached_property
    def _key(self) -> tuple:
        return (self.width, self.height, self.model, self.rectified, self.frame_id,
                *(getattr(self, name).tobytes() for name in "KDRP"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Camera) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def intrinsics(self) -> np.ndarray:
        """float64 [3, 3] of this image: P's for a rectified one (where P is set), else K."""
        return self.P[:, :3] if self.rectified and self.P[0, 0] else self.K

    @property
    def calibrated(self) -> bool:
        """False where the driver left the focal length at 0 (CameraInfo: uncalibrated)."""
        return bool(self.intrinsics[0, 0])

    @property
    def distorted(self) -> bool:
        """True where straight lines are not straight in this image."""
        return not self.rectified and bool(self.D.any() or (self.model == _FISHEYE and self.D.size))

    def resized(self, height: int, width: int) -> Camera:
        """The camera of the same view on another grid: row 0 of K and P scales by sx, row 1 by sy.

        Raises InputError where the aspect differs by more than 2 %: something was cropped that no ROI tells.
        """
        if (height, width) == (self.height, self.width):
            return self
        if not (self.width and self.height):
            return replace(self, width=width, height=height)
        sx, sy = width / self.width, height / self.height
        if abs(sx / sy - 1) > _MAX_ASPECT_ERROR:
            raise InputError(f"camera_info is for {self.width}x{self.height}, the image is {width}x{height}: "
                             "no resize makes one the other; give this image's camera_info, with its ROI")
        scale = np.diag([sx, sy, 1.0])
        return replace(self, width=width, height=height, K=scale @ self.K, P=scale @ self.P)

    def project(self, points: Sequence[float] | np.ndarray) -> np.ndarray:
        """float [..., 3] in the optical frame, z > 0 -> float64 [..., 2], pixels (u, v) of this image."""
        points = np.asarray(points, np.float64)
        if not self.distorted:
            uvw = points @ self.intrinsics.T
            return uvw[..., :2] / uvw[..., 2:]
        zero, flat = np.zeros(3), np.ascontiguousarray(points).reshape(-1, 1, 3)
        project = cv2.fisheye.projectPoints if self.model == _FISHEYE else cv2.projectPoints
        return project(flat, zero, zero, self.K, self.D)[0].reshape(*points.shape[:-1], 2)

    def rays(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """float32 [height, width, 3], read-only: where each pixel looks in the optical frame, z = 1.

        size: (height, width) of another grid of the same view, of any aspect; None for the image's own. Distortion is
        undone; NaN where that does not converge (outside of the lens model's range). Made once for equal cameras.
        Raises InputError for an uncalibrated camera.
        """
        if not self.calibrated:
            raise InputError(f"camera {self.frame_id!r} is not calibrated (K[0] is 0); "
                             "calibrate it or give a camera file")
        return _rays(self) if size in (None, (self.height, self.width)) else _rays_between(self, *size)


def frustum(K: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 [4]: where the left, top, right and bottom edge of an image are at distance 1 before the camera.

    K: [3, 3], pixels, pixel centres at whole numbers. Metres to the right, and down, for each metre forward: the same
    for the image on any grid.
    """
    (fx, _, cx), (_, fy, cy) = K[:2]
    return np.float32([(-0.5 - cx) / fx, (-0.5 - cy) / fy, (width - 0.5 - cx) / fx, (height - 0.5 - cy) / fy])


@functools.lru_cache(maxsize=4)
def _rays(camera: Camera) -> np.ndarray:
    u, v = np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))
    rays = np.ones((*u.shape, 3))
    if camera.distorted:
        rays[..., :2] = _undistort(camera, np.stack((u, v), -1))
    else:
        k = camera.intrinsics
        rays[..., 1] = (v - k[1, 2]) / k[1, 1]
        rays[..., 0] = (u - k[0, 2] - k[0, 1] * rays[..., 1]) / k[0, 0]
    rays[np.isnan(rays[..., 0])] = np.nan
    # x, y and z each in one piece, as the cloud multiplies them.
    rays = np.moveaxis(np.moveaxis(rays, -1, 0).astype(np.float32, order="C"), 0, -1)
    rays.flags.writeable = False
    return rays


@functools.lru_cache(maxsize=4)
def _rays_between(camera: Camera, height: int, width: int) -> np.ndarray:
    """Of another grid of the same view: each blended from those of the image's pixels about it."""
    planes = np.moveaxis(_rays(camera), -1, 0)
    rays = np.moveaxis(np.stack([cv2.resize(plane, (width, height)) for plane in planes]), 0, -1)
    rays.flags.writeable = False
    return rays


def _undistort(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """float64 [H, W, 2] pixels -> x/z, y/z; NaN where the way back misses the pixel."""
    undistort = cv2.fisheye.undistortPoints if camera.model == _FISHEYE else cv2.undistortPoints
    xy = undistort(pixels.reshape(-1, 1, 2), camera.K, camera.D, criteria=_UNDISTORT).reshape(pixels.shape)
    again = camera.project(np.concatenate((xy, np.ones_like(xy[..., :1])), -1))
    # Not "error > limit", which lets a NaN pass.
    xy[~(np.abs(again - pixels).max(-1) <= _MAX_REPROJECTION)] = np.nan
    radius = np.linalg.norm(xy, axis=-1)
    xy[radius > _fold(camera, np.nanmax(radius, initial=1e-6))] = np.nan
    return xy


def _fold(camera: Camera, largest: float) -> float:
    """The least radius (of x/z, y/z) at which the lens model turns back and is no lens any more; inf without.

    Beyond it a polynomial has a second point for the same pixel, which undistortion may find.
    """
    radial = camera.D[:8].copy()
    if camera.model in _BROWN:
        radial[2:4] = 0
    r = np.geomspace(1e-4 * largest, largest, 4096)
    line = np.stack((r, np.zeros_like(r), np.ones_like(r)), -1)
    turns = np.flatnonzero(np.diff(replace(camera, K=np.eye(3), D=radial).project(line)[:, 0]) <= 0)
    return float(r[turns[0]]) if turns.size else math.inf


def _from_calibration(data: dict) -> Camera:
    k = data["camera_matrix"]["data"]
    return Camera(
        int(data.get("image_width", 0)), int(data.get("image_height", 0)), K=k,
        D=data.get("distortion_coefficients", {}).get("data", []),
        model=data.get("distortion_model") or "plumb_bob",
        R=data.get("rectification_matrix", {}).get("data", np.eye(3)),
        P=data.get("projection_matrix", {}).get("data", np.zeros((3, 4))),
    )


def _from_intrinsics(data: dict) -> Camera:
    if "intrinsic_matrix" in data:
        k = np.reshape(data["intrinsic_matrix"], (3, 3)).T  # Open3D writes columns first
        if k[2].tolist() != [0, 0, 1]:
            raise ValueError("intrinsic_matrix is not in Open3D's order, columns first")
    else:
        fx, fy, cx, cy = (float(data[name]) for name in ("fx", "fy", "cx", "cy"))
        k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Camera(int(data.get("width", 0)), int(data.get("height", 0)), k)
