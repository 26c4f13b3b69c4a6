"""From which painted pixel each pixel of a frame takes its answer.

A generator paints on a grid of its own, mostly coarser than the frame, and its colours are codes that must not be
blended. Nearest neighbour gives stairs for edges; the frame itself tells on which side of one each of its pixels is.
"""

from __future__ import annotations

import cv2
import numpy as np

from vbanana_ros.generators.grid import resized

# What it takes to prefer a painted pixel that is farther: the squares of distances, in painted pixels, are worth so
# many of 255 levels.
FARTHER = 8
# Costs are compared in parts of a level of one of the three channels; the highest just fits 16 bits, as the lowest bits
# say whose it is.
PARTS = 16


def places_alike(rgb: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """Of the four pixels of a height x width grid about each of a frame, the one that looks most like it.

    The grid's pixels look like the frame, uint8 RGB [H, W, 3], averaged over them. This is joint bilateral upsampling
    (J. Kopf et al., SIGGRAPH 2007) with the heaviest weight in place of the mean, so that no value is invented.
    Returns int32 [H, W], row * width + column; None where the grid is no coarser: the frame has no more to tell.
    """
    rows, cols = rgb.shape[:2]
    if height >= rows or width >= cols:
        return None
    # Channel by channel: OpenCV and numpy are several times as fast on planes.
    frame, small = cv2.split(rgb), cv2.split(resized(rgb, height, width))
    above, left = _about(rows, height), _about(cols, width)
    least = None
    for right, (column, across) in enumerate(left):
        columns = [plane.take(column, axis=1) for plane in small]
        for below, (row, down) in enumerate(above):
            red, green, blue = (cv2.absdiff(one, other.take(row, axis=0))
                                for one, other in zip(frame, columns, strict=True))
            cost = np.add(red, green, dtype=np.uint16)
            cost += blue
            cost *= np.uint16(4 * PARTS)
            cost += 4 * (down[:, None] + across) + np.uint16(2 * below + right)
            least = cost if least is None else np.minimum(least, cost, out=least)
    (top, _), (bottom, _), (first, _), (second, _) = *above, *left
    places = (np.int32(width) * top)[:, None] + first
    # In 16 bits as the costs are, several times as fast: no painted row has more pixels.
    places += (least >> 1 & 1) * (width * (bottom - top)).astype(np.uint16)[:, None]
    places += (least & 1) * (second - first).astype(np.uint16)
    return places


def _about(size: int, coarse: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two pixels of a coarse row about the middle of each pixel of a fine one, and what their distance costs."""
    middle = (np.arange(size) + 0.5) * (coarse / size) - 0.5
    before = np.floor(middle).astype(np.int32)
    return [(pixel.clip(0, coarse - 1), np.rint(3 * PARTS * FARTHER * (pixel - middle) ** 2).astype(np.uint16))
            for pixel in (before, before + 1)]
