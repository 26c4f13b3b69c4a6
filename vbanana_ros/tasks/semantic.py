"""Semantic segmentation: the prompt maps any class text to a colour, the image paints each class in it."""

from __future__ import annotations

import torch

from vbanana_ros.colors import format_color
from vbanana_ros.results import UNLABELED_8, Array, LabelMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_tensor, confidence_of, like


class Semantic:
    """`semantic`: nearest class colour in RGB."""

    name = "semantic"

    def prompt(self, request: Request) -> str:
        """The paper's JSON form; the background is a class like any other, named last."""
        pairs = [f'"{name}": {format_color(color)}' for name, color in zip(request.labels, request.colors, strict=True)]
        if request.background is not None:
            pairs.append(f'"background": {format_color(request.background)}')
        return ("Generate a visualization image of semantic segmentation, using this color mapping: "
                "{" + ", ".join(pairs) + "}")

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> LabelMap:
        """Float RGB [H, W, 3] in 0..1 -> the class of the nearest colour at each pixel.

        UNLABELED where the background is nearest, or no colour is within max_residual (0-255 scale).
        """
        tensor = as_tensor(rgb)
        legal = [*request.colors, *([request.background] if request.background is not None else [])]
        targets = torch.tensor(legal, dtype=torch.float32, device=tensor.device) / 255
        # |x - c|^2 = |x|^2 + (|c|^2 - 2 x.c): the first term is the same for all classes of a pixel.
        flat = tensor.reshape(-1, 3)
        score = torch.addmm((targets * targets).sum(-1), flat, targets.T, alpha=-2)
        nearest, labels = score.min(-1)
        residual = (nearest + (flat * flat).sum(-1)).clamp_(min=0).sqrt_().mul_(255)
        known = (residual <= max_residual) & (labels < len(request.colors))
        labels = labels.to(torch.uint8).masked_fill_(~known, UNLABELED_8).reshape(tensor.shape[:2])
        confidence = confidence_of(residual, max_residual).nan_to_num_(0).reshape(tensor.shape[:2])
        return LabelMap(like(labels, rgb), request.labels, request.colors, like(confidence, rgb))

    def encode(self, result: LabelMap, request: Request) -> Array:
        """Labels [H, W] -> float32 RGB [H, W, 3]; UNLABELED in the background's colour, else black."""
        labels = torch.as_tensor(result.labels).long()
        table = torch.zeros(256, 3, device=labels.device)
        table[:] = torch.tensor(request.background or (0, 0, 0), dtype=torch.float32) / 255
        if request.colors:
            table[:len(request.colors)] = torch.tensor(request.colors, dtype=torch.float32, device=labels.device) / 255
        return like(table[labels], result.labels)
