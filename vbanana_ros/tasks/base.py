"""What a task is: a request becomes a prompt, a painted RGB image becomes a result, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from vbanana_ros.results import Array, Result

RGB = tuple[int, int, int]

# A pixel further than this from every legal colour (Euclidean, 0-255 scale) is invalid. Real generators
# stay within 10-30 of their codes on 95 % of the pixels; edges and hallucinated colours lie beyond.
MAX_RESIDUAL = 48.0


@dataclass(frozen=True)
class Request:
    """What is asked of a frame: one task, its words, and their colours.

    task: `depth`, `normals`, `semantic`, `instance`, `referring` or `picture`.
    labels: class names (semantic), the one class (instance) or expressions (referring).
    colors: an RGB triple (0-255) for each label, in the same order; not used by `instance`.
    background: RGB of everything that no label names; None leaves it out of the prompt.
    text: what to paint or how to edit (picture only).
    """

    task: str
    labels: tuple[str, ...] = ()
    colors: tuple[RGB, ...] = ()
    background: RGB | None = None
    text: str = ""


class Task(Protocol):
    """One perception task as three pure functions; `decode(encode(x)) == x` up to the code's precision."""

    name: str

    def prompt(self, request: Request) -> str:
        """The text that makes a generator paint the answer."""

    def decode(self, rgb: Array, request: Request) -> Result:
        """Float RGB [H, W, 3] in 0..1, numpy or torch on any device -> the result, same kind and device."""

    def encode(self, result: Result, request: Request) -> Array:
        """The inverse of decode: the float32 RGB [H, W, 3] in 0..1 a perfect generator would paint."""


def as_tensor(rgb: Array) -> torch.Tensor:
    """Float32 tensor of an RGB image [H, W, 3] in 0..1, on the device it is on; no copy where none is due."""
    tensor = torch.from_numpy(np.ascontiguousarray(rgb)) if isinstance(rgb, np.ndarray) else rgb
    if not tensor.is_floating_point():
        raise TypeError(f"decoders take float RGB in 0..1, not {tensor.dtype}; divide 8-bit images by 255")
    return tensor.detach().to(torch.float32)


def like(tensor: torch.Tensor, template: Array) -> Array:
    """The tensor as the caller's kind of array: numpy for numpy, torch for torch."""
    return tensor.cpu().numpy() if isinstance(template, np.ndarray) else tensor


def confidence_of(residual: torch.Tensor, max_residual: float) -> torch.Tensor:
    """Distance from the nearest legal colour -> confidence: 1 on it, 0 at max_residual and beyond."""
    return (1 - residual / max_residual).clamp_(0, 1)
