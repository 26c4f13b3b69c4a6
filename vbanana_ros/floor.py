"""Metric depth on the floor: a picture does not say how large things are, but how high its camera is tells.

Where the floor is known, as a robot's transforms know it, each pixel of painted depth says by what factor it would lie
on it. Pixels of the floor all say the same factor, the one that the picture's scale is off by. So do those of a table
or a seat, but a larger one, for they are nearer than the floor behind them; walls and things say many. So it is the
least factor that many pixels agree on, and below which next to nothing lies: past the rim of a table much does. Scale
from the height of the camera: S. Song and M. Chandraker, "Robust Scale Estimation in Real-Time Monocular SFM for
Autonomous Driving", CVPR 2014.
"""

from __future__ import annotations

import cv2
import numpy as np

from vbanana_ros.errors import InputError

# A camera that is not so far above the floor, metres, is none that looks at it.
LOWEST = 0.05
# Factors are natural logarithms. No more than MOST is believed; those within WINDOW agree; so large a share of the
# pixels must, and say nearly what their neighbours say, FLAT apart.
MOST, WINDOW, SHARE, FLAT = 0.4, 0.1, 0.02, 0.0075
# Below a floor, by factors that are less by WINDOW and more, lie at most so many pixels for each of those that agree.
BELOW = 0.5
_STEP, _APART = 0.01, 15  # of the factors that are tried, and between two that many agree on
_COLUMNS = 160  # of pixels are looked at, about
# Floor farther away says little, metres. What no pixel says.
_FARTHEST, _NONE = 50.0, 9.0


def floor_before(pose: np.ndarray) -> np.ndarray:
    """The plane z = 0 of a frame (z up, REP 103) before a camera, as a frame's `floor`: float64 [3], 1/metres.

    pose: float64 [4, 4], takes points of that frame to the camera's optical frame. Raises InputError where the camera
    is not above the plane.
    """
    up, origin = pose[:3, 2], pose[:3, 3]
    height = -up @ origin
    if not height > LOWEST:
        raise InputError(f"the camera is {height:.2f} m above the floor; name a floor_frame that lies on it, z up")
    return -up / height


def floor_scale(depth: np.ndarray, rays: np.ndarray, floor: np.ndarray) -> float:
    """The factor that brings the floor of metric depth to where it is known to be; 1 where none is seen.

    depth: float [H, W], metres along the optical axis, NaN or inf where there is none; rays: float [H, W, 3], where
    each pixel looks (z = 1); floor: float [3], 1/metres, see `Frame`. It is exp(-MOST) to exp(MOST), about.
    """
    step = max(1, round(depth.shape[1] / _COLUMNS))
    depth, inverse = depth[::step, ::step], rays[::step, ::step] @ floor
    if min(depth.shape) < 2:
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = -np.log(np.where(inverse > 1 / _FARTHEST, inverse, np.nan) * depth)
    factors = cv2.medianBlur(np.nan_to_num(factors, nan=_NONE, posinf=_NONE, neginf=_NONE).astype(np.float32), 3)
    down, across = np.gradient(factors)
    told = np.sort(factors[np.hypot(down, across) < FLAT])
    tried = np.arange(-MOST, MOST + _STEP, _STEP)
    agree = np.searchsorted(told, tried + WINDOW / 2) - np.searchsorted(told, tried - WINDOW / 2)
    most = cv2.dilate(agree[None].astype(np.float32), np.ones((1, _APART), np.uint8))[0]  # of those about each
    peaks = np.flatnonzero((agree == most) & (agree > SHARE * depth.size))
    floors = (tried[i] for i in peaks if np.count_nonzero(factors < tried[i] - WINDOW) < BELOW * agree[i])
    if (least := next(floors, None)) is None:
        return 1.0
    return float(np.exp(np.median(told[np.abs(told - least) < WINDOW / 2])))
