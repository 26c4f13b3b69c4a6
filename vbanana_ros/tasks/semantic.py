"""Semantic segmentation: the prompt maps any class text to a colour, the image paints each class in it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vbanana_ros.colors import RGB
from vbanana_ros.results import UNLABELED_8, Array, LabelMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_pixels, blocks, confidence_of, like
from vbanana_ros.tasks.wording import Wording


class Semantic:
    """`semantic`: nearest class colour in RGB. wording: by default the paper's JSON form."""

    name = "semantic"

    def __init__(self, wording: Wording | None = None) -> None:
        self.wording = wording or Wording(
            "Generate a visualization image of semantic segmentation, using this color mapping: {{{pairs}}}")

    def prompt(self, request: Request) -> str:
        """Every class with its colour; the background is a class like any other, named last."""
        return self.wording.fill(request)

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> LabelMap:
        """Float RGB [H, W, 3] in 0..1 -> the class of the nearest colour at each pixel; of equals the first.

        UNLABELED where the background is nearest, or no colour is within max_residual (0-255 scale).
        Raises TypeError for integer images.
        """
        pixels = as_pixels(rgb)
        labels = torch.empty(len(pixels), dtype=torch.uint8, device=pixels.device)
        confidence, unlabeled = pixels.new_empty(len(pixels)), pixels.new_tensor(UNLABELED_8)
        legal = dict(enumerate(request.colors))
        if request.background is not None:
            legal[UNLABELED_8] = request.background
        for block in blocks(pixels):
            nearest, residual = _nearest(pixels[block], legal)
            known = torch.le(residual, max_residual, out=torch.empty_like(residual))
            labels[block] = torch.lerp(unlabeled, nearest, known)
            confidence[block] = confidence_of(residual, max_residual)
        shape = rgb.shape[:2]
        return LabelMap(like(labels.reshape(shape), rgb), request.labels, request.colors,
                        like(confidence.reshape(shape), rgb))

    def encode(self, result: LabelMap, request: Request) -> Array:
        """Labels [H, W] -> float32 RGB [H, W, 3]; UNLABELED in the background's colour, else black."""
        labels = torch.as_tensor(result.labels).long()
        table = torch.zeros(256, 3, device=labels.device)
        table[:] = torch.tensor(request.background or (0, 0, 0), dtype=torch.float32) / 255
        if request.colors:
            table[:len(request.colors)] = torch.tensor(request.colors, dtype=torch.float32, device=labels.device) / 255
        return like(table[labels], result.labels)


def _nearest(rgb: torch.Tensor, legal: Mapping[int, RGB]) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours [N, 3] -> the label of the nearest legal colour (as a float) and its distance (0-255), both [N].

    legal: colour of each label, labels ascending.
    """
    planes = torch.mul(rgb.T, 255, out=rgb.new_empty(3, len(rgb)))
    labels, (nearest, square, offset) = rgb.new_zeros(len(rgb)), rgb.new_empty(3, len(rgb))
    nearest.fill_(torch.inf)
    for label, color in legal.items():
        torch.sub(planes[0], color[0], out=square).square_()
        for plane, c in zip(planes[1:], color[1:], strict=True):
            torch.sub(plane, c, out=offset)
            square.addcmul_(offset, offset)
        # The 0 or 1 of the comparison as a float, times a label higher than all before it: far faster than a bool mask.
        closer = torch.lt(square, nearest, out=offset).mul_(label)
        torch.maximum(labels, closer, out=labels)
        torch.minimum(nearest, square, out=nearest)
    return labels, nearest.sqrt_()
