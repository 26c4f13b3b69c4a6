"""A tuned part becomes a model directory over its base, which `--model` takes anywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, ModelMixin

from vbanana_ros.generators.profile import DENOISERS, Profile, base_of, write_profile


def write_lora(folder: Path, pipeline: DiffusionPipeline, profile: Profile, card: str = "",
               adapter: str = "default") -> None:
    """Write the adapter of a pipeline's denoiser, made by its `add_adapter`, as a LoRA over `profile.base`.

    Rank and alpha go into the file: without them a LoRA is loaded at another strength than it was trained at.
    card: of the model, README.md. Raises ModelError where the base is not there.
    """
    from peft.utils import get_peft_model_state_dict

    name = next(name for name in DENOISERS if hasattr(pipeline, name))
    denoiser: torch.nn.Module = getattr(pipeline, name)
    with appearing(folder, profile, card) as part:
        pipeline.save_lora_weights(part, safe_serialization=True, **{
            f"{name}_lora_layers": get_peft_model_state_dict(denoiser, adapter_name=adapter),
            f"{name}_lora_adapter_metadata": denoiser.peft_config[adapter].to_dict()})


def write_denoiser(folder: Path, denoiser: ModelMixin, profile: Profile, card: str = "") -> None:
    """Write a transformer or UNet, as it is, to replace that of `profile.base`; ModelError where that is not there."""
    name = "unet" if "UNet" in type(denoiser).__name__ else "transformer"
    with appearing(folder, profile, card) as part:
        denoiser.save_pretrained(part / name, safe_serialization=True)


@contextmanager
def appearing(folder: Path, profile: Profile, card: str = "") -> Iterator[Path]:
    """Where to write a model directory's weights; with its profile and card it appears whole or not at all."""
    part, old = (folder.with_name(folder.name + end) for end in (".part", ".old"))
    base_of(folder, profile)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    if card:
        (part / "README.md").write_text(card, encoding="utf-8")
    write_profile(part, profile)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)
