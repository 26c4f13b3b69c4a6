"""The bag that `vbanana demo` runs on: `python -m vbanana_ros.sim.demo FOLDER` draws it anew.

Scenes that no model is trained on, as JPEG, so that the bag is small enough to ship.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from vbanana_ros.messages import offline, typestore

from .bag import CAMERA_INFO, camera_info, header
from .camera import SimCamera
from .render import SimFrame

SEEDS = (9_100_001, 9_100_009, 9_100_020, 9_100_021, 9_100_029, 9_100_000)
FRAMES = 4  # of each scene, half a second apart in the bag
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]


def frames() -> Iterator[tuple[int, SimFrame]]:
    """(stamp in nanoseconds, frame) of each scene in turn, the camera on its way through it."""
    for i, seed in enumerate(SEEDS):
        camera = SimCamera(seed, fps=FRAMES / 8)
        for j, (_, frame) in enumerate(islice(camera, FRAMES)):
            yield 10**9 + (i * FRAMES + j) * 500_000_000, frame
        camera.close()


def write(path: Path) -> None:
    """Write the bag, an MCAP with JPEG images and their camera_info."""
    store = typestore()
    kind = "sensor_msgs/msg/CompressedImage"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection("/camera/image_raw/compressed", kind, typestore=store)
        infos = writer.add_connection("/camera/camera_info", CAMERA_INFO, typestore=store)
        for stamp, frame in frames():
            _, data = cv2.imencode(".jpg", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), JPEG)
            head = header(store.types, stamp)
            image = offline(kind)(header=head, format="jpeg", data=data.ravel().astype(np.uint8))
            info = camera_info(store.types, head, frame)
            writer.write(images, stamp, store.serialize_cdr(image, kind))
            writer.write(infos, stamp, store.serialize_cdr(info, CAMERA_INFO))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
