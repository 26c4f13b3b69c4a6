"""`vbanana tune`: render, train, export, in one call that can be killed at any time and called again."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from accelerate import PartialState

from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators.grid import painted_size
from vbanana_ros.generators.load import find_model, load_generator
from vbanana_ros.generators.nano_text import NanoTextEncoder
from vbanana_ros.generators.nano_unet import NanoUNet
from vbanana_ros.tuning.mixture import Mixture, read_mixture
from vbanana_ros.tuning.nano import NanoStudent
from vbanana_ros.tuning.probe import read_probe
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.scenes import open_scenes, open_studio, render_scenes
from vbanana_ros.tuning.student import Student
from vbanana_ros.tuning.tuner import tune
from vbanana_ros.tuning.vocabulary import VOCABULARY

# Seeds from here on are never trained on: the quiz's scenes, and from 9,000,000 on the evaluation's.
HELD_OUT = 1_000_000
QUIZ = 16
# Sides of what is trained are multiples of this where they are not said, pixels: it suits every family.
MULTIPLE = 32


def tune_model(out: Path, recipe: Recipe, steps: int, data: Path, scenes: int, start: str | None = None, seed: int = 0,
               mixture: Path | None = None, save_every: int = 200, check_every: int = 1000) -> None:
    """Train a model on `scenes` scenes kept in `data`, or on a mixture file; all that comes of it goes to `out`.

    start: the model to start from, by name or directory; None: `nano` with new weights. See `tune` for what `out`
    gets. Raises InputError where scenes would reach into the held-out seeds, the size does not fit the model, or the
    checkpoint in `out` is broken; ModelError for start; SimError where scenes are to be drawn and there is no OpenGL.
    """
    if scenes > HELD_OUT:
        raise InputError(f"{scenes} scenes reach into the held-out seeds; ask for at most {HELD_OUT}")
    torch.manual_seed(seed)
    student = make_student(start, recipe)
    for height, width in (recipe.size, recipe.picture_size):
        if height % student.size_multiple or width % student.size_multiple:
            raise InputError(f"cannot train at {width}x{height}: {student.name} paints multiples of "
                             f"{student.size_multiple} pixels")
    fed = read_mixture(mixture) if mixture else _scenes(data, scenes)
    tune(student, fed, out, steps, seed, save_every, check_every)


def _scenes(data: Path, scenes: int) -> Mixture:
    """Scenes of the first seeds, studio scenes for pictures, a few held out; drawn where they are missing."""
    workers = max(1, (os.cpu_count() or 2) - 1)
    with PartialState(cpu=not torch.cuda.is_available()).local_main_process_first():
        render_scenes(data, range(scenes), workers=workers)
        render_scenes(data / "studio", range(scenes), views=1, workers=workers, kind="studio")
        render_scenes(data / "held", range(HELD_OUT, HELD_OUT + QUIZ), views=1, workers=workers)
    return Mixture([(open_scenes(data), 1.0)], painted=[(open_studio(data / "studio"), 1.0)],
                   held=open_scenes(data / "held"))


def own_sizes(start: str | None) -> dict[str, tuple[int, int]]:
    """The `size` and `picture_size` of a recipe at which a model paints, 3:4; of a new `nano` the recipe's own.

    Raises ModelError where there is no such model.
    """
    if start is None:
        return {}
    _, profile = find_model(start)
    areas = {"size": profile.area, "picture_size": profile.picture_area}
    return {name: painted_size(3, 4, MULTIPLE, area) for name, area in areas.items() if area}


def make_student(start: str | None, recipe: Recipe) -> Student:
    """New weights of `nano`, or those of a model. Raises ModelError where it cannot be loaded or tuned."""
    folder, profile = find_model(start) if start else (None, None)
    if recipe.lora and (profile is None or profile.family == "nano"):
        raise ModelError("nano is small enough to train whole; leave --lora away")
    if profile is None:
        return NanoStudent(NanoTextEncoder(VOCABULARY), NanoUNet(), recipe)
    if profile.family == "nano":
        pipeline = load_generator(start, "cpu").pipeline
        student = NanoStudent(pipeline.text_encoder, pipeline.unet, recipe)
        read_probe(student.probe, folder)
        return student
    if profile.family == "flux2":
        from vbanana_ros.generators.assemble import open_pipeline
        from vbanana_ros.generators.flux2 import KleinGenerator
        from vbanana_ros.tuning.klein import KleinStudent

        # Low-rank adapters leave the base as it is: half of the memory is enough for it.
        half = recipe.lora and torch.cuda.is_available() and recipe.in_bf16(torch.device("cuda"))
        dtype = torch.bfloat16 if half else torch.float32
        pipeline = open_pipeline(KleinGenerator.pipeline_class, folder, profile, "cpu", dtype)
        return KleinStudent(pipeline, profile, folder, recipe)
    raise ModelError(f"{str(folder)!r} is of family {profile.family!r}, which cannot be tuned yet; nano and flux2 can")
