"""Qwen-Image-Edit (2509, 2511) as a generator: a loop of our own over the stock pipeline's modules.

What is known of the family, and what is done about it here:
- The stock call takes one prompt at a time: rows are painted one after the other.
- It encodes the image at about 1 MP, whatever size is painted. Here it is encoded on the painted grid, so that the two
  are pixel on pixel; a profile whose area is 1 MP has the stock size.
- Results can be some pixels off, as if zoomed, at any size; https://github.com/QwenLM/Qwen-Image/issues/229. It is in
  the weights: tune them, or measure the shift, before results are trusted to the pixel.
- Embeddings depend on the image: they are made once a prompt and frame; the vision tower runs once a frame.
- Up to 0.42 diffusers does not tell the encoder which tokens are the image's, and transformers 5 then places them in a
  line as if they were text (https://github.com/huggingface/diffusers/issues/14194). Here they have rows and columns.
- The stock processor needs torchvision, for videos; its image processor does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import (
    CONDITION_IMAGE_SIZE,
    calculate_dimensions,
    calculate_shift,
)
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from vbanana_ros.errors import InputError
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import AUTO, Speed
from vbanana_ros.generators.stock import Reference, StockGenerator, check_length

# True classifier-free guidance against an empty wish: the stock call's own scale, and the blank of its examples.
GUIDANCE, EMPTY = 4.0, " "
# The template's words for the first image, with one token for each patch that the text encoder sees.
PICTURE = "Picture 1: <|vision_start|>{}<|vision_end|>"
PATCH = "<|image_pad|>"
# The vision tower takes no image beyond 200:1, after rounding to its patches.
SLENDER = 100


class QwenImageEditPlusPipeline(diffusers.QwenImageEditPlusPipeline):
    """The stock pipeline, under its own name as model directories know it, without its processor."""

    def __init__(self, scheduler: Any, vae: Any, text_encoder: Any, tokenizer: Any, transformer: Any) -> None:
        super().__init__(scheduler, vae, text_encoder, tokenizer, None, transformer)

    def register_modules(self, **modules: Any) -> None:
        """Those of the signature, which alone are read from a directory."""
        modules.pop("processor", None)
        super().register_modules(**modules)


@dataclass(frozen=True)
class Texts:
    """Prompts as they are: they are embedded when they are seen with an image."""

    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, index: torch.Tensor) -> Texts:
        """These prompts, in this order."""
        return Texts(tuple(self.texts[i] for i in index))


@dataclass(frozen=True)
class SightedReference(Reference):
    """Encoded images, latents [B, C, 1, h / 8, w / 8]; and as the text encoder sees them.

    sights: embeddings of their patches [B, P, D], patches: of each (1, rows, columns) [1, 3], before 2x2 are merged.
    empty: of each, the embedded empty wish [B, L, D].
    """

    sights: torch.Tensor
    patches: torch.Tensor
    empty: torch.Tensor | None = None

    def select(self, index: torch.Tensor) -> SightedReference:
        """These images, one a prompt."""
        return replace(self, latents=self.latents[index], sights=self.sights[index],
                       empty=None if self.empty is None else self.empty[index])


class QwenGenerator(StockGenerator):
    """The `Generator` interface over QwenImageEditPlusPipeline."""

    pipeline_class, dtype = QwenImageEditPlusPipeline, "bfloat16"
    max_batch, max_images = 1, 1
    grow, needs_image, text_sees_image = True, True, True

    def __init__(self, pipeline: QwenImageEditPlusPipeline, profile: Profile, weights: str, speed: Speed = AUTO,
                 device: str | None = None) -> None:
        super().__init__(pipeline, profile, weights, speed, device)
        self.eye = Qwen2VLImageProcessorPil.from_pretrained(pipeline.name_or_path, subfolder="processor",
                                                            local_files_only=True)

    def _reference(self, rgb: np.ndarray) -> SightedReference:
        """The image, or several of one size, through the VAE and the text encoder's vision tower."""
        encoded = super()._reference(rgb)
        ratio = min(max(rgb.shape[-2] / rgb.shape[-3], 1 / SLENDER), SLENDER)
        width, height = calculate_dimensions(CONDITION_IMAGE_SIZE, ratio)
        inputs = self.eye([self.pipeline.image_processor.resize(Image.fromarray(one), height, width)
                           for one in (rgb if rgb.ndim == 4 else rgb[None])], return_tensors="pt")
        patches = inputs["image_grid_thw"].to(self.device)
        sights = self.reader.get_image_features(inputs["pixel_values"].to(self.device), patches).pooler_output
        seen = SightedReference(**vars(encoded), sights=torch.stack(list(sights)), patches=patches[:1])
        return replace(seen, empty=torch.cat([self.read(EMPTY, seen.select(torch.tensor([i])))
                                              for i in range(len(seen))]))

    @property
    def reader(self) -> torch.nn.Module:
        """The text encoder's body. Where it waits in the CPU's memory it comes when it is called, and its body alone
        is no call."""
        encoder = self.pipeline.text_encoder
        if hasattr(encoder, "_hf_hook"):
            encoder._hf_hook.pre_forward(encoder)
        return encoder.model

    def read(self, text: str, image: SightedReference) -> torch.Tensor:
        """What the text encoder makes of a wish about one image: embeddings [1, L, D]."""
        pipeline, encoder = self.pipeline, self.reader
        wish = PICTURE.format(PATCH * image.sights.shape[1]) + text
        tokens = pipeline.tokenizer(pipeline.prompt_template_encode.format(wish), return_tensors="pt")
        tokens = tokens["input_ids"].to(self.device)
        seen = tokens == pipeline.tokenizer.convert_tokens_to_ids(PATCH)
        embeds = encoder.get_input_embeddings()(tokens).masked_scatter(seen[..., None], image.sights)
        places, _ = encoder.get_rope_index(tokens, mm_token_type_ids=seen.int(), image_grid_thw=image.patches)
        hidden = encoder(inputs_embeds=embeds, position_ids=places, use_cache=False).last_hidden_state
        # The system's words are of no wish.
        return hidden[:, pipeline.prompt_template_encode_start_idx:]

    def _embed(self, texts: Sequence[str]) -> Texts:
        tokenizer = self.pipeline.tokenizer
        check_length(tokenizer, texts, self.pipeline.tokenizer_max_length)
        for text in texts:
            if found := [token for token in tokenizer.all_special_tokens if token in text]:
                raise InputError(f"a prompt may not hold the model's own token {found[0]!r}; leave it out")
        return Texts(tuple(texts))

    def _encode(self, rgb: torch.Tensor) -> torch.Tensor:
        """The most likely latents, normalised, [B, C, 1, h / 8, w / 8]: those of a film of one picture."""
        return self.pipeline._encode_vae_image(rgb[:, :, None], generator=None)

    def _paint(self, images: SightedReference, prompts: Texts, size: tuple[int, int], steps: int,
               seed: int) -> torch.Tensor:
        """One row: the stock schedule from the seed's noise, towards what is asked and away from the empty wish."""
        scheduler, config = self.pipeline.scheduler, self.pipeline.scheduler.config
        asked, tokens = self.read(prompts.texts[0], images), self.noise(size, seed)
        scheduler.set_timesteps(
            sigmas=np.linspace(1.0, 1 / steps, steps), device=tokens.device,
            mu=calculate_shift(tokens.shape[1], config.base_image_seq_len, config.max_image_seq_len,
                               config.base_shift, config.max_shift))
        scheduler.set_begin_index(0)
        for timestep in scheduler.timesteps:
            wanted, unwanted = (self.velocity(tokens, timestep / 1000, embeds, images)
                                for embeds in (asked, images.empty))
            guided = unwanted + (self.profile.guidance or GUIDANCE) * (wanted - unwanted)
            guided = guided * (wanted.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
            tokens = scheduler.step(guided, timestep, tokens, return_dict=False)[0]
        return self.decode(tokens, size)

    def velocity(self, tokens: torch.Tensor, sigma: torch.Tensor, embeds: torch.Tensor,
                 image: SightedReference) -> torch.Tensor:
        """What the transformer says of noisy tokens [1, L, 4 C] at a noise level: noise minus clean."""
        *_, rows, cols = image.latents.shape
        return self.pipeline.transformer(
            hidden_states=torch.cat([tokens, self._pack(image.latents).to(tokens.dtype)], 1),
            timestep=sigma.expand(1).to(tokens.dtype), encoder_hidden_states=embeds, encoder_hidden_states_mask=None,
            img_shapes=[[(1, rows // 2, cols // 2)] * 2], return_dict=False)[0][:, :tokens.shape[1]]

    def noise(self, size: tuple[int, int], seed: int) -> torch.Tensor:
        """The seed's noise for an image size, as tokens [1, L, 4 C]: the same every frame."""
        shape = (1, self.pipeline.latent_channels, 1, *(side // self.pipeline.vae_scale_factor for side in size))
        noise = self._pack(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
        return noise.to(self.device, self.pipeline.transformer.dtype)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, 1, h, w] -> tokens [B, L, 4 C]."""
        n, channels, _, rows, cols = latents.shape
        return self.pipeline._pack_latents(latents, n, channels, rows, cols)

    def decode(self, tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Clean tokens [N, L, 4 C] -> RGB [N, 3, h, w], nominally in -1..1."""
        vae = self.pipeline.vae
        latents = self.pipeline._unpack_latents(tokens, *size, self.pipeline.vae_scale_factor).to(vae.dtype)
        mean, scale = (torch.tensor(v).to(latents).view(1, -1, 1, 1, 1)
                       for v in (vae.config.latents_mean, vae.config.latents_std))
        return vae.decode(latents * scale + mean, return_dict=False)[0][:, :, 0]
