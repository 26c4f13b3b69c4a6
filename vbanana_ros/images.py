"""Pictures from files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vbanana_ros.errors import InputError


def read_image(path: Path) -> np.ndarray:
    """A picture file -> uint8 RGB [H, W, 3], turned as its EXIF says.

    Raises InputError for what is missing, empty, cut, damaged or no picture.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no image {str(path)!r}; check the path") from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}); name an image file") from None
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if _is_whole(data) else None
    if bgr is None:
        raise InputError(f"{str(path)!r} is empty, cut or no picture; give a whole PNG or JPEG file")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _is_whole(data: bytes) -> bool:
    """OpenCV paints what is missing of a picture gray, so another reader goes over it first."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as picture:
            warnings.simplefilter("ignore")
            picture.load()
    except Exception:  # each format's reader raises its own over broken bytes
        return False
    return True
