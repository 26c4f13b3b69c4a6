"""FLUX.2 klein as a student: all of its transformer, or a LoRA over it; text encoder and VAE stay as they are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline
from peft import LoraConfig
from torch import nn

from vbanana_ros.errors import InputError
from vbanana_ros.generators.flux2 import KleinGenerator, KleinPainter, Prompts, Reference
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.write import write_denoiser, write_lora
from vbanana_ros.tasks import TASKS, dialect
from vbanana_ros.tuning.batches import Drawn, depth_of, fit_image, fit_map, timesteps
from vbanana_ros.tuning.decoded import answer_terms, check_code
from vbanana_ros.tuning.recipe import Recipe

# Attention and MLP of both kinds of blocks, image and text side.
LORA_TARGETS = (r".*\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out|linear_in|linear_out"
                r"|to_qkv_mlp_proj)|single_transformer_blocks\.\d+\.attn\.to_out")


class KleinStudent(nn.Module):
    """profile: of the directory `folder` that the pipeline was read from, the base of what is exported."""

    def __init__(self, pipeline: Flux2KleinPipeline, profile: Profile, folder: Path, recipe: Recipe) -> None:
        super().__init__()
        if profile.base:
            raise InputError(f"{str(folder)!r} is itself a change to {profile.base!r}; start from that base")
        self.transformer, self.vae, self.text_encoder = pipeline.transformer, pipeline.vae, pipeline.text_encoder
        self.painter = KleinPainter(pipeline, recipe.max_length)
        self.profile, self.folder, self.recipe = profile, folder, recipe
        self.tasks = dialect(profile)
        check_code(recipe, profile.depth_code)
        # Prompts that come again: those that are learnt by heart.
        self._embed = functools.lru_cache(recipe.overfit)(self.painter.embed)
        self.name, self.size_multiple = profile.name, self.painter.size_multiple
        self.requires_grad_(False)
        if recipe.lora:
            # In float32, whatever the base is in.
            self.transformer.add_adapter(LoraConfig(r=recipe.lora, lora_alpha=recipe.lora, target_modules=LORA_TARGETS))
        else:
            self.transformer.requires_grad_(True)
        if recipe.checkpointing:
            self.transformer.enable_gradient_checkpointing()

    def check(self, prompt: str) -> None:
        """Raise InputError for one of more than the recipe's tokens."""
        self.painter.check(prompt)

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Answers about images, then pictures from text, then edits: each in one pass through the transformer."""
        n, n_text = len(batch["owner"]), int(batch["texts"])
        with torch.no_grad():
            prompts = self._embed(tuple(batch["prompts"]))
            image = self.painter.encode(batch["images"]).select(batch["owner"])
        rows = torch.arange(len(prompts), device=batch["images"].device)
        answers = prompts.select(rows[:n])
        flow = self.recipe.target == "flow"
        terms = self._flow("flow", answers, image, batch, slice(0, n)) if flow else self._x0(answers, image, batch)
        if n_text:
            terms |= self._flow("picture", prompts.select(rows[n:n + n_text]), None, batch, slice(n, n + n_text))
        if len(batch["originals"]):
            with torch.no_grad():
                original = self.painter.encode(batch["originals"])
            terms |= self._flow("edit", prompts.select(rows[n + n_text:]), original, batch, slice(n + n_text, None))
        return terms

    def _x0(self, prompts: Prompts, image: Reference, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """One step from the image itself, compared as RGB.

        Without noise an answer has but one value, and every token begins with what it is to be read off.
        """
        _, ids = self.painter.noise(self.recipe.size, 0)
        n, latents = len(prompts), image.latents
        clean = latents - self.painter.velocity(latents, ids.expand(n, -1, -1), latents.new_ones(n), prompts, image)
        rgb = self.painter.decode(clean, self.recipe.size)
        with torch.autocast(rgb.device.type, enabled=False):
            return answer_terms(rgb.float(), batch, batch["valid"], self.recipe)

    def _flow(self, name: str, prompts: Prompts, image: Reference | None, batch: dict[str, Any],
              rows: slice) -> dict[str, torch.Tensor]:
        """Flow matching in latents: the velocity from what is clean to the noise."""
        with torch.no_grad():
            clean = self.painter.pipeline._pack_latents(self.painter.latents(batch["targets"][rows]))
        _, ids = self.painter.noise(self.recipe.size, 0)
        noise = batch["noise"][rows].reshape(clean.shape).to(clean.dtype)
        time = batch["time"][rows]
        velocity = self.painter.velocity(torch.lerp(clean, noise, time[:, None, None].to(clean.dtype)),
                                         ids.expand(len(clean), -1, -1), time, prompts, image)
        return {name: (velocity.float() - (noise - clean).float()).square().mean()}

    def collate(self, drawn: Drawn, rng: np.random.Generator) -> dict[str, Any]:
        """Tensors at full size; noise is drawn here, so that a resumed run meets the same."""
        size, rows = self.recipe.size, drawn.examples + drawn.pictures
        answers = [2 * fit_map(e.target, size) - 1 for e in drawn.examples]
        painted = [fit_image(e.target, size) for e in drawn.pictures]
        latents = self.transformer.config.in_channels * np.prod(size) // self.size_multiple**2
        return {
            "prompts": [e.prompt for e in rows], "images": drawn.images, "owner": torch.tensor(drawn.owners),
            "targets": torch.stack(answers + painted), "originals": drawn.originals,
            "valid": torch.stack([fit_map(e.valid, size) for e in drawn.examples]),
            "depth": torch.stack([fit_map(depth_of(e), size)[0] for e in drawn.examples]),
            "is_normals": torch.tensor([e.request.task == "normals" for e in drawn.examples]),
            "texts": torch.tensor(sum(not e.image for e in drawn.pictures)),
            "noise": torch.from_numpy(rng.standard_normal((len(rows), int(latents)), np.float32)),
            "time": timesteps(len(rows), rng),
        }

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """AdamW for all that is trained."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return (torch.optim.AdamW(trained, lr=self.recipe.rate, weight_decay=self.recipe.weight_decay,
                                  betas=(0.9, 0.98)),)

    def generator(self) -> KleinGenerator:
        """Over the very weights that are trained."""
        return KleinGenerator(self.painter.pipeline, self._profile(self.name, ""), "")

    def export(self, folder: Path, about: str, card: str) -> None:
        """A LoRA, or a transformer, over the directory that the pipeline came from."""
        profile = self._profile(folder.name, about)
        if self.recipe.lora:
            write_lora(folder, self.painter.pipeline, profile, card)
        else:
            write_denoiser(folder, self.transformer, profile, card)

    def _profile(self, name: str, about: str) -> Profile:
        """The base's dialect, with what was tuned."""
        height, width = self.recipe.size
        one = self.recipe.target == "x0"
        return replace(
            self.profile, name=name, about=about, tasks=tuple(TASKS), area=height * width,
            base=str(self.folder.resolve()), noise="image" if one else "gaussian", steps=1 if one else 4,
            guidance=0.0 if one else 1.0, max_length=self.recipe.max_length, sha256={})
