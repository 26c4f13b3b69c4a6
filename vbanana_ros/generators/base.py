"""The interface every image generator of this package has, whatever pipeline is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Capabilities:
    """What a generator can do, and within which limits.

    size_multiple: both sides of a generated image are multiples of this, pixels.
    max_area: largest generated image, pixels; inputs may be of any size.
    max_batch: most prompts in one batch.
    max_images: most images in one batch.
    steps: denoising steps for perception (1: one-step x0 prediction).
    picture_steps: denoising steps for pictures.
    shared_image: the image is encoded once a frame, for all prompts.
    text_sees_image: prompt embeddings depend on the image and cannot be cached.
    license: SPDX identifier of the weights.
    tasks: what it can be asked; empty: anything.
    """

    size_multiple: int
    max_area: int
    max_batch: int
    steps: int
    picture_steps: int
    shared_image: bool
    text_sees_image: bool
    license: str
    tasks: tuple[str, ...] = ()
    max_images: int = 1


class Generator(Protocol):
    """An image and prompts in, one painted RGB image a prompt out.

    name: the model's name; weights: SHA-256 of its files, in hex. Where it has a `profile`, that says in which dialect
    it is asked and answers (`tasks.dialect`); else in the paper's.
    Embedded prompts and images are opaque: only the generator that made them reads them.
    """

    name: str
    weights: str
    capabilities: Capabilities

    def encode_prompts(self, texts: Sequence[str]) -> Any:
        """Embed prompts; cached by text."""

    def encode_image(self, rgb: np.ndarray, K: np.ndarray | None = None) -> Any:
        """uint8 RGB [H, W, 3] -> what every prompt shares of this frame, at the generator's own size.

        Up to max_images images [B, H, W, 3] are looked at in one batch. K: float [3, 3], or [B, 3, 3], of the camera,
        pixels of the image as given, NaN or None where it is not known; a generator that was not taught to read it
        leaves it alone. Raises InputError for any other array.
        """

    def generate(self, image: Any, prompts: Any, steps: int = 1, seed: int = 0) -> np.ndarray:
        """Paint all prompts about one image (None: from text alone), in one batch.

        Returns float32 RGB [N, h, w, 3] in 0..1 ([B, N, h, w, 3] where B images were looked at together), on the
        generator's grid, the aspect of the input kept to within one size multiple unless that is beyond max_area.
        Same arguments, same bytes; a prompt's image is the same, up to rounding, whatever other prompts and images
        are in the batch.
        """

    def warm_up(self, sizes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
        """Run once at each (height, width) and batch, so that the first frame is not the slow one."""
