"""Loss terms of painted answers: in RGB, and in decoded units, what an error of colour is worth in what it decodes to.

The latter are named in a recipe and off by default: the paper trains in RGB alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.recipe import Recipe

# The RGB channel that changes along each of the seven edges of the depth code.
_MOVING = (0, 1, 0, 2, 1, 0, 1)
# Near the camera a step of colour is worth ever more of the depth itself: so much counts, no more.
MOST = 4.0


def answer_terms(rgb: torch.Tensor, batch: dict[str, Any], known: torch.Tensor,
                 recipe: Recipe) -> dict[str, torch.Tensor]:
    """`rgb`, `log_depth` and `angle` of painted answers, [N, 3, H, W] in -1..1, weights included.

    They are compared with the first N of the batch's `targets`, its `depth` and `is_normals`. known: [N, 1, H, W], 0
    where an answer is not judged.
    """
    targets = batch["targets"][:len(rgb)]
    terms = {"rgb": ((rgb - targets).abs() * known).mean()}
    if recipe.log_depth:
        terms["log_depth"] = recipe.log_depth * log_depth_error(rgb, targets, batch["depth"]).mean()
    if recipe.angle:
        ours = batch["is_normals"][:, None, None] * known[:, 0]
        terms["angle"] = recipe.angle * (angle_error(rgb, targets) * ours).mean()
    return terms


def check_code(recipe: Recipe, depth_code: str) -> None:
    """Raise InputError where a recipe asks for log_depth of a model with another code than the paper's."""
    if recipe.log_depth and depth_code != "hilbert":
        raise InputError(f"log_depth is for depth code 'hilbert', and this model's is {depth_code!r}; leave it 0")


def log_depth_error(rgb: torch.Tensor, target: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """|log d - log d'| of painted depth, to first order, on the edge of the code where the truth is.

    rgb, target: [N, 3, H, W] in -1..1; depth: metres [N, H, W], NaN where there is none or it is not known.
    Returns [N, H, W], 0 there.
    """
    known = torch.isfinite(depth) & (depth > 0)
    metres = torch.where(known, depth, torch.ones_like(depth))
    edge = (7 - 7 * (1 + metres / 10) ** -2).long().clamp(0, 6)
    moving = torch.tensor(_MOVING, device=rgb.device)[edge][:, None]
    channel = (rgb - target).gather(1, moving)[:, 0].abs() / 2
    worth = ((1 + metres / 10) ** 3 / (1.4 * metres)).clamp(max=MOST)
    return channel * worth * known


def angle_error(rgb: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - cos of the angle between painted normals and true ones: both [N, 3, H, W] in -1..1. Returns [N, H, W].

    All codes of normals paint one axis, of either sign, on a channel, so the angle between colours is theirs.
    """
    return 1 - F.cosine_similarity(rgb, target, dim=1, eps=1e-4)
