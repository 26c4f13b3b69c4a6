"""`vbanana tune`: render, train, export, in one call that can be killed at any time and called again."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from accelerate import PartialState

from vbanana_ros.errors import InputError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.nano_text import NanoTextEncoder
from vbanana_ros.generators.nano_unet import NanoUNet
from vbanana_ros.tuning.export import export
from vbanana_ros.tuning.mixture import Mixture, read_mixture
from vbanana_ros.tuning.scenes import open_scenes, render_scenes
from vbanana_ros.tuning.tuner import NanoPainter, Recipe, tune
from vbanana_ros.tuning.vocabulary import VOCABULARY

# Seeds from here on are for evaluation only.
HELD_OUT = 1_000_000


def tune_nano(out: Path, data: Path, scenes: int, steps: int, size: tuple[int, int], images: int, rate: float,
              start: str | None = None, seed: int = 0, mixture: Path | None = None) -> None:
    """Train `nano` on `scenes` scenes kept in `data`, or on a mixture file; checkpoint, losses and `model` go to `out`.

    size: (height, width), pixels, multiples of 32. images: in a batch of each process. start: the model to start from,
    by name or directory. Raises InputError where scenes would reach into the held-out seeds, or the checkpoint in
    `out` is broken; ModelError for start; SimError where scenes are to be drawn and there is no OpenGL.
    """
    if scenes > HELD_OUT:
        raise InputError(f"{scenes} scenes reach into the held-out seeds; ask for at most {HELD_OUT}")
    torch.manual_seed(seed)
    painter = _painter(start)
    processes = PartialState(cpu=not torch.cuda.is_available())
    with processes.local_main_process_first():
        if mixture is None:
            render_scenes(data, range(scenes), workers=max(1, (os.cpu_count() or 2) - 1))
    fed = Mixture([(open_scenes(data), 1.0)]) if mixture is None else read_mixture(mixture)
    recipe = Recipe(size=size, images=images, pictures=max(1, images // 8), rate=rate)
    tune(painter, fed, out, steps, recipe, seed)
    if not processes.is_main_process:
        return
    export(painter, out / "model", area=size[0] * size[1],
           about=f"Trained on simulated scenes for one step, at last {steps} batches of "
                 f"{images * processes.num_processes} images at {size[1]}x{size[0]}. For scenes like those; "
                 "real scenes want a real generator.")


def _painter(start: str | None) -> NanoPainter:
    """New weights, or those of a model."""
    if start is None:
        return NanoPainter(NanoTextEncoder(VOCABULARY), NanoUNet())
    pipeline = load_generator(start, "cpu").pipeline
    return NanoPainter(pipeline.text_encoder, pipeline.unet).requires_grad_(True)
