"""Surface normals painted as RGB (arXiv 2604.20329): left-facing red, up-facing green, camera-facing blue.

The painted axes are +x right, +y up, +z out of the image; results are in the ROS optical frame (REP 103). Other models
paint the same sphere with other axes.
"""

from __future__ import annotations

import re

import torch

from vbanana_ros.results import Array, NormalMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_pixels, as_tensor, blocks, confidence_of, like
from vbanana_ros.tasks.wording import Wording

# The paper's, and how profiles called them before others could be said.
PAPER = "-x+y+z"
_OLD = "right-up-back"
# The painted axes x right, y up, z out of the image, in the optical frame: which one, and its sign.
_OPTICAL = {"x": (0, 1), "y": (1, -1), "z": (2, -1)}


class Normals:
    """`normals`: RGB <-> unit vectors in the camera's optical frame.

    axes: what red, green and blue grow with, in the painted frame (x right, y up, z out of the image): a sign and an
    axis each, as in `+x+y+z`. By default the paper's, `-x+y+z`: there a channel is `(1 - n) / 2` with n in the optical
    frame (x right, y down, z forward), x being flipped by the code, y and z by the change of frame.
    wording: by default the paper's. Raises ValueError for axes that are none.
    """

    name = "normals"

    def __init__(self, wording: Wording | None = None, axes: str = PAPER) -> None:
        self.wording = wording or Wording("Generate a surface normal map of the input image.")
        self._order, self._signs = _parse(axes)

    def prompt(self, request: Request) -> str:
        """Its wording; there is nothing to fill in."""
        return self.wording.fill(request)

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> NormalMap:
        """Float RGB [H, W, 3] in 0..1 -> unit normals; vectors too far from unit length are NaN.

        The legal colours are a sphere of radius 127.5 (0-255 scale), so the residual is | |n| - 1 | * 127.5;
        beyond max_residual it is too far. Raises TypeError for integer images.
        """
        pixels = as_pixels(rgb)
        normals, confidence = pixels.new_empty(len(pixels), 3), pixels.new_empty(len(pixels))
        for block in blocks(pixels):
            n = torch.mul(pixels[block].T, -2, out=pixels.new_empty(3, block.stop - block.start)).add_(1)
            x, y, z = n
            length = (x * x).addcmul_(y, y).addcmul_(z, z).sqrt_()
            residual = (length - 1).abs_().mul_(127.5)
            scale = length.reciprocal_().masked_fill_(~(residual <= max_residual), torch.nan)
            for channel, plane, sign in zip(n, self._order, self._signs, strict=True):
                torch.mul(channel, scale if sign < 0 else -scale, out=normals[block, plane])
            confidence[block] = confidence_of(residual, max_residual)
        return NormalMap(like(normals.reshape(rgb.shape), rgb), like(confidence.reshape(rgb.shape[:2]), rgb))

    def encode(self, result: NormalMap, request: Request) -> Array:
        """Unit normals [H, W, 3] -> float32 RGB [H, W, 3] in 0..1; NaN is painted mid-gray, which is no normal."""
        normals = as_tensor(result.normals).nan_to_num(0.0)
        painted = normals[..., self._order] * normals.new_tensor(self._signs)
        return like(((1 + painted) / 2).clamp_(0, 1), result.normals)


def _parse(axes: str) -> tuple[list[int], list[int]]:
    """Axes -> for each channel the axis of the optical frame that it tells, and whether it grows (1) or falls (-1)."""
    match = re.fullmatch(r"([+-])([xyz])([+-])([xyz])([+-])([xyz])", PAPER if axes == _OLD else axes)
    if not match or len({*match.groups()[1::2]}) < 3:
        raise ValueError(f"unknown normals axes {axes!r}; known are a sign and an axis for each of red, green and "
                         f"blue, as {PAPER!r} or '+x+y+z' (x right, y up, z out of the image)")
    told = [_OPTICAL[axis] for axis in match.groups()[1::2]]
    signs = [1 if sign == "+" else -1 for sign in match.groups()[::2]]
    return [axis for axis, _ in told], [sign * own for sign, (_, own) in zip(signs, told, strict=True)]
