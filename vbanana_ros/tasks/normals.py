"""Surface normals painted as RGB (arXiv 2604.20329): left-facing red, up-facing green, camera-facing blue.

The painted axes are +x right, +y up, +z out of the image; results are in the ROS optical frame (REP 103).
"""

from __future__ import annotations

import torch

from vbanana_ros.results import Array, NormalMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_tensor, confidence_of, like

# Painted channel c = (1 + s n) / 2, with n in the optical frame (x right, y down, z forward): x is flipped by
# the code, y and z by the change of frame, so all three signs are negative.
_SIGN = -1.0


class Normals:
    """`normals`: RGB <-> unit vectors in the camera's optical frame."""

    name = "normals"

    def prompt(self, request: Request) -> str:
        """The paper's wording."""
        return "Generate a surface normal map of the input image."

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> NormalMap:
        """Float RGB [H, W, 3] in 0..1 -> unit normals; vectors too far from unit length are NaN.

        The legal colours are a sphere of radius 127.5 (0-255 scale), so the residual is | |n| - 1 | * 127.5.
        """
        tensor = as_tensor(rgb)
        normals = (1 - 2 * tensor).reshape(-1, 3)
        length = (normals * normals).sum(-1).sqrt_()
        residual = (length - 1).abs_().mul_(127.5)
        scale = (1 / length).masked_fill_(~(residual <= max_residual), torch.nan)
        normals = normals.mul_(scale[:, None]).reshape(tensor.shape)
        confidence = confidence_of(residual, max_residual).nan_to_num_(0).reshape(tensor.shape[:2])
        return NormalMap(like(normals, rgb), like(confidence, rgb))

    def encode(self, result: NormalMap, request: Request) -> Array:
        """Unit normals -> float32 RGB [H, W, 3] in 0..1; NaN is painted mid-gray, which is no normal."""
        normals = as_tensor(result.normals).nan_to_num(0.0)
        return like(((1 + _SIGN * normals) / 2).clamp_(0, 1), result.normals)
