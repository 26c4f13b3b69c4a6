"""Keys to the pictures: colour bars in metres, the ball of normals, legend colours.

Every key is drawn by the code that draws the picture (`colorize`) or paints it (`encode`), so that it cannot
say anything else than the picture does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vbanana_ros.colorize import FAR, NEAR, colorize
from vbanana_ros.colors import RGB
from vbanana_ros.results import DepthMap, Detection, Instances, NormalMap
from vbanana_ros.tasks import TASKS, Request

_STEPS = 512  # of a bar, pixels
_METRES = (0.3, 0.5, 1, 2, 3, 5, 10, 20, 40, 80)


@dataclass(frozen=True)
class Bar:
    """A colour bar. colors: uint8 [1, n, 3] RGB; ticks: (place 0..1 from the left, text); unit: of the ticks."""

    colors: np.ndarray
    ticks: tuple[tuple[float, str], ...]
    unit: str = "m"


def shown_bar(result: DepthMap) -> Bar:
    """The bar of a depth as `colorize` shows it: logarithmic in metres, or a relative code's own range."""
    if result.metric:
        depth = np.geomspace(NEAR, FAR, _STEPS, dtype=np.float32)
        ticks = tuple((float(np.log(m / NEAR) / np.log(FAR / NEAR)), f"{m:g}") for m in _METRES)
        return Bar(_colors(depth), ticks)
    finite = result.depth[np.isfinite(result.depth)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    depth = np.linspace(low, high, _STEPS, dtype=np.float32)
    return Bar(_colors(depth, metric=False), ((0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")), "relative, no metres")


def painted_bar() -> Bar:
    """The bar of metric depth as generators paint it: seven edges of the RGB cube, ticks at its corners."""
    depth = _walked(np.linspace(0, 7, _STEPS))
    paint = TASKS["depth"].encode(DepthMap(depth, depth), Request("depth"))
    colors = (255 * paint).round().astype(np.uint8)[None]
    metres = _walked(np.arange(8))
    texts = (f"{m:.{2 if m < 10 else 3}g}" if np.isfinite(m) else "∞" for m in metres)
    return Bar(colors, tuple((k / 7, text) for k, text in enumerate(texts)))


def color_of_depth(metres: float) -> RGB:
    """How `colorize` shows one metric depth; NaN gives the colour of what is invalid."""
    return _triple(_colors(np.array([metres], np.float32))[0, 0])


def color_of_instance(detection: Detection) -> RGB:
    """How `colorize` shows one instance."""
    labels = np.array([[detection.id]], np.uint16)
    return _triple(colorize(Instances(labels, (detection,), np.ones((1, 1), np.float32)))[0, 0])


def normals_ball(size: int = 96) -> np.ndarray:
    """uint8 [size, size, 3]: a ball before the camera, in the colours of its normals; beyond its rim, the rim's."""
    place = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(place, place)
    radius = np.maximum(1, np.hypot(x, y))
    x, y = x / radius, y / radius
    z = -np.sqrt(np.maximum(0, 1 - x * x - y * y))
    normals = np.stack([x, y, z], -1).astype(np.float32)
    return colorize(NormalMap(normals, np.ones((size, size), np.float32)))


def _walked(walk: np.ndarray) -> np.ndarray:
    """Place on the walk in 0..7 -> float32 metres."""
    with np.errstate(divide="ignore"):
        return (10 * ((1 - walk / 7) ** -0.5 - 1)).astype(np.float32).reshape(walk.shape)


def _colors(depth: np.ndarray, metric: bool = True) -> np.ndarray:
    return colorize(DepthMap(depth[None], np.ones_like(depth)[None], metric))


def _triple(color: np.ndarray) -> RGB:
    return tuple(int(c) for c in color)
