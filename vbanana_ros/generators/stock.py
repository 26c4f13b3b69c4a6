"""What the families over a stock diffusers pipeline share: everything but how to embed, to encode and to paint."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline

from vbanana_ros.errors import InputError
from vbanana_ros.generators.assemble import open_pipeline
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.grid import check_image, paint_rows, painted_size, pixels
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import Speed

CACHED = 64


@dataclass(frozen=True)
class Reference:
    """Encoded images: latents [B, C, ...] of (height, width), pixels.

    single: of one image and not of a batch of them.
    """

    latents: torch.Tensor
    size: tuple[int, int]
    single: bool

    def __len__(self) -> int:
        return len(self.latents)

    def select(self, index: torch.Tensor) -> Reference:
        """These images, one a prompt."""
        return replace(self, latents=self.latents[index])


class StockGenerator:
    """The `Generator` interface over a stock pipeline. A family says what is below, and has the three steps.

    `_embed(texts)` makes prompts, `_encode(rgb [B, 3, h, w] in -1..1)` latents, and `_paint(images, prompts, size,
    steps, seed)` RGB [rows, 3, h, w], nominally in -1..1.
    The VAE computes in float32 on a GPU too: bfloat16 has no more than 8 bits between two shades.
    """

    kind: ClassVar[type[DiffusionPipeline]]
    dtype: ClassVar[torch.dtype]  # of all but the VAE, on a GPU; float32 on the CPU
    size_multiple: ClassVar[int] = 16
    max_batch: ClassVar[int]
    max_images: ClassVar[int]
    grow: ClassVar[bool]  # small images are painted at the profile's area, and not at their own size
    needs_image: ClassVar[bool]
    text_sees_image: ClassVar[bool] = False

    def __init__(self, pipeline: DiffusionPipeline, profile: Profile, weights: str) -> None:
        self.pipeline, self.profile = pipeline, profile
        self.name, self.weights = profile.name, weights
        self.capabilities = Capabilities(
            size_multiple=self.size_multiple, max_area=profile.area, max_batch=self.max_batch, steps=profile.steps,
            picture_steps=profile.picture_steps, shared_image=True, text_sees_image=self.text_sees_image,
            license=profile.license, tasks=profile.tasks, max_images=self.max_images)
        self._embed_once = functools.lru_cache(CACHED)(self._embed)

    @classmethod
    def load(cls, folder: Path, profile: Profile, weights: str, device: str, speed: Speed) -> StockGenerator:
        """From a model directory. Of speed it takes dtype and max_area."""
        dtype = torch.float32 if device == "cpu" else cls.dtype
        dtype = dtype if speed.dtype == "auto" else speed.torch_dtype(device)
        pipeline = open_pipeline(cls.kind, folder, profile, device, dtype)
        pipeline.vae.float()
        area = min(profile.area, speed.max_area or profile.area)
        return cls(pipeline, replace(profile, area=area), weights)

    @torch.inference_mode()
    def encode_prompts(self, texts: Sequence[str]) -> Any:
        """Embed prompts, in one batch; the same list of prompts is embedded once."""
        return self._embed_once(tuple(texts))

    @torch.inference_mode()
    def encode_image(self, rgb: np.ndarray) -> Reference:
        """The image, or several of one size, through the VAE, once a frame."""
        check_image(rgb)
        size = self.size(*rgb.shape[-3:-1])
        images = pixels(rgb, *size, self.pipeline.device, self.pipeline.vae.dtype)
        return Reference(self._encode(images), size, rgb.ndim == 3)

    @torch.inference_mode()
    def generate(self, image: Reference | None, prompts: Any, steps: int = 1, seed: int = 0) -> np.ndarray:
        """float32 RGB [N, h, w, 3], or [B, N, h, w, 3], in 0..1; from text alone at 4:3.

        Raises InputError for text alone where the model only edits images.
        """
        if image is None and self.needs_image:
            raise InputError(f"model {self.name!r} edits images and paints none from text alone; give it an image")
        size = image.size if image is not None else self.size(3, 4)
        return paint_rows(
            lambda images, rows: (self._paint(images, rows, size, steps, seed) / 2 + 0.5).clamp(0, 1),
            image, prompts, self.max_batch)

    def warm_up(self, sizes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
        """Run once at each (height, width) of the input and batch of prompts."""
        for height, width in sizes:
            image = self.encode_image(np.zeros((height, width, 3), np.uint8))
            for n in batches:
                self.generate(image, self.encode_prompts(["warm up"] * n), self.profile.steps)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the model paints an input of this size at: its aspect, at most the profile's area."""
        return painted_size(height, width, self.size_multiple, self.profile.area, self.grow)


def check_length(tokenizer: Any, texts: Sequence[str], most: int) -> None:
    """Raise InputError for a prompt of more tokens than the encoder reads: the stock pipelines cut it off."""
    for text in texts:
        if (length := len(tokenizer(text, verbose=False)["input_ids"])) > most:
            raise InputError(f"a prompt of {length} tokens is longer than the {most} that the model reads "
                             f"({text[:40]!r}...); name fewer classes")
