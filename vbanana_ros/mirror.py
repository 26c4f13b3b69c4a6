"""The mirror: a frame's mirror image is a second look at the same scene, and the mean of two measurements errs less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vbanana_ros.results import DepthMap, NormalMap

# The tasks whose answers are numbers that have a mean.
MEASURED = ("depth", "normals")


def reflect(rgb: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the camera would see of the mirrored world, and its K: uint8 [..., H, W, 3] and float64 [..., 3, 3]."""
    mirrored = K.copy()
    mirrored[..., 0, 1] *= -1
    mirrored[..., 0, 2] = rgb.shape[-2] - 1 - K[..., 0, 2]
    return np.ascontiguousarray(rgb[..., ::-1, :]), mirrored


def mean(result: DepthMap | NormalMap, mirrored: DepthMap | NormalMap) -> DepthMap | NormalMap:
    """The mean of a result and of that of the mirror image, as it is there: numpy, both on one grid.

    Metric depth has a geometric mean, for its error is relative; of normals it is the direction between the two. Where
    one of them is invalid the other counts, where only one is out of range (+inf) the first. Confidence is the mean.
    """
    confidence = (result.confidence + mirrored.confidence[:, ::-1]) / 2
    if isinstance(result, NormalMap):
        return NormalMap(_between(result.normals, mirrored.normals[:, ::-1] * np.float32([-1, 1, 1])), confidence)
    one, other = result.depth, mirrored.depth[:, ::-1]
    with np.errstate(invalid="ignore"):
        middle = np.sqrt(one * other) if result.metric else (one + other) / 2
    depth = np.where(np.isfinite(middle), middle, np.where(np.isnan(one), other, one))
    return replace(result, depth=depth, confidence=confidence)


def _between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Unit vectors [H, W, 3] half way between two; of opposite ones the first."""
    middle = one + other
    length = np.linalg.norm(middle, axis=-1, keepdims=True)
    known = length > 1e-3
    return np.where(known, middle / np.where(known, length, 1), np.where(np.isnan(one), other, one))
