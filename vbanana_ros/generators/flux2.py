"""FLUX.2 klein as a generator: one loop of our own over the stock pipeline's modules.

What the stock call does once a prompt is done once a frame here: all prompts about an image go through the
transformer in one batch, the image is encoded once, and prompts are embedded once. The result is float RGB on sizes
that are exact multiples; the stock call crops what is not, and rounds to 8 bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from vbanana_ros.errors import InputError
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.grid import check_image, paint_rows, painted_size, pixels
from vbanana_ros.generators.profile import Profile

CACHED = 64


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


class KleinPainter:
    """The differentiable steps between RGB in -1..1 and the transformer's tokens, as the stock pipeline takes them."""

    def __init__(self, pipeline: Flux2KleinPipeline, max_length: int = 512) -> None:
        self.pipeline, self.max_length = pipeline, max_length

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
        return Prompts(*self.pipeline.encode_prompt(list(texts), max_sequence_length=self.max_length))

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
        transformer, length = self.pipeline.transformer, tokens.shape[1]
        if image is not None:
            tokens, ids = torch.cat([tokens, image.latents], 1), torch.cat([ids, image.ids], 1)
        return transformer(hidden_states=tokens.to(transformer.dtype), timestep=sigma.to(transformer.dtype),
                           guidance=None, encoder_hidden_states=prompts.embeds.to(transformer.dtype),
                           txt_ids=prompts.ids, img_ids=ids, return_dict=False)[0][:, :length]

    def noise(self, size: tuple[int, int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The seed's noise for an image size, as tokens [1, L, C] and their places [1, L, 4]: the same every frame."""
        rows, cols = (side // self.size_multiple for side in size)
        shape = (1, self.pipeline.transformer.config.in_channels, rows, cols)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        noise = noise.to(self.pipeline.device, self.pipeline.transformer.dtype)
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


class KleinGenerator:
    """The `Generator` interface over Flux2KleinPipeline."""

    def __init__(self, pipeline: Flux2KleinPipeline, profile: Profile, weights: str) -> None:
        self.painter, self.profile = KleinPainter(pipeline), profile
        self.name, self.weights = profile.name, weights
        self.capabilities = Capabilities(
            size_multiple=self.painter.size_multiple, max_area=profile.area, max_batch=8, steps=profile.steps,
            picture_steps=profile.picture_steps, shared_image=True, text_sees_image=False, license=profile.license,
            tasks=profile.tasks, max_images=4)
        self._embed = functools.lru_cache(CACHED)(self.painter.embed)

    @classmethod
    def load(cls, folder: Path, profile: Profile, weights: str, device: str) -> KleinGenerator:
        """From a model directory; fp32 on the CPU, bf16 on a GPU."""
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        pipeline = Flux2KleinPipeline.from_pretrained(folder, local_files_only=True, dtype=dtype)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(device)
        for module in (pipeline.transformer, pipeline.vae, pipeline.text_encoder):
            module.eval().requires_grad_(False)
        return cls(pipeline, profile, weights)

    @torch.inference_mode()
    def encode_prompts(self, texts: Sequence[str]) -> Prompts:
        """Embed prompts, in one batch; the same list of prompts is embedded once."""
        return self._embed(tuple(texts))

    @torch.inference_mode()
    def encode_image(self, rgb: np.ndarray) -> Reference:
        """The image, or several of one size, through the VAE, once a frame."""
        check_image(rgb)
        size = self.size(*rgb.shape[-3:-1])
        images = pixels(rgb, *size, self.painter.pipeline.device, torch.float32)
        return self.painter.encode(images, single=rgb.ndim == 3)

    @torch.inference_mode()
    def generate(self, image: Reference | None, prompts: Prompts, steps: int = 1, seed: int = 0) -> np.ndarray:
        """float32 RGB [N, h, w, 3], or [B, N, h, w, 3], in 0..1; from text alone at 4:3."""
        size = image.size if image is not None else painted_size(3, 4, self.painter.size_multiple, self.profile.area)
        return paint_rows(lambda images, rows: self._paint(images, rows, size, steps, seed), image, prompts,
                          self.capabilities.max_batch)

    def _paint(self, image: Reference | None, prompts: Prompts, size: tuple[int, int], steps: int,
               seed: int) -> torch.Tensor:
        """RGB [N, 3, h, w] in 0..1: the stock schedule from the seed's noise; each row about the image of its row."""
        n, scheduler = len(prompts), self.painter.pipeline.scheduler
        tokens, ids = self.painter.noise(size, seed)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=tokens.device,
                                mu=compute_empirical_mu(image_seq_len=tokens.shape[1], num_steps=steps))
        scheduler.set_begin_index(0)
        tokens, ids = tokens.expand(n, -1, -1), ids.expand(n, -1, -1)
        for timestep in scheduler.timesteps:
            sigma = (timestep / 1000).expand(n)
            velocity = self.painter.velocity(tokens, ids, sigma, prompts, image)
            tokens = scheduler.step(velocity, timestep, tokens, return_dict=False)[0]
        return (self.painter.decode(tokens, size) / 2 + 0.5).clamp(0, 1)

    def warm_up(self, sizes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
        """Run once at each (height, width) of the input and batch of prompts."""
        for height, width in sizes:
            image = self.encode_image(np.zeros((height, width, 3), np.uint8))
            for n in batches:
                self.generate(image, self.encode_prompts(["warm up"] * n), self.profile.steps)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the model paints an input of this size at: its aspect, at most the profile's area."""
        return painted_size(height, width, self.capabilities.size_multiple, self.profile.area, grow=False)
