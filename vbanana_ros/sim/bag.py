"""Bags of simulated frames: what a camera would have recorded, with the ground truth beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ..errors import BagError
from .render import SimFrame

FRAME_ID = "camera_optical_frame"
IMAGE, CAMERA_INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
TOPICS = {"/camera/image_raw": IMAGE, "/camera/camera_info": CAMERA_INFO, "/ground_truth/depth": IMAGE}


def write_bag(path: Path | str, frames: Iterable[tuple[int, SimFrame]]) -> int:
    """Write (stamp in nanoseconds, frame) pairs as a rosbag2 directory with MCAP storage; gives their number.

    Topics: /camera/image_raw (rgb8), /camera/camera_info, /ground_truth/depth (32FC1, metres, +inf where
    nothing is). The bag appears under its name only when it is whole. Raises BagError where it exists or
    cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise BagError(f"{path} exists already: give another name or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as draft:
            count = _write(Path(draft) / path.name, frames)
            (Path(draft) / path.name).rename(path)
    except OSError as error:
        raise BagError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def _write(path: Path, frames: Iterable[tuple[int, SimFrame]]) -> int:
    store = get_typestore(Stores.ROS2_JAZZY)
    count = 0
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {t: writer.add_connection(t, kind, typestore=store) for t, kind in TOPICS.items()}
        for stamp, frame in frames:
            head = header(store.types, stamp)
            messages = (_image(store.types, head, frame.rgb, "rgb8"),
                        camera_info(store.types, head, frame),
                        _image(store.types, head, frame.depth, "32FC1"))
            for (topic, connection), message in zip(topics.items(), messages, strict=True):
                writer.write(connection, stamp, store.serialize_cdr(message, TOPICS[topic]))
            count += 1
    return count


def header(types: dict[str, Any], stamp: int) -> Any:
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=FRAME_ID)


def _image(types: dict[str, Any], header: Any, image: np.ndarray, encoding: str) -> Any:
    height, width = image.shape[:2]
    little = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    return types[IMAGE](header=header, height=height, width=width, encoding=encoding, is_bigendian=0,
                        step=little.strides[0], data=little.view(np.uint8).ravel())


def camera_info(types: dict[str, Any], header: Any, frame: SimFrame) -> Any:
    height, width = frame.depth.shape
    whole = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, do_rectify=False)
    projection = np.hstack([frame.K, np.zeros((3, 1))])
    return types[CAMERA_INFO](header=header, height=height, width=width, distortion_model="plumb_bob",
                              d=np.zeros(5), k=frame.K.ravel(), r=np.eye(3).ravel(), p=projection.ravel(),
                              binning_x=0, binning_y=0, roi=whole)
