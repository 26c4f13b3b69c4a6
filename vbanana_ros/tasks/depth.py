"""Metric depth painted as a walk along seven edges of the RGB cube (arXiv 2604.20329).

`f(d) = 1 - (1 + d/10)^-2` takes [0, inf) metres to [0, 1); `7 f` walks black, red, yellow, green, cyan,
blue, magenta, white. Depth is planar z, the distance from the camera plane (REP 118).
"""

from __future__ import annotations

import torch

from vbanana_ros.results import Array, DepthMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_tensor, confidence_of, like

# Beyond this walk one 8-bit step is worth more than 25 m (about 200 m away): white is the sky, +inf.
FAR_WALK = 7 - 4 / 255

# Pixels decoded at a time: a dozen float32 planes of this many stay in a core's cache.
_BLOCK = 16384


class Depth:
    """`depth`: RGB along the cube's edges <-> metres."""

    name = "depth"

    def prompt(self, request: Request) -> str:
        """The paper's wording, palette named (its training knew other palettes too)."""
        return ("Predict the metric depth of this scene as an image. Visualized in the rainbow "
                "(black-red-yellow-green-cyan-blue-violet-white) color palette.")

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> DepthMap:
        """Project each colour on the nearest of the seven edges and invert the walk.

        rgb: float [H, W, 3] in 0..1. A colour further than max_residual (0-255 scale) from every edge
        is NaN; white is +inf.
        """
        tensor = as_tensor(rgb)
        flat = tensor.reshape(-1, 3)
        depth, confidence = flat.new_empty(len(flat)), flat.new_empty(len(flat))
        block = _BLOCK if flat.device.type == "cpu" else max(len(flat), 1)
        for i in range(0, len(flat), block):
            walk, residual = _project(flat[i:i + block])
            residual.mul_(255)
            out = depth[i:i + block]
            torch.mul(walk, -1 / 7, out=out).add_(1).rsqrt_().sub_(1).mul_(10)
            out.masked_fill_(walk >= FAR_WALK, torch.inf).masked_fill_(~(residual <= max_residual), torch.nan)
            confidence[i:i + block] = confidence_of(residual, max_residual).nan_to_num_(0)
        shape = tensor.shape[:2]
        return DepthMap(like(depth.reshape(shape), rgb), like(confidence.reshape(shape), rgb))

    def encode(self, result: DepthMap, request: Request) -> Array:
        """Metres -> float32 RGB [H, W, 3]; +inf is white; NaN and negative depths are painted black."""
        depth = as_tensor(result.depth).nan_to_num(nan=0.0, posinf=torch.inf).clamp_(min=0)
        walk = 7 * (1 - (1 + depth / 10) ** -2)
        # Each channel is a sum of ramps: up on one edge of the walk, down on another.
        ramp = [(walk - k).clamp(0, 1) for k in range(7)]
        red = ramp[0] - ramp[2] + ramp[5]
        green = ramp[1] - ramp[4] + ramp[6]
        return like(torch.stack([red, green, ramp[3]], -1), result.depth)


def _project(rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours [N, 3] -> place on the walk in 0..7 and distance from it, both [N]."""
    r, g, b = rgb.T.clamp(0, 1).contiguous()
    r0, g0, b0 = r * r, g * g, b * b
    r1, g1, b1 = (1 - r).square_(), (1 - g).square_(), (1 - b).square_()
    # Squared distance from each edge, and the place on it: the one channel that changes along the edge.
    best, walk = g0 + b0, r
    for square, place in (
        (r1 + b0, 1 + g), (g1 + b0, 3 - r), (r0 + g1, 3 + b), (r0 + b1, 5 - g), (g0 + b1, 5 + r), (r1 + b1, 6 + g),
    ):
        walk = torch.where(square < best, place, walk)
        best = torch.minimum(best, square)
    return walk, best.sqrt_()
