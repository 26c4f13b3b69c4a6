"""FLUX.2 klein as a generator: one loop of our own over the stock pipeline's modules.

What the stock call does once a prompt is done once a frame here: all prompts about an image go through the
transformer in one batch, the image is encoded once, and prompts are embedded once. The result is float RGB on sizes
that are exact multiples; the stock call crops what is not, and rounds to 8 bits.

Weights of the KV kind let the image's tokens see each other alone: their keys and values are made once a frame, and
every prompt and step reads them. With ordinary weights the image goes through the transformer with every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import Flux2KleinKVPipeline, Flux2KleinPipeline
from diffusers.models.transformers.transformer_flux2 import Flux2KVCache, Flux2KVLayerCache
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import AUTO, Speed
from vbanana_ros.generators.stock import Reference, StockGenerator, check_length

MAX_LENGTH = 512  # tokens of a prompt, the stock pipeline's
GUIDANCE = 4.0  # of a model that is not distilled, the stock pipeline's


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
class PlacedReference(Reference):
    """Encoded images, packed latents [B, L, C], and ids: the places of their tokens [B, L, 4]."""

    ids: torch.Tensor

    def select(self, index: torch.Tensor) -> PlacedReference:
        """These images, one a prompt."""
        return replace(self, latents=self.latents[index], ids=self.ids[index])


@dataclass(frozen=True)
class CachedReference(Reference):
    """Encoded images, packed latents [N, L, C], as what every layer of the transformer attends to of them.

    layers: keys and values [B, L, heads, D] of each, double blocks first. owners: [N], which image each row is about;
    rows share its tensors.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    owners: torch.Tensor

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

    def check(self, *texts: str) -> None:
        """Raise InputError for a prompt that is longer than the encoder reads."""
        check_length(self.pipeline.tokenizer, texts, self.max_length, self._chat)

    def _chat(self, text: str) -> str:
        return self.pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=False)

    def embed(self, texts: Sequence[str]) -> Prompts:
        """Prompts -> embeddings; raises InputError for one that is too long."""
        self.check(*texts)
        return Prompts(*self.pipeline.encode_prompt(list(texts), device=self.device,
                                                    max_sequence_length=self.max_length))

    def encode(self, rgb: torch.Tensor, single: bool = False) -> PlacedReference:
        """[B, 3, h, w] in -1..1 -> what the transformer sees of the images."""
        latents = self.latents(rgb)
        ids = self.pipeline._prepare_image_ids([latents[:1]]).to(latents.device).expand(len(latents), -1, -1)
        return PlacedReference(self.pipeline._pack_latents(latents), tuple(rgb.shape[-2:]), single, ids)

    def latents(self, rgb: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] in -1..1 -> normalised latents [B, 4 C, h', w'], the most likely ones."""
        return self.pipeline._encode_vae_image(rgb.to(self.pipeline.vae.dtype), generator=None)

    def velocity(self, tokens: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, prompts: Prompts,
                 image: PlacedReference | None) -> torch.Tensor:
        """What the transformer says of noisy tokens [N, L, C] at noise levels sigma [N]: noise minus clean."""
        length = tokens.shape[1]
        if image is not None:
            tokens, ids = torch.cat([tokens, image.latents], 1), torch.cat([ids, image.ids], 1)
        return self._transform(tokens, ids, sigma, prompts)[0][:, :length]

    def _transform(self, tokens: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, prompts: Prompts,
                   **options) -> tuple:
        transformer = self.pipeline.transformer
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
        return CachedReference(image.latents, image.size, single, layers, torch.arange(n, device=rgb.device))

    def velocity(self, tokens: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, prompts: Prompts,
                 image: CachedReference | None) -> torch.Tensor:
        """What the transformer says of noisy tokens [N, L, C] at noise levels sigma [N]: noise minus clean."""
        if image is None:
            return super().velocity(tokens, ids, sigma, prompts, None)
        cache = image.cache(len(self.pipeline.transformer.transformer_blocks))
        return self._transform(tokens, ids, sigma, prompts, kv_cache=cache, kv_cache_mode="cached")[0]


class KleinGenerator(StockGenerator):
    """The `Generator` interface over Flux2KleinPipeline."""

    pipeline_class, painter_class = Flux2KleinPipeline, KleinPainter
    longest, grow = 40960, False  # as many tokens as Qwen3 has places for

    def __init__(self, pipeline: Flux2KleinPipeline, profile: Profile, weights: str, speed: Speed = AUTO,
                 device: str | None = None) -> None:
        super().__init__(pipeline, profile, weights, speed, device)
        self.painter = self.painter_class(pipeline, self.length, device)
        distilled = getattr(pipeline.config, "is_distilled", True)
        self._guidance = 1.0 if distilled else profile.guidance or GUIDANCE

    def _embed(self, texts: Sequence[str]) -> Prompts:
        return self.painter.embed(texts)

    def _reference(self, rgb: np.ndarray) -> Reference:
        return self.painter.encode(self._pixels(rgb), rgb.ndim == 3)

    def _paint(self, image: Reference | None, prompts: Prompts, size: tuple[int, int], steps: int,
               seed: int) -> torch.Tensor:
        """The stock schedule from the noise of the seed, each row about its image.

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
        return self.painter.decode(tokens, size)

    def _nothing(self, n: int) -> Prompts:
        """The empty prompt, n times: what guidance leads away from."""
        return self._embed_once(("",)).select(torch.zeros(n, dtype=torch.long))


class KleinKVGenerator(KleinGenerator):
    """The same over Flux2KleinKVPipeline, for weights that were trained to it."""

    pipeline_class, painter_class = Flux2KleinKVPipeline, KleinKVPainter
