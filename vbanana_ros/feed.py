"""What one live camera sent of late, and how a message of it becomes a frame."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError
from vbanana_ros.messages import decode_image, seconds, stamp_of
from vbanana_ros.perception import Frame

# Images kept for queries about the last second or so, and camera_info that waits for the image of its stamp.
_IMAGES, _INFOS = 10, 100


class Feed:
    """One camera: its newest images and camera_info messages (rclpy's or rosbags' classes).

    rectified: the images are rectified ones. decode: image message -> uint8 RGB [H, W, 3], or InputError.
    floor: (frame_id, stamp in nanoseconds) -> the floor before the camera, see `Frame`, or InputError; None: not known.
    Messages may come in one thread and frames be made in another.
    """

    def __init__(self, rectified: bool = False, decode: Callable[[Any], np.ndarray] = decode_image,
                 floor: Callable[[str, int], np.ndarray] | None = None) -> None:
        self._rectified, self._decode, self._floor = rectified, decode, floor
        self._images: deque[Any] = deque(maxlen=_IMAGES)
        self._infos: OrderedDict[int, Any] = OrderedDict()
        self._last: dict[str, Any] = {}

    def add_image(self, message: Any) -> None:
        """Keep an image in place of the oldest."""
        self._images.append(message)

    def add_info(self, message: Any) -> None:
        """Keep a camera_info in place of the oldest."""
        self._infos[stamp_of(message)] = message
        if len(self._infos) > _INFOS:
            self._infos.popitem(last=False)
        self._last[message.header.frame_id] = message

    def image(self, stamp: int = 0) -> Any:
        """The image of a stamp (nanoseconds), of 0 the newest, or None where none has come.

        Raises InputError where it is none of those that are kept, naming them.
        """
        images = list(self._images)
        if not stamp:
            return images[-1] if images else None
        for message in images:
            if stamp_of(message) == stamp:
                return message
        kept = f"{seconds(stamp_of(images[0]))} to {seconds(stamp_of(images[-1]))}" if images else "none"
        raise InputError(f"no image of stamp {seconds(stamp)}; kept are the last {len(images)} ({kept}), "
                         "or ask for stamp 0, the newest")

    def frame(self, message: Any) -> tuple[Frame, str]:
        """An image as a frame, and what is wrong with its camera or the way to its floor, else an empty string.

        A camera_info of the image's own stamp counts, else the last one of its frame_id; without one, or with one that
        does not fit, the frame has no camera. Raises InputError where the image itself cannot be used.
        """
        frame = Frame(self._decode(message), stamp_of(message), message.header.frame_id)
        info = self._infos.get(frame.stamp) or self._last.get(frame.frame_id)
        if info is None:
            return frame, f"no camera_info of frame {frame.frame_id!r}: no points"
        try:
            camera = Camera.from_message(info, self._rectified).resized(*frame.rgb.shape[:2])
        except InputError as error:
            return frame, str(error)
        frame = replace(frame, camera=camera)
        if not camera.calibrated:
            return frame, "camera_info is not calibrated (K[0] is 0): no points; calibrate the camera"
        try:
            return replace(frame, floor=self._floor and self._floor(frame.frame_id, frame.stamp)), ""
        except InputError as error:
            return frame, str(error)
