"""COCO's `segmentation` field as a mask (pycocotools, github.com/cocodataset/cocoapi)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as runs

CORNERS = 3  # a polygon of fewer has no area, and pycocotools takes four numbers for a box
FAR = 100_000  # pixels; no corner lies further out


def coco_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Polygons, run lengths (counted or compressed), or a list of such -> bool [height, width], their union.

    Nothing, or polygons of fewer than three corners, is an empty mask. Raises ValueError for a corner that is nowhere
    near the image and for runs that do not cover it: pycocotools would fill the memory, or read beyond its own.
    """
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    whole = [_runs(part, height, width) for part in parts if isinstance(part, dict) or len(part) >= 2 * CORNERS]
    if not whole:
        return np.zeros((height, width), bool)
    return runs.decode(runs.merge(whole)).astype(bool)


def _runs(part: Any, height: int, width: int) -> dict:
    """One polygon [x, y, x, y, ...] or one mask in runs -> compressed runs."""
    if not isinstance(part, dict):
        if not (np.abs(np.array(part, np.float64)) < FAR).all():
            raise ValueError("a polygon's corner is no place in the image")
        return runs.frPyObjects([part], height, width)[0]
    packed = isinstance(part["counts"], (str, bytes))
    counts = _unpack(part["counts"]) if packed else part["counts"]
    if list(part["size"]) != [height, width] or sum(counts) != height * width or min(counts) < 0:
        raise ValueError(f"a mask's runs are not of an image of {width}x{height}")
    return part if packed else runs.frPyObjects(part, height, width)


def _unpack(text: str | bytes) -> list[int]:
    """Compressed runs -> their lengths (cocoapi, common/maskApi.c: rleFrString).

    A character holds five bits, the low ones first, and whether more follow; the highest is the sign. From the fourth
    number on, what is written is the difference to the number before the last.
    """
    counts: list[int] = []
    number, bits = 0, 0
    for character in text.encode() if isinstance(text, str) else text:
        code = character - 48
        number |= (code & 0x1F) << bits
        bits += 5
        if not code & 0x20:
            number -= (code & 0x10) << bits - 4
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number, bits = 0, 0
    return counts
