"""Lines: the straight line segments of an image, as its camera sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

# Lines are looked for in an image of no more pixels; of these so many, the longest, no shorter than this, pixels.
_AREA, _MOST, _SHORTEST = 320 * 240, 100, 15.0


@dataclass(frozen=True)
class Lines:
    """Segments as directions in the camera's optical frame, the longest first.

    planes: float64 [N, 3], unit normals of the planes through camera and segment; middles: float64 [N, 3], unit,
    towards the middle of each; lengths: float64 [N], pixels of an image of 320x240 pixels' area at most.
    """

    planes: np.ndarray
    middles: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)


def lines_of(rgb: np.ndarray, rays: np.ndarray) -> Lines:
    """The longest segments of an image, as LSD finds them (R. Grompone von Gioi and others, IPOL 2012).

    rgb: uint8 [H, W, 3]; rays: float32 [H, W, 3], where each pixel looks (z = 1). What lies where pixels look nowhere
    (NaN) is left out.
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    shrink = min(1.0, math.sqrt(_AREA / gray.size))
    if shrink < 1:
        gray = cv2.resize(gray, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    found = cv2.createLineSegmentDetector().detect(gray)[0]
    ends = np.zeros((0, 2, 2), np.float32) if found is None else found.reshape(-1, 2, 2)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1).astype(np.float64)
    longest = np.argsort(-lengths, kind="stable")[:_MOST]
    longest = longest[lengths[longest] > _SHORTEST]
    looks = _looks(rays, (ends[longest] + 0.5) / shrink - 0.5)
    planes, middles = unit(np.cross(looks[:, 0], looks[:, 1])), unit(looks.sum(1))
    seen = np.isfinite(planes).all(-1)
    return Lines(planes[seen], middles[seen], lengths[longest][seen])


def unit(vectors: np.ndarray) -> np.ndarray:
    """[..., 3] at length 1; NaN of those that have none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _looks(rays: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """float64 [N, 2, 3], unit: where points [N, 2, 2] (u, v) look, between those of the pixels about them."""
    if not len(pixels):
        return np.zeros((0, 2, 3))
    u, v = np.moveaxis(pixels.astype(np.float32), -1, 0)
    looks = [cv2.remap(np.ascontiguousarray(plane), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
             for plane in np.moveaxis(rays, -1, 0)]
    return unit(np.stack(looks, -1).astype(np.float64))
