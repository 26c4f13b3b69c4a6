"""A tuned painter becomes a model directory that `--model` takes anywhere."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

from diffusers import FlowMatchEulerDiscreteScheduler

from vbanana_ros.generators.nano import NanoPipeline
from vbanana_ros.generators.profile import Profile, write_profile
from vbanana_ros.tuning.tuner import NanoPainter


def export(painter: NanoPainter, folder: Path, area: int, about: str) -> None:
    """Write the painter as fp16 safetensors with its profile; the folder appears whole or not at all."""
    pipeline = NanoPipeline(copy.deepcopy(painter.text_encoder).half(), copy.deepcopy(painter.unet).half(),
                            FlowMatchEulerDiscreteScheduler())
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline.save_pretrained(part, safe_serialization=True)
    write_profile(part, Profile(
        name=folder.name, family="nano", license="Apache-2.0", area=area, steps=1, picture_steps=12, about=about,
        tasks=("depth", "normals", "semantic", "instance", "referring", "picture")))
    (part / "README.md").write_text(f"# {folder.name}\n\n{about}\n")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)
