"""Steady depth: the jitter of a camera's metric scale from frame to frame, low-passed causally by the stamps.

A generator looks at each frame anew, so its scale trembles (the flicker that users of such models complain of) while
the true depth moves smoothly. What is tracked is the change of scale between frames, the median log ratio of the depths
at the same pixels, by a fading-memory polynomial filter of first degree (Zarchan and Musoff, Fundamentals of Kalman
Filtering, on g-h filters): it keeps a level and its speed, so an approach at constant relative speed is not held back.

Its limit: a sudden true change (a robot that brakes, something large that comes near) looks like jitter at first. It is
let through late, by about `seconds`, and never by more than MOST; a jump, as at a cut, is let through at once.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vbanana_ros.perception import Perceived
from vbanana_ros.results import DepthMap

# Depth is changed by no more than this, natural logarithm: 10 %.
MOST = math.log(1.1)
# More than this, natural logarithm, is no jitter: a change of scale against what was expected, or how much the ratios
# of single pixels differ (median absolute deviation). In four simulated scenes seen by nano the former stays below 0.09
# and the latter below 0.10; at the cuts between them the latter is 0.19 and more.
JUMP, SPREAD = 0.2, 0.15
# Share of the pixels with a depth in both frames, below which nothing is said about scale.
SHARED = 0.3
_GRID = 64  # as many rows and columns at most are compared


@dataclass(frozen=True)
class Seen:
    """What is kept of a camera's last frame. stamp: nanoseconds; depth: float32, some rows and columns of what was
    published, metres; speed: of the scale, natural logarithm a second.
    """

    stamp: int
    depth: np.ndarray
    speed: float = 0.0

    def plain(self) -> dict[str, Any]:
        """What JSON can hold, to the last bit."""
        return {"stamp": self.stamp, "speed": self.speed, "shape": self.depth.shape,
                "depth": base64.b64encode(self.depth.astype("<f4").tobytes()).decode()}

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Seen:
        """The inverse of plain."""
        depth = np.frombuffer(base64.b64decode(plain["depth"]), "<f4").reshape(plain["shape"])
        return cls(plain["stamp"], depth.astype(np.float32), plain["speed"])


def steadied(result: DepthMap, stamp: int, before: Seen | None, seconds: float) -> tuple[DepthMap, Seen]:
    """A metric depth in the scale that fits the frames before it, and what to keep of it.

    seconds: time constant of the low-pass, above 0. Arrays are numpy. The first frame, one that is not after the last
    (in time, or by its size) and one after a jump are as they were.
    """
    step = math.ceil(max(result.depth.shape) / _GRID)
    small = result.depth[::step, ::step]
    elapsed = (stamp - before.stamp) / 1e9 if before else 0.0
    change = _change(before.depth, small) if elapsed > 0 and before.depth.shape == small.shape else None
    if change is None or abs(change - before.speed * elapsed) > JUMP:
        return result, Seen(stamp, small.copy())
    error, fading = change - before.speed * elapsed, math.exp(-elapsed / seconds)
    shift = -float(np.clip(fading**2 * error, -MOST, MOST))
    depth = result.depth * np.float32(math.exp(shift))
    return replace(result, depth=depth), Seen(stamp, depth[::step, ::step].copy(),
                                              before.speed + (1 - fading) ** 2 * error / elapsed)


def _change(before: np.ndarray, now: np.ndarray) -> float | None:
    """How much larger, natural logarithm, depths are than they were; None where no one factor says it."""
    both = np.isfinite(before) & np.isfinite(now) & (before > 0) & (now > 0)
    if both.mean() < SHARED:
        return None
    ratios = np.log(now[both] / before[both])
    change = float(np.median(ratios))
    return change if np.median(np.abs(ratios - change)) < SPREAD else None


class Steady:
    """The state of smoothing: what was last seen of each camera."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    def __call__(self, perceived: Perceived, seconds: float, camera: str = "") -> Perceived:
        """A camera's next frame with its metric depth steadied; seconds: of the low-pass, 0 for none."""
        answer = perceived.answer("depth")
        if seconds <= 0:
            self.seen.pop(camera, None)
        if seconds <= 0 or answer is None or not answer.result.metric:
            return perceived
        result, self.seen[camera] = steadied(answer.result, perceived.frame.stamp, self.seen.get(camera), seconds)
        return replace(perceived, answers=tuple(
            replace(a, result=result, smoothing=seconds) if a is answer else a for a in perceived.answers))
