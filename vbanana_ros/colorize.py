"""Results as pictures for people: what rviz, overlays and the report show."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from vbanana_ros.colors import palette
from vbanana_ros.results import UNLABELED_8, UNLABELED_16, DepthMap, Instances, LabelMap, NormalMap, Result

# What is not known: a grey that no map below uses.
INVALID = (48, 48, 48)

# What an overlay shows: the first of these tasks that was asked.
OVERLAID = ("semantic", "instance", "referring", "depth")

# Metric depth is shown on one fixed logarithmic scale, so that a colour means the same in every frame:
# NEAR and nearer is red, FAR and farther (the sky's +inf too) dark violet. Metres.
NEAR, FAR = 0.3, 80.0

# Instances take turns with this many colours.
_CYCLE = 60


def colorize(result: Result) -> np.ndarray:
    """A result with numpy arrays -> uint8 RGB [H, W, 3]; invalid or unlabelled is the dark grey of INVALID.

    Depth: turbo, red near to violet far, logarithmic between NEAR and FAR metres (a relative depth: linear
    between its own extremes). Normals: (1 - n) / 2, the colours they are painted in. Labels: the colours
    of the request. Instances: a fixed palette by id. Pictures: themselves.
    """
    if isinstance(result, DepthMap):
        return _depth(result)
    if isinstance(result, NormalMap):
        known = result.normals.copy()
        cv2.patchNaNs(known, 1 - INVALID[0] / 127.5)
        return cv2.convertScaleAbs(known, alpha=-127.5, beta=127.5)
    if isinstance(result, LabelMap):
        return _look_up(result.labels, np.array(result.colors, np.uint8).reshape(-1, 3))
    if isinstance(result, Instances):
        # The low byte is the place in the palette: 255 is background, as in a label image, and no instance's.
        places = result.labels.astype(np.uint8)
        places[(places == UNLABELED_8) & (result.labels != UNLABELED_16)] = 0
        return _look_up(places, _instance_colors())
    return cv2.convertScaleAbs(result.rgb, alpha=255)


def _depth(result: DepthMap) -> np.ndarray:
    """Turbo through 255 steps; place 0 is INVALID's."""
    depth = result.depth
    if result.metric:
        scale, low, high = np.log(np.clip(depth, NEAR, FAR)), math.log(NEAR), math.log(FAR)
    else:
        finite = depth[np.isfinite(depth)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        scale = np.clip(depth, low, high)
    slope = 254 / max(high - low, 1e-6)
    # NaN goes where the line below crosses 0.
    cv2.patchNaNs(scale, low - 1 / slope)
    return cv2.applyColorMap(cv2.convertScaleAbs(scale, alpha=slope, beta=1 - slope * low), _turbo())


@functools.cache
def _turbo() -> np.ndarray:
    """uint8 [256, 1, 3] RGB: INVALID, then turbo from red to violet."""
    places = np.arange(255, -1, -1, dtype=np.uint8)[:, None]
    turbo = cv2.applyColorMap(places, cv2.COLORMAP_TURBO)[..., ::-1].copy()  # OpenCV's is BGR
    turbo[0] = INVALID
    return turbo


@functools.cache
def _instance_colors() -> np.ndarray:
    return np.resize(np.array(palette(_CYCLE, taken=(INVALID,)), np.uint8), (UNLABELED_8, 3))


def _look_up(places: np.ndarray, colors: np.ndarray) -> np.ndarray:
    table = np.empty((256, 1, 3), np.uint8)
    table[:] = INVALID
    table[:len(colors), 0] = colors
    return cv2.applyColorMap(places, table)


def blend(rgb: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Half the input and half a task's colours: both and the overlay uint8 RGB [H, W, 3]."""
    return cv2.addWeighted(rgb, 0.5, color, 0.5, 0)
