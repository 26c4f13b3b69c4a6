"""Organised point clouds: depth, and all that is known of each pixel, on the image's own grid."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError

_LARGEST = float(np.finfo(np.float32).max)


def make_cloud(
    depth: np.ndarray,
    camera: Camera,
    rgb: np.ndarray | None = None,
    normals: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    instances: np.ndarray | None = None,
    min_range: float = 0.0,
    max_range: float = float("inf"),
    stride: int = 1,
) -> np.ndarray:
    """Depth and its pixels' properties -> a structured array [ceil(H / stride), ceil(W / stride)].

    depth: float32 [H, W], metres along the optical axis (REP 118). camera: brought to depth's grid.
    rgb: uint8 [H, W, 3]. normals: float32 [H, W, 3], optical frame. labels, instances: unsigned [H, W].
    min_range, max_range: depths kept, metres, both inclusive. stride: every so many rows and columns.

    Fields, in the camera's optical frame: x y z (float32, metres), then those that were given:
    rgb (0x00RRGGBB in a float32, as PCL has it), normal_x normal_y normal_z (float32), label and
    instance (uint32). x, y and z are NaN where depth is not finite or out of range, or where the pixel has no
    ray; the other fields stay. Raises InputError where sizes differ or the camera is not calibrated.
    """
    rays = camera.resized(*depth.shape).rays()
    for name, image in (("rgb", rgb), ("normals", normals), ("labels", labels), ("instances", instances)):
        if image is not None and image.shape[:2] != depth.shape:
            raise InputError(f"{name} is {image.shape[1]}x{image.shape[0]} and depth "
                             f"{depth.shape[1]}x{depth.shape[0]}; bring both to one grid")
    depth, rgb, normals, labels, instances = (
        None if image is None else _every(image, stride) for image in (depth, rgb, normals, labels, instances)
    )
    z = np.full(depth.shape, np.nan, np.float32)
    depth = depth.astype(np.float32, copy=False)
    cv2.copyTo(depth, cv2.inRange(depth, float(min_range), min(float(max_range), _LARGEST)), z)
    planes = [cv2.multiply(np.ascontiguousarray(rays[::stride, ::stride, k]), z) for k in range(3)]
    fields = [(name, np.float32) for name in "xyz"]
    if rgb is not None:
        planes.append(pack_rgb(rgb))
        fields.append(("rgb", np.float32))
    if normals is not None:
        planes.append(normals.astype(np.float32, copy=False))
        fields += [(f"normal_{axis}", np.float32) for axis in "xyz"]
    for name, image in (("label", labels), ("instance", instances)):
        if image is not None:
            planes.append(image.astype(np.uint32).view(np.float32))
            fields.append((name, np.uint32))
    # OpenCV interleaves planes several times as fast as strided numpy writes, and bit by bit: the integers
    # and packed colours that pass as float32 stay what they are.
    return cv2.merge(planes).view(fields)[..., 0]


def _every(image: np.ndarray, stride: int) -> np.ndarray:
    """Every stride-th row and column of [H, W, ...], in one piece."""
    if image.ndim == 2 or stride == 1:
        return np.ascontiguousarray(image[::stride, ::stride])
    # A pixel as one item: numpy copies those several times as fast as channel by channel.
    pixels = np.ascontiguousarray(image)
    whole = pixels.view(f"V{pixels.itemsize * pixels.shape[2]}")[..., 0]
    return np.ascontiguousarray(whole[::stride, ::stride])[..., None].view(pixels.dtype)


def pack_rgb(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [H, W] whose bits are 0x00RRGGBB."""
    packed = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view(np.uint32)[..., 0]
    packed &= 0x00FFFFFF
    return packed.view(np.float32)


def unpack_rgb(packed: np.ndarray) -> np.ndarray:
    """float32 [...] whose bits are 0x00RRGGBB -> uint8 [..., 3]."""
    return np.ascontiguousarray(packed)[..., None].view(np.uint8)[..., 2::-1]


def write_ply(path: str | Path, cloud: np.ndarray) -> int:
    """Write a cloud's finite points as binary PLY, with its colours and normals; returns how many.

    The file appears under its name only when it is complete. Raises InputError where it cannot be written.
    """
    points = cloud[np.isfinite(cloud["x"]) & np.isfinite(cloud["y"]) & np.isfinite(cloud["z"])]
    columns = {axis: points[axis].astype("<f4") for axis in "xyz"}
    if "normal_x" in cloud.dtype.names:
        columns |= {f"n{axis}": points[f"normal_{axis}"].astype("<f4") for axis in "xyz"}
    if "rgb" in cloud.dtype.names:
        columns |= dict(zip(("red", "green", "blue"), unpack_rgb(points["rgb"]).T, strict=True))
    vertices = np.empty(len(points), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        vertices[name] = column
    lines = [f"property {'uchar' if c.dtype == np.uint8 else 'float'} {name}" for name, c in columns.items()]
    header = "\n".join(("ply", "format binary_little_endian 1.0", "comment metres, camera optical frame",
                        f"element vertex {len(points)}", *lines, "end_header\n"))
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(header.encode("ascii") + vertices.tobytes())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # a parent that is a file would hide what is wrong
            part.unlink()
        raise InputError(f"cannot write {path} ({error.strerror}); give another path") from None
    return len(points)
