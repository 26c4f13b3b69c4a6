"""Bags of simulated frames: what a camera would have recorded, with the ground truth beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pytransform3d.rotations import quaternion_from_matrix
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ..errors import BagError
from .render import SimFrame
from .scene import Camera

FRAME_ID, WORLD = "camera_optical_frame", "world"
IMAGE, CAMERA_INFO, TF = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
TOPICS = {"/camera/image_raw": IMAGE, "/camera/camera_info": CAMERA_INFO, "/ground_truth/depth": IMAGE, "/tf": TF}


def write_bag(path: Path | str, frames: Iterable[tuple[int, SimFrame]]) -> int:
    """Write (stamp in nanoseconds, frame) pairs as a rosbag2 directory with MCAP storage; gives their number.

    Topics: /camera/image_raw (rgb8), /camera/camera_info, /ground_truth/depth (32FC1, metres, +inf where
    nothing is), /tf (where the camera is in `world`, whose floor is z = 0). The bag appears under its name
    only when it is whole. Raises BagError where it exists or cannot be written.
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
                        _image(store.types, head, frame.depth, "32FC1"),
                        transforms(store.types.__getitem__, head.stamp, frame.camera))
            for (topic, connection), message in zip(topics.items(), messages, strict=True):
                writer.write(connection, stamp, store.serialize_cdr(message, TOPICS[topic]))
            count += 1
    return count


def header(types: dict[str, Any], stamp: int) -> Any:
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=FRAME_ID)


def transforms(get_message: Callable[[str], type], stamp: Any, camera: Camera) -> Any:
    """tf2_msgs/TFMessage (rosidl's or rosbags' class): where the camera is in the world; stamp: of its image."""
    geometry = "geometry_msgs/msg/"
    place = dict(zip("xyz", camera.position.tolist(), strict=True))
    turn = dict(zip("wxyz", quaternion_from_matrix(camera.axes).tolist(), strict=True))
    transform = get_message(f"{geometry}Transform")(
        translation=get_message(f"{geometry}Vector3")(**place), rotation=get_message(f"{geometry}Quaternion")(**turn))
    return get_message(TF)(transforms=[get_message(f"{geometry}TransformStamped")(
        header=get_message("std_msgs/msg/Header")(stamp=stamp, frame_id=WORLD), child_frame_id=FRAME_ID,
        transform=transform)])


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
