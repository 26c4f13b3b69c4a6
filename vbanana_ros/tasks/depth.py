"""Metric depth painted as a walk along seven edges of the RGB cube (arXiv 2604.20329).

`f(d) = 1 - (1 + d/10)^-2` takes [0, inf) metres to [0, 1); `7 f` walks black, red, yellow, green, cyan,
blue, magenta, white. Depth is planar z, the distance from the camera plane (REP 118).

The code below counts the walk from its far end, `rest = 7 - 7 f = 7 (1 + d/10)^-2`: so float32 keeps its
digits where they are worth most metres.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from vbanana_ros.results import Array, DepthMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_pixels, as_tensor, blocks, confidence_of, like
from vbanana_ros.tasks.wording import Wording

# This near the walk's end one 8-bit step is worth more than 25 m (about 200 m away): white is the sky, +inf.
FAR_REST = 4 / 255


class Depth:
    """`depth`: RGB along the cube's edges <-> metres.

    wording: by default the paper's, palette named (its training knew other palettes too).
    """

    name, metric = "depth", True

    def __init__(self, wording: Wording | None = None) -> None:
        self.wording = wording or Wording(
            "Predict the metric depth of this scene as an image. Visualized in the rainbow "
            "(black-red-yellow-green-cyan-blue-violet-white) color palette.")

    def prompt(self, request: Request) -> str:
        """Its wording; there is nothing to fill in."""
        return self.wording.fill(request)

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> DepthMap:
        """Float RGB [H, W, 3] in 0..1 -> metres: each colour's place on the nearest of the seven edges.

        Channels beyond 0..1 are clamped. A colour further than max_residual (0-255 scale) from every edge is NaN,
        white is +inf; of edges equally near the nearer depth counts. Raises TypeError for integer images.
        """
        pixels = as_pixels(rgb)
        depth, confidence = pixels.new_empty(2, len(pixels))
        nowhere, camera = pixels.new_tensor([-1.0, -10.0])
        limit = max_residual / 255
        for block in blocks(pixels):
            rest, square = _project(pixels[block])
            # Where no edge is near the rest becomes negative, and its root NaN.
            known = torch.le(square, limit**2, out=torch.empty_like(square))
            rest = torch.lerp(nowhere, torch.threshold_(rest, FAR_REST, 0), known)
            torch.add(camera, rest.rsqrt_(), alpha=10 * 7**0.5, out=depth[block])
            # The root, several times as fast as sqrt on a CPU; of zero it is 1 / inf.
            confidence[block] = confidence_of(square.rsqrt_().reciprocal_(), limit)
        shape = rgb.shape[:2]
        return DepthMap(like(depth.reshape(shape), rgb), like(confidence.reshape(shape), rgb))

    def encode(self, result: DepthMap, request: Request) -> Array:
        """Metres [H, W] -> float32 RGB [H, W, 3]; +inf is white; NaN and negative depths are painted black."""
        depth = as_tensor(result.depth).nan_to_num(nan=0.0, posinf=torch.inf).clamp_(min=0)
        rest = 7 * (1 + depth / 10) ** -2
        # Each channel is a sum of ramps: up on one edge of the walk, down on another.
        ramp = [(7 - k - rest).clamp_(0, 1) for k in range(7)]
        red = ramp[0] - ramp[2] + ramp[5]
        green = ramp[1] - ramp[4] + ramp[6]
        return like(torch.stack([red, green, ramp[3]], -1), result.depth)


def _project(rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours [N, 3] -> the rest of the walk, 0..7, and the squared distance from it (channels in 0..1), both [N].

    An edge's squared distance is that of the two channels that do not change along it; the third says where on it.
    Edges that share a channel are compared by the other one alone.
    """
    planes = torch.clamp(rgb.T, 0, 1, out=rgb.new_empty(3, len(rgb)))
    (r, g, b), (to_r, to_g, to_b) = planes, 1 - planes
    nearest, square, place, closer = rgb.new_empty(4, len(rgb))

    def nearer(compare: Callable) -> None:
        """Take the pixels of `place` that are on a nearer edge than those before."""
        # 0 or 1 as a float: lerp then takes one end or the other, exactly, and many times faster than a bool mask.
        rest.lerp_(place, compare(square, nearest, out=closer))
        torch.minimum(nearest, square, out=nearest)

    # Near black or blue g stays 0, near yellow or white r stays 1, and b at one of its ends.
    _sum_of_squares(torch.minimum(g, to_r), torch.minimum(b, to_b), nearest)
    rest = (1 + to_r).lerp_(to_g, torch.lt(to_r, g, out=closer))
    rest.add_(torch.le(b, 0.5, out=closer), alpha=5)
    # Cyan to blue. Of edges that meet the nearer depth is taken where both are equally near.
    _sum_of_squares(r, to_b, square)
    torch.add(g, 2, out=place)
    nearer(torch.le)
    # Yellow to green to cyan.
    _sum_of_squares(torch.minimum(r, b), to_g, square)
    torch.add(r, 4, out=place).lerp_(to_b.add_(3), torch.lt(r, b, out=closer))
    nearer(torch.lt)
    return rest, nearest


def _sum_of_squares(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> None:
    torch.mul(x, x, out=out).addcmul_(y, y)
