"""What a task is: a request becomes a prompt, a painted RGB image becomes a result, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from vbanana_ros.results import Array, Result

if TYPE_CHECKING:
    from vbanana_ros.tasks.wording import Wording

RGB = tuple[int, int, int]

# A pixel further than this from every legal colour (Euclidean, 0-255 scale) is invalid. Real generators
# stay within 10-30 of their codes on 95 % of the pixels; edges and hallucinated colours lie beyond.
MAX_RESIDUAL = 48.0

# Pixels decoded at a time on a CPU: enough to hide the cost of a call, few enough for the planes to stay in cache.
_BLOCK = 65536


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
    """One perception task as three pure functions; `decode(encode(x)) == x` up to the code's precision.

    wording: how its prompts are worded. A task `depth` says by `metric` whether it is in metres.
    """

    name: str
    wording: Wording

    def prompt(self, request: Request) -> str:
        """The text that makes a generator paint the answer."""

    def decode(self, rgb: Array, request: Request) -> Result:
        """Float RGB [H, W, 3] in 0..1, numpy or torch on any device -> the result, same kind and device."""

    def encode(self, result: Result, request: Request) -> Array:
        """The inverse of decode: the float32 RGB [H, W, 3] in 0..1 a perfect generator would paint."""


def as_tensor(array: Array) -> torch.Tensor:
    """Float32 tensor of an array, on the device it is on; no copy where none is due. Raises TypeError for integers."""
    # torch takes no negative strides, and warns of arrays that it may not write to.
    tensor = torch.from_numpy(np.require(array, requirements="CW")) if isinstance(array, np.ndarray) else array
    if not tensor.is_floating_point():
        raise TypeError(f"decoders take float RGB in 0..1, not {tensor.dtype}; divide 8-bit images by 255")
    return tensor.detach().to(torch.float32)


def as_pixels(rgb: Array) -> torch.Tensor:
    """Float32 [H * W, 3] of an RGB image [H, W, 3] in 0..1, numpy or torch; no copy where none is due.

    Raises TypeError for integers and ValueError for another shape.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"decoders take an RGB image [H, W, 3], not {list(rgb.shape)}")
    return as_tensor(rgb).reshape(-1, 3)


def blocks(pixels: torch.Tensor) -> Iterator[slice]:
    """Slices of [N, 3] that are decoded one after the other: pieces that fit a CPU's cache, all at once on a GPU."""
    step = _BLOCK if pixels.device.type == "cpu" else max(len(pixels), 1)
    for start in range(0, len(pixels), step):
        yield slice(start, min(start + step, len(pixels)))


def like(tensor: torch.Tensor, template: Array) -> Array:
    """The tensor as the caller's kind of array: numpy for numpy, torch for torch."""
    return tensor.cpu().numpy() if isinstance(template, np.ndarray) else tensor


def confidence_of(residual: torch.Tensor, max_residual: float) -> torch.Tensor:
    """Distance from the nearest legal colour -> confidence: 1 on it, 0 at max_residual and beyond; NaN -> 0."""
    return torch.rsub(residual, 1, alpha=1 / max_residual).clamp_(0, 1).nan_to_num_(0)
