"""FLUX.2 klein as a generator: one loop of our own over the stock pipeline's modules.

What the stock call does once a prompt is done once a frame here: all prompts about an image go through the
transformer in one batch, the image is encoded once, and prompts are embedded once. The result is float RGB on sizes
that are exact multiples; the stock call crops what is not, and rounds to 8 bits.

Weights of the KV kind let the image's tokens see each other alone: their keys and values are made once a frame, and
every prompt and step reads them. With ordinary weights the image goes through the transformer with every row.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import Flux2KleinKVPipeline, Flux2KleinPipeline
from diffusers.models.transformers.transformer_flux2 import Flux2KVCache, Flux2KVLayerCache
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from vbanana_ros.errors import InputError, one_line
from vbanana_ros.generators.assemble import open_pipeline
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.grid import check_image, paint_rows, painted_size, pixels
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import AUTO, Speed, install

log = logging.getLogger(__name__)

CACHED = 64
MAX_LENGTH = 512  # tokens of a prompt, the stock pipeline's
GUIDANCE = 4.0  # of a model that is not distilled, the stock pipeline's
LEAST = 1 / 16  # of the profile's area: an image is not made smaller than this to save memory


@dataclass(frozen=True)
class Prompts:
    """Embedded prompts: embeds [N, L, D], and the places of their tokens [N, L, 4]."""

    embeds: torch.Tensor
    ids: torch.Tensor

    def __len__(self) -> int:
        return len(self.embeds)

    def select(self, index: torch.Tensor) -> Prompts:
        """These prompts, in this order."""
        return Prompts(self.embeds[index], self.ids[index])


@dataclass(frozen=True)
class Reference:
    """Encoded images: packed latents [B, L, C], the places of their tokens [B, L, 4], and (height, width), pixels.

    single: of one image and not of a batch of them.
    """

    latents: torch.Tensor
    ids: torch.Tensor
    size: tuple[int, int]
    single: bool

    def __len__(self) -> int:
        return len(self.latents)

    def select(self, index: torch.Tensor) -> Reference:
        """These images, one a prompt."""
        return replace(self, latents=self.latents[index], ids=self.ids[index])


@dataclass(frozen=True)
class CachedReference:
    """Encoded images as what every layer of the transformer attends to of them.

    layers: keys and values [B, L, heads, D] of each, double blocks first. owners: [N], which image each row is about;
    rows share its tensors. latents: packed, [N, L, C]. size: (height, width), pixels. single: of one image and not of
    a batch of them.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    owners: torch.Tensor
    latents: torch.Tensor
    size: tuple[int, int]
    single: bool

    def __len__(self) -> int:
        return len(self.owners)

    def select(self, index: torch.Tensor) -> CachedReference:
        """These images, one a prompt."""
        return replace(self, owners=self.owners[index], latents=self.latents[index])

    def cache(self, doubles: int) -> Flux2KVCache:
        """In the transformer's own form, for a transformer with so many double blocks."""
        cache = Flux2KVCache(0, 0)
        layers = [_SharedLayer(*layer, self.owners) for layer in self.layers]
        cache.double_block_caches, cache.single_block_caches = layers[:doubles], layers[doubles:]
        cache.num_ref_tokens = self.layers[0][0].shape[1]
        return cache


