"""What the families over a diffusers pipeline share: everything but how to embed, to encode and to paint."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline

from vbanana_ros.errors import InputError, ModelError, one_line
from vbanana_ros.generators.assemble import open_pipeline
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.grid import check_image, paint_rows, painted_size, pixels
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import AUTO, Speed, denoiser_of, install, text_encoders_of

log = logging.getLogger(__name__)

CACHED = 64
LEAST = 1 / 16  # of the largest area: an image is not made smaller than this to save memory


@dataclass(frozen=True)
class Reference:
    """Encoded images: latents [B, ...] of (height, width), pixels.

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


@dataclass(frozen=True)
class Seen:
    """What `encode_image` saw: the image, uint8 RGB, and what the denoiser sees of it. The image is kept, should
    memory run out and a smaller one be asked for."""

    rgb: np.ndarray
    reference: Reference


class StockGenerator:
    """The `Generator` interface over a diffusers pipeline. A family says what is below, and has the three steps.

    `_embed(texts)` makes prompts, `_encode(rgb [B, 3, h, w] in -1..1)` latents, and `_paint(images, prompts, size,
    steps, seed)` RGB [rows, 3, h, w], nominally in -1..1. Tensors go to `device`: parts of the pipeline may wait
    elsewhere. The VAE computes in float32 on a GPU too: bfloat16 has no more than 8 bits between two shades.

    Where a frame takes more memory than there is, it is painted in smaller batches, then smaller; what was found to
    fit holds from then on, in `capabilities`.
    """

    pipeline_class: ClassVar[type[DiffusionPipeline]]
    dtype: ClassVar[str] = "auto"  # on a GPU, of all but the VAE, where none is asked for
    latents_a_side: ClassVar[int] = 2  # that one token holds
    max_batch: ClassVar[int] = 8
    max_images: ClassVar[int] = 4
    longest: ClassVar[int] = 0  # tokens that prompts can be padded to, at most; 0: their number is not to be chosen
    grow: ClassVar[bool]  # small images are painted at the largest area, and not at their own size
    needs_image: ClassVar[bool] = False
    text_sees_image: ClassVar[bool] = False

    def __init__(self, pipeline: DiffusionPipeline, profile: Profile, weights: str, speed: Speed = AUTO,
                 device: str | None = None) -> None:
        self.pipeline, self.profile, self.speed = pipeline, profile, speed
        self.name, self.weights = profile.name, weights
        self.length = speed.max_sequence_length or profile.max_length
        self.capabilities = Capabilities(
            size_multiple=self.latents_a_side * pipeline.vae_scale_factor, max_area=speed.area(profile.area),
            max_batch=self.max_batch, steps=profile.steps, picture_steps=profile.picture_steps, shared_image=True,
            text_sees_image=self.text_sees_image, license=profile.license, tasks=profile.tasks,
            max_images=self.max_images)
        self._device = None if device is None else torch.device(device)
        self._least_area = max(1, int(LEAST * self.capabilities.max_area))
        self._embed_once = functools.lru_cache(CACHED)(self._embed_in_turn)
        # Prompts come in another thread than frames, and with `offload: text` they send the denoiser away.
        self._turn = threading.RLock()

    @classmethod
    def load(cls, folder: Path, profile: Profile, weights: str, device: str, speed: Speed = AUTO) -> StockGenerator:
        """From a model directory. Raises ModelError for a parameter of speed that the family does not have."""
        if not cls.longest:
            speed.refuse(profile.family, "max_sequence_length")
        elif (length := speed.max_sequence_length or profile.max_length) > cls.longest:
            raise ModelError(f"max_sequence_length is {length}, and family {profile.family!r} reads {cls.longest} "
                             "tokens; ask for no more")
        dtype = cls.dtype if speed.dtype == "auto" and device != "cpu" else speed.dtype
        pipeline = open_pipeline(cls.pipeline_class, folder, profile, "cpu",
                                 replace(speed, dtype=dtype).torch_dtype(device))
        return cls(pipeline, profile, weights, install(pipeline, speed, device, cls.text_sees_image), device)

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self._device or self.pipeline.device

    @torch.inference_mode()
    def encode_prompts(self, texts: Sequence[str]) -> Any:
        """Embed prompts, in one batch; the same list of prompts is embedded once."""
        return self._embed_once(tuple(texts))

    def _embed_in_turn(self, texts: tuple[str, ...]) -> Any:
        with self._turn, self._text_encoders():
            return self._embed(texts)

    @contextmanager
    def _text_encoders(self) -> Iterator[None]:
        """Where the text encoders wait in the CPU's memory, they change places with the denoiser."""
        if self.speed.offload != "text":
            yield
            return
        denoiser, encoders = denoiser_of(self.pipeline), text_encoders_of(self.pipeline)
        denoiser.to("cpu")
        try:
            for encoder in encoders:
                encoder.to(self.device)
            yield
        finally:
            for encoder in encoders:
                encoder.to("cpu")
            denoiser.to(self.device)

    @torch.inference_mode()
    def encode_image(self, rgb: np.ndarray, K: np.ndarray | None = None) -> Seen:
        """The image, or several of one size, through the VAE, once a frame; of cameras these models know nothing."""
        check_image(rgb)
        if rgb.ndim == 4 and len(rgb) > 1:  # whoever put images together takes them apart again
            return Seen(rgb, self._reference(rgb))
        return self._within_memory(lambda: Seen(rgb, self._reference(rgb)), 1, lambda: self._size_of(rgb))

    def _reference(self, rgb: np.ndarray) -> Reference:
        images = self._pixels(rgb)
        return Reference(self._encode(images), tuple(images.shape[-2:]), rgb.ndim == 3)

    def _pixels(self, rgb: np.ndarray) -> torch.Tensor:
        return pixels(rgb, *self._size_of(rgb), self.device, torch.float32)

    @torch.inference_mode()
    def generate(self, image: Seen | None, prompts: Any, steps: int = 1, seed: int = 0) -> np.ndarray:
        """float32 RGB [N, h, w, 3], or [B, N, h, w, 3], in 0..1; from text alone at 4:3.

        Raises InputError for text alone where the model only edits images.
        """
        if image is None and self.needs_image:
            raise InputError(f"model {self.name!r} edits images and paints none from text alone; give it an image")
        rows = len(prompts) * (1 if image is None else len(image.reference))
        return self._within_memory(lambda: self._paint_all(image, prompts, steps, seed), rows,
                                   lambda: self._size_of(image and image.rgb))

    def _paint_all(self, image: Seen | None, prompts: Any, steps: int, seed: int) -> np.ndarray:
        size, reference = self._size_of(image and image.rgb), image and image.reference
        if reference is not None and reference.size != size:  # memory ran out since it was encoded
            reference = self._reference(image.rgb)
        return paint_rows(
            lambda images, rows: (self._paint(images, rows, size, steps, seed) / 2 + 0.5).clamp(0, 1),
            reference, prompts, self.capabilities.max_batch)

    def _within_memory(self, attempt: Callable[[], Any], rows: int, size: Callable[[], tuple[int, int]]) -> Any:
        """attempt(), and where that takes more memory than there is, again with less to do.

        rows, size: of what it paints; how many at once and how large at most, it reads of `capabilities`.
        Raises torch.OutOfMemoryError where one small image is still too much.
        """
        while True:
            try:
                with self._turn:
                    return attempt()
            except torch.OutOfMemoryError as error:
                if not self._retreat(rows, size(), one_line(error)):
                    raise
            # Only here: until the error is forgotten, its frames hold what did not fit.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _retreat(self, rows: int, size: tuple[int, int], reason: str) -> bool:
        """Half the batch or, of one row, half the area, from now on; False where there is nothing left to halve."""
        able, area = self.capabilities, size[0] * size[1]
        batch = min(able.max_batch, rows)
        if batch > 1:
            self.capabilities = replace(able, max_batch=batch // 2)
        elif area // 2 >= self._least_area:
            self.capabilities = replace(able, max_area=area // 2)
        else:
            return False
        log.warning("%s: %d image(s) of %dx%d at once take more memory than there is (%s); from now on at most %d of "
                    "%d pixels", self.name, batch, size[1], size[0], reason[:80], self.capabilities.max_batch,
                    self.capabilities.max_area)
        return True

    def warm_up(self, sizes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
        """Run once at each (height, width) of the input and batch of prompts."""
        prompt = self.encode_prompts(["warm up"])
        for height, width in sizes:
            image = self.encode_image(np.zeros((height, width, 3), np.uint8))
            for n in batches:
                self.generate(image, prompt.select(torch.zeros(n, dtype=torch.long)), self.profile.steps)

    def _size_of(self, rgb: np.ndarray | None) -> tuple[int, int]:
        """(height, width) that an image, or a batch of one size, is painted at; without one, of a picture at 4:3."""
        if rgb is None:
            return painted_size(3, 4, self.capabilities.size_multiple, self.capabilities.max_area)
        return self.size(*rgb.shape[-3:-1])

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the model paints an input of this size at: its aspect, at most the largest area."""
        return painted_size(height, width, self.capabilities.size_multiple, self.capabilities.max_area, self.grow)


def check_length(tokenizer: Any, texts: Sequence[str], most: int, wrap: Callable[[str], str] = str) -> None:
    """Raise InputError for a prompt of more tokens than the encoder reads: the stock pipelines cut it off.

    wrap: what the model puts around a prompt, which counts.
    """
    for text in texts:
        if (length := len(tokenizer(wrap(text), verbose=False)["input_ids"])) > most:
            raise InputError(f"a prompt of {length} tokens is longer than the {most} that the model reads "
                             f"({text[:40]!r}...); name fewer classes")
