"""Metric depth painted as a walk along seven edges of the RGB cube (arXiv 2604.20329).

`f(d) = 1 - (1 + d/10)^-2` takes [0, inf) metres to [0, 1); `7 f` walks black, red, yellow, green, cyan,
blue, magenta, white. Depth is planar z, the distance from the camera plane (REP 118).

The code below counts the walk from its far end, `rest = 7 - 7 f = 7 (1 + d/10)^-2`: so float32 keeps its
digits where they are worth most metres.
"""

from __future__ import annotations

import torch

from vbanana_ros.results import Array, DepthMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_pixels, as_tensor, blocks, confidence_of, like

# This near the walk's end one 8-bit step is worth more than 25 m (about 200 m away): white is the sky, +inf.
FAR_REST = 4 / 255


class Depth:
    """`depth`: RGB along the cube's edges <-> metres."""

    name = "depth"

    def prompt(self, request: Request) -> str:
        """The paper's wording, palette named (its training knew other palettes too)."""
        return ("Predict the metric depth of this scene as an image. Visualized in the rainbow "
                "(black-red-yellow-green-cyan-blue-violet-white) color palette.")

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> DepthMap:
        """Float RGB [H, W, 3] in 0..1 -> metres: each colour's place on the nearest of the seven edges.

        Channels beyond 0..1 are clamped. A colour further than max_residual (0-255 scale) from every edge is NaN,
        white is +inf; of edges equally near the nearer depth counts. Raises TypeError for integer images.
        """
        pixels = as_pixels(rgb)
        depth, confidence = pixels.new_empty(2, len(pixels))
        nowhere = pixels.new_tensor(-1.0)
        for block in blocks(pixels):
            rest, residual = _project(pixels[block])
            # Where no edge is near the rest becomes negative, and its root NaN.
            known = torch.le(residual, max_residual, out=torch.empty_like(residual))
            rest = torch.lerp(nowhere, torch.threshold_(rest, FAR_REST, 0), known).div_(7)
            torch.rsqrt(rest, out=depth[block]).sub_(1).mul_(10)
            confidence[block] = confidence_of(residual, max_residual)
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
    """Colours [N, 3] -> the rest of the walk, 0..7, and the distance from it (0-255 scale), both [N]."""
    r, g, b = torch.clamp(rgb.T, 0, 1, out=rgb.new_empty(3, len(rgb)))
    to_r, to_g, to_b = 1 - r, 1 - g, 1 - b
    r0, g0, b0 = r * r, g * g, b * b
    r1, g1, b1 = to_r * to_r, to_g * to_g, to_b * to_b
    # An edge's squared distance is that of the two channels that do not change along it; the third says where on it.
    nearest, rest = g0 + b0, to_r + 6
    square, place, closer = rgb.new_empty(3, len(rgb))
    for x, y, channel, offset in ((r1, b0, to_g, 5), (g1, b0, r, 4), (r0, g1, to_b, 3), (r0, b1, g, 2),
                                  (g0, b1, to_r, 1), (r1, b1, to_g, 0)):
        torch.add(x, y, out=square)
        torch.lt(square, nearest, out=closer)
        # 0 or 1 as a float: lerp then takes one end or the other, exactly, and many times faster than a bool mask.
        rest.lerp_(torch.add(channel, offset, out=place), closer)
        torch.minimum(nearest, square, out=nearest)
    # The root, several times as fast as sqrt on a CPU; of zero it is 1 / inf.
    return rest, nearest.rsqrt_().reciprocal_().mul_(255)
