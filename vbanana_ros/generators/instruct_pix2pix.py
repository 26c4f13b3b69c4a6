"""InstructPix2Pix as a generator: the stock pipeline between prompts and images that are encoded once.

The image goes in as channels beside the noise, so what is painted is on its very pixels; the text is CLIP's 77 tokens.
The published schedule starts one step at the clean end (`timestep_spacing`): a profile of few steps wants `trailing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

from vbanana_ros.generators.stock import Reference, StockGenerator, check_length

# How much the text and the image count: the stock call's own, from https://arxiv.org/abs/2211.09800
TEXT_GUIDANCE, IMAGE_GUIDANCE = 7.5, 1.5


@dataclass(frozen=True)
class Prompts:
    """Embedded prompts [N, 77, D], and no prompt [1, 77, D]."""

    embeds: torch.Tensor
    empty: torch.Tensor

    def __len__(self) -> int:
        return len(self.embeds)

    def select(self, index: torch.Tensor) -> Prompts:
        """These prompts, in this order."""
        return Prompts(self.embeds[index], self.empty)


class Pix2PixGenerator(StockGenerator):
    """The `Generator` interface over StableDiffusionInstructPix2PixPipeline."""

    pipeline_class, dtype = StableDiffusionInstructPix2PixPipeline, "float16"
    latents_a_side, grow, needs_image = 1, False, True

    def _embed(self, texts: Sequence[str]) -> Prompts:
        check_length(self.pipeline.tokenizer, texts, self.pipeline.tokenizer.model_max_length)
        embeds = self.pipeline._encode_prompt([*texts, ""], self.device, 1, False)
        return Prompts(embeds[:-1], embeds[-1:])

    def _encode(self, rgb: torch.Tensor) -> torch.Tensor:
        """The most likely latents, [B, 4, h / 8, w / 8]; not scaled, as the UNet learnt them."""
        return self.pipeline.vae.encode(rgb).latent_dist.mode()

    def _paint(self, images: Reference, prompts: Prompts, size: tuple[int, int], steps: int,
               seed: int) -> torch.Tensor:
        # The schedule may add noise at every step: each row draws its own, the same whatever is beside it.
        noise = [torch.Generator().manual_seed(seed) for _ in range(len(prompts))]
        vae = self.pipeline.vae
        latents = self.pipeline(
            image=images.latents, prompt_embeds=prompts.embeds,
            negative_prompt_embeds=prompts.empty.expand(len(prompts), -1, -1), num_inference_steps=steps,
            guidance_scale=self.profile.guidance or TEXT_GUIDANCE, image_guidance_scale=IMAGE_GUIDANCE, generator=noise,
            output_type="latent").images
        return vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
