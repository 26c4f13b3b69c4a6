"""FLUX.1 Kontext as a generator: the stock pipeline between prompts and images that are encoded once.

`FluxKontextPipeline` snaps its image to a list of preferred sizes unless `_auto_resize=False`, and rounds the size that
is asked for to `max_area`; an image that comes as latents, and an area of that very size, are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import FluxKontextPipeline
from diffusers.utils import logging as diffusers_logging

from vbanana_ros.generators.assemble import silence
from vbanana_ros.generators.stock import Reference, StockGenerator, check_length

# Distilled guidance, as in the stock pipeline's example of an edit.
GUIDANCE = 2.5


@dataclass(frozen=True)
class Prompts:
    """Embedded prompts: T5's embeds [N, L, D] of all of the text, CLIP's pooled [N, D] of its first 77 tokens."""

    embeds: torch.Tensor
    pooled: torch.Tensor

    def __len__(self) -> int:
        return len(self.embeds)

    def select(self, index: torch.Tensor) -> Prompts:
        """These prompts, in this order."""
        return Prompts(self.embeds[index], self.pooled[index])


class KontextGenerator(StockGenerator):
    """The `Generator` interface over FluxKontextPipeline."""

    pipeline_class, dtype = FluxKontextPipeline, "bfloat16"  # T5 overflows float16
    longest, grow = 512, True

    def _embed(self, texts: Sequence[str]) -> Prompts:
        check_length(self.pipeline.tokenizer_2, texts, self.length)
        with silence(diffusers_logging):  # of what CLIP does not see: T5 does
            embeds, pooled, _ = self.pipeline.encode_prompt(list(texts), device=self.device,
                                                            max_sequence_length=self.length)
        return Prompts(embeds, pooled)

    def _encode(self, rgb: torch.Tensor) -> torch.Tensor:
        """The most likely latents, normalised, [B, C, h / 8, w / 8]."""
        return self.pipeline._encode_vae_image(rgb, generator=None)

    def _paint(self, images: Reference | None, prompts: Prompts, size: tuple[int, int], steps: int,
               seed: int) -> torch.Tensor:
        tokens = self.pipeline(
            image=None if images is None else images.latents, prompt_embeds=prompts.embeds,
            pooled_prompt_embeds=prompts.pooled, height=size[0], width=size[1], max_area=size[0] * size[1],
            num_inference_steps=steps, guidance_scale=self.profile.guidance or GUIDANCE,
            latents=self.noise(size, seed).expand(len(prompts), -1, -1), output_type="latent").images
        return self.decode(tokens, size)

    def noise(self, size: tuple[int, int], seed: int) -> torch.Tensor:
        """The seed's noise for an image size, as tokens [1, L, 4 C]: the same every frame."""
        height, width = (side // self.pipeline.vae_scale_factor for side in size)
        channels = self.pipeline.latent_channels
        noise = torch.randn((1, channels, height, width), generator=torch.Generator().manual_seed(seed))
        return self.pipeline._pack_latents(noise, 1, channels, height, width).to(self.device)

    def decode(self, tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Clean tokens [N, L, 4 C] -> RGB [N, 3, h, w], nominally in -1..1."""
        vae = self.pipeline.vae
        latents = self.pipeline._unpack_latents(tokens, *size, self.pipeline.vae_scale_factor).to(vae.dtype)
        return vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor, return_dict=False)[0]
