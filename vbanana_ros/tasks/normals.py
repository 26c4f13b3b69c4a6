"""Surface normals painted as RGB (arXiv 2604.20329): left-facing red, up-facing green, camera-facing blue.

The painted axes are +x right, +y up, +z out of the image; results are in the ROS optical frame (REP 103).
"""

from __future__ import annotations

import torch

from vbanana_ros.results import Array, NormalMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_pixels, as_tensor, blocks, confidence_of, like


class Normals:
    """`normals`: RGB <-> unit vectors in the camera's optical frame.

    A channel is `(1 - n) / 2` with n in the optical frame (x right, y down, z forward): x is flipped by the code,
    y and z by the change of frame, so all three signs are negative.
    """

    name = "normals"

    def prompt(self, request: Request) -> str:
        """The paper's wording."""
        return "Generate a surface normal map of the input image."

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
            torch.mul(n, scale, out=normals[block].T)
            confidence[block] = confidence_of(residual, max_residual)
        return NormalMap(like(normals.reshape(rgb.shape), rgb), like(confidence.reshape(rgb.shape[:2]), rgb))

    def encode(self, result: NormalMap, request: Request) -> Array:
        """Unit normals [H, W, 3] -> float32 RGB [H, W, 3] in 0..1; NaN is painted mid-gray, which is no normal."""
        normals = as_tensor(result.normals).nan_to_num(0.0)
        return like(((1 - normals) / 2).clamp_(0, 1), result.normals)
