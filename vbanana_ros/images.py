"""Pictures from files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.errors import InputError


def read_image(path: Path) -> np.ndarray:
    """A picture file -> uint8 RGB [H, W, 3]; raises InputError for what is missing, empty or no picture."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        raise InputError(f"no image {str(path)!r}; check the path") from None
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}); name an image file") from None
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise InputError(f"{str(path)!r} is not a picture that OpenCV reads; give a whole PNG or JPEG file")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