class _SharedLayer(Flux2KVLayerCache):
    """Rows about one image read the same memory; those about several are put together a layer at a time."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, owners: torch.Tensor) -> None:
        self.k_ref, self.v_ref, self.owners = keys, values, owners

    def get(self) -> tuple[torch.Tensor, torch.Tensor]:
        if len(self.k_ref) == 1:
            return tuple(t.expand(len(self.owners), -1, -1, -1) for t in (self.k_ref, self.v_ref))
        return self.k_ref[self.owners], self.v_ref[self.owners]


class KleinPainter:
    """The differentiable steps between RGB in -1..1 and the transformer's tokens, as the stock pipeline takes them.

    max_length: tokens of a prompt, which shorter ones are padded to. device: where it all runs, if parts of the
    pipeline wait elsewhere.
    """

    def __init__(self, pipeline: Flux2KleinPipeline, max_length: int = MAX_LENGTH,
                 device: torch.device | str | None = None) -> None:
        self.pipeline, self.max_length = pipeline, max_length
        self._device = None if device is None else torch.device(device)

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self._device or self.pipeline.device

    @property
    def size_multiple(self) -> int:
        """Both sides of an image are multiples of this, pixels."""
        return 2 * self.pipeline.vae_scale_factor

    def embed(self, texts: Sequence[str]) -> Prompts:
        """Prompts -> embeddings; raises InputError for one that is longer than the encoder reads."""
        tokenizer = self.pipeline.tokenizer
        for text in texts:
            chat = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False,
                                                 add_generation_prompt=True, enable_thinking=False)
            if (length := len(tokenizer(chat)["input_ids"])) > self.max_length:
                raise InputError(f"a prompt of {length} tokens is longer than the {self.max_length} that the model "
                                 f"reads ({text[:40]!r}...); name fewer classes")
        return Prompts(*self.pipeline.encode_prompt(list(texts), device=self.device,
                                                    max_sequence_length=self.max_length))

    def encode(self, rgb: torch.Tensor, single: bool = False) -> Reference:
        """[B, 3, h, w] in -1..1 -> what the transformer sees of the images."""
        latents = self.latents(rgb)
        ids = self.pipeline._prepare_image_ids([latents[:1]]).to(latents.device).expand(len(latents), -1, -1)
        return Reference(self.pipeline._pack_latents(latents), ids, tuple(rgb.shape[-2:]), single)

    def latents(self, rgb: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] in -1..1 -> normalised latents [B, 4 C, h', w'], the most likely ones."""
        return self.pipeline._encode_vae_image(rgb.to(self.pipeline.vae.dtype), generator=None)

    def velocity(self, tokens: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, prompts: Prompts,
                 image: Reference | None) -> torch.Tensor:
        """What the transformer says of noisy tokens [N, L, C] at noise levels sigma [N]: noise minus clean."""
        length = tokens.shape[1]
        if image is not None:
            tokens, ids = torch.cat([tokens, image.latents], 1), torch.cat([ids, image.ids], 1)
        return self._transform(tokens, ids, sigma, prompts)[0][:, :length]

    def _transform(self, tokens: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, prompts: Prompts,
                   **options) -> tuple:
        transformer = self.pipeline.transformer
        torch.compiler.cudagraph_mark_step_begin()  # where blocks are CUDA graphs: what they returned may be reused
        return transformer(hidden_states=tokens.to(transformer.dtype), timestep=sigma.to(transformer.dtype),
                           guidance=None, encoder_hidden_states=prompts.embeds.to(transformer.dtype),
                           txt_ids=prompts.ids, img_ids=ids, return_dict=False, **options)

    def noise(self, size: tuple[int, int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The seed's noise for an image size, as tokens [1, L, C] and their places [1, L, 4]: the same every frame."""
        rows, cols = (side // self.size_multiple for side in size)
        shape = (1, self.pipeline.transformer.config.in_channels, rows, cols)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        noise = noise.to(self.device, self.pipeline.transformer.dtype)
        ids = self.pipeline._prepare_latent_ids(noise).to(noise.device)
        return self.pipeline._pack_latents(noise), ids

    def decode(self, tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Clean tokens [N, L, C] -> RGB [N, 3, h, w], nominally in -1..1."""
        rows, cols = (side // self.size_multiple for side in size)
        vae = self.pipeline.vae
        latents = tokens.transpose(1, 2).reshape(len(tokens), -1, rows, cols).to(vae.dtype)
        mean, variance = (v.view(1, -1, 1, 1).to(latents) for v in (vae.bn.running_mean, vae.bn.running_var))
        latents = latents * torch.sqrt(variance + vae.config.batch_norm_eps) + mean
        return vae.decode(self.pipeline._unpatchify_latents(latents), return_dict=False)[0]


class KleinKVPainter(KleinPainter):
    """The same steps where the image goes through the transformer once, for all prompts, steps and noise."""

    def encode(self, rgb: torch.Tensor, single: bool = False) -> CachedReference:
        """[B, 3, h, w] in -1..1 -> the keys and values of the images' tokens."""
        image, n = super().encode(rgb, single), len(rgb)
        width = self.pipeline.transformer.config.joint_attention_dim
        # One empty word and no noise: the image's tokens see neither.
        word = Prompts(image.latents.new_zeros((n, 1, width)), image.ids.new_zeros((n, 1, 4)))
        _, cache = self._transform(image.latents, image.ids, image.latents.new_zeros(n), word,
                                   kv_cache_mode="extract", num_ref_tokens=image.latents.shape[1])
        # Copies, as CUDA graphs overwrite what they returned.
        layers = tuple(tuple(t.clone() for t in layer.get())
                       for layer in (*cache.double_block_caches, *cache.single_block_caches))
        return CachedReference(layers, torch.arange(n, device=rgb.device), image.latents, image.size, single)

    def velocity(self, tokens: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, prompts: Prompts,
                 image: CachedReference | None) -> torch.Tensor:
        """What the transformer says of noisy tokens [N, L, C] at noise levels sigma [N]: noise minus clean."""
        if image is None:
            return super().velocity(tokens, ids, sigma, prompts, None)
        cache = image.cache(len(self.pipeline.transformer.transformer_blocks))
        return self._transform(tokens, ids, sigma, prompts, kv_cache=cache, kv_cache_mode="cached")[0]


@dataclass(frozen=True)
class Seen:
    """What `encode_image` saw: the image, uint8 RGB, and what the transformer sees of it. The image is kept, should
    memory run out and a smaller one be asked for."""

    rgb: np.ndarray
    reference: Reference | CachedReference


class KleinGenerator:
    """The `Generator` interface over Flux2KleinPipeline.

    Where a frame takes more memory than there is, it is painted in smaller batches, then smaller; what was found to
    fit holds from then on, in `capabilities`.
    """

    pipeline_class, painter_class = Flux2KleinPipeline, KleinPainter

    def __init__(self, pipeline: Flux2KleinPipeline, profile: Profile, weights: str, speed: Speed = AUTO,
                 device: str | None = None) -> None:
        self.painter = self.painter_class(pipeline, speed.max_sequence_length or profile.max_length, device)
        self.profile, self.speed = profile, speed
        self.name, self.weights = profile.name, weights
        area = min(profile.area, speed.max_area or profile.area)
        self.capabilities = Capabilities(
            size_multiple=self.painter.size_multiple, max_area=area, max_batch=8, steps=profile.steps,
            picture_steps=profile.picture_steps, shared_image=True, text_sees_image=False, license=profile.license,
            tasks=profile.tasks, max_images=4)
        distilled = getattr(pipeline.config, "is_distilled", True)
        self._guidance = 1.0 if distilled else profile.guidance or GUIDANCE
        self._least_area = max(1, int(LEAST * area))
        self._embed = functools.lru_cache(CACHED)(self._embedded)
        # Prompts come in another thread than frames, and with `offload: text` they send the transformer away.
        self._turn = threading.RLock()

    @classmethod
    def load(cls, folder: Path, profile: Profile, weights: str, device: str, speed: Speed = AUTO) -> KleinGenerator:
        """From a model directory."""
        pipeline = open_pipeline(cls.pipeline_class, folder, profile, "cpu", speed.torch_dtype(device))
        return cls(pipeline, profile, weights, install(pipeline, speed, device), device)

    @torch.inference_mode()
    def encode_prompts(self, texts: Sequence[str]) -> Prompts:
        """Embed prompts, in one batch; the same list of prompts is embedded once."""
        return self._embed(tuple(texts))

    def _embedded(self, texts: tuple[str, ...]) -> Prompts:
        with self._turn, self._text_encoder():
            return self.painter.embed(texts)

    @contextmanager
    def _text_encoder(self) -> Iterator[None]:
        """Where the text encoder waits in the CPU's memory, it changes places with the transformer."""
        if self.speed.offload != "text":
            yield
            return
        pipeline = self.painter.pipeline
        pipeline.transformer.to("cpu")
        try:
            pipeline.text_encoder.to(self.painter.device)
            yield
        finally:
            pipeline.text_encoder.to("cpu")
            pipeline.transformer.to(self.painter.device)

    @torch.inference_mode()
    def encode_image(self, rgb: np.ndarray) -> Seen:
        """The image, or several of one size, through the VAE, once a frame."""
        check_image(rgb)
        if rgb.ndim == 4 and len(rgb) > 1:  # whoever put images together takes them apart again
            return Seen(rgb, self._reference(rgb))
        return self._within_memory(lambda: Seen(rgb, self._reference(rgb)), 1, lambda: self._size_of(rgb))

    def _reference(self, rgb: np.ndarray) -> Reference | CachedReference:
        images = pixels(rgb, *self._size_of(rgb), self.painter.device, torch.float32)
        return self.painter.encode(images, single=rgb.ndim == 3)

    @torch.inference_mode()
    def generate(self, image: Seen | None, prompts: Prompts, steps: int = 1, seed: int = 0) -> np.ndarray:
        """float32 RGB [N, h, w, 3], or [B, N, h, w, 3], in 0..1; from text alone at 4:3."""
        rows = len(prompts) * (1 if image is None else len(image.reference))
        return self._within_memory(lambda: self._paint_all(image, prompts, steps, seed), rows,
                                   lambda: self._size_of(image and image.rgb))

    def _paint_all(self, image: Seen | None, prompts: Prompts, steps: int, seed: int) -> np.ndarray:
        size, reference = self._size_of(image and image.rgb), image and image.reference
        if reference is not None and reference.size != size:  # memory ran out since it was encoded
            reference = self._reference(image.rgb)
        return paint_rows(lambda images, rows: self._paint(images, rows, size, steps, seed), reference, prompts,
                          self.capabilities.max_batch)

    def _paint(self, image: Reference | CachedReference | None, prompts: Prompts, size: tuple[int, int], steps: int,
               seed: int) -> torch.Tensor:
        """RGB [N, 3, h, w] in 0..1: the stock schedule from the seed's noise; each row about the image of its row.

        One step of a model that was tuned without noise begins with the image's own latents.
        """
        n, scheduler = len(prompts), self.painter.pipeline.scheduler
        tokens, ids = self.painter.noise(size, seed)
        if image is not None and steps == 1 and self.profile.noise == "image":
            tokens = image.latents.to(tokens.dtype)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=tokens.device,
                                mu=compute_empirical_mu(image_seq_len=tokens.shape[1], num_steps=steps))
        scheduler.set_begin_index(0)
        # Between the steps in float32: bfloat16 would round away what the decoders tell apart.
        tokens, ids = tokens.float().expand(n, -1, -1), ids.expand(n, -1, -1)
        nothing = self._nothing(n) if steps > 1 and self._guidance > 1 else None
        for timestep in scheduler.timesteps:
            sigma = (timestep / 1000).expand(n)
            velocity = self.painter.velocity(tokens, ids, sigma, prompts, image)
            if nothing is not None:
                unguided = self.painter.velocity(tokens, ids, sigma, nothing, image)
                velocity = unguided + self._guidance * (velocity - unguided)
            tokens = scheduler.step(velocity.float(), timestep, tokens, return_dict=False)[0]
        return (self.painter.decode(tokens, size) / 2 + 0.5).clamp(0, 1)

    def _nothing(self, n: int) -> Prompts:
        """The empty prompt, n times: what guidance leads away from."""
        return self._embed(("",)).select(torch.zeros(n, dtype=torch.long))

    def _within_memory(self, attempt: Callable, rows: int, size: Callable[[], tuple[int, int]]):
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
        return painted_size(height, width, self.capabilities.size_multiple, self.capabilities.max_area, grow=False)


class KleinKVGenerator(KleinGenerator):
    """The same over Flux2KleinKVPipeline, for weights that were trained to it."""

    pipeline_class, painter_class = Flux2KleinKVPipeline, KleinKVPainter
