"""What a batch is made of: records, prompts about them, and pictures, drawn from a mixture.

Batch number i of a run is a function of (seed, i) and the sets, so a run that was killed goes on exactly where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vbanana_ros.errors import InputError
from vbanana_ros.generators.grid import resized
from vbanana_ros.results import resize_nearest
from vbanana_ros.tasks import TASKS, Task
from vbanana_ros.tuning.augment import augment, crop
from vbanana_ros.tuning.examples import Example, make_example
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.records import Record

# So many records for each that has what a task asks are no accident.
MOST_BARREN = 100


@dataclass(frozen=True)
class Drawn:
    """A batch as it was drawn.

    records: one an image; images: [B, 3, h, w] in -1..1, as a camera saw them, at the recipe's size.
    examples: prompts about the images, of the image owners[i] each. broken: what was wrong with records left out.
    pictures: painted from text alone, then edits; originals: [E, 3, h, w], the images that are edited.
    """

    records: list[Record]
    images: torch.Tensor
    owners: list[int]
    examples: list[Example]
    pictures: list[Example]
    originals: torch.Tensor
    broken: list[str]


def any_prompt(prompt: str) -> None:
    """A check that every prompt passes."""


def reads(check: Callable[[str], None], example: Example, broken: list[str]) -> bool:
    """Whether a check passes an example's prompt; what is wrong with one that fails is added to broken."""
    try:
        check(example.prompt)
    except InputError as error:
        broken.append(str(error))
        return False
    return True


@dataclass(frozen=True)
class Batches(Dataset):
    """Batch number i of a run. collate: of the student, makes tensors of what was drawn; tasks: as it speaks them.

    check: raises InputError for a prompt that it does not read. Such examples, and records that cannot be read, are
    left out; only a batch that met some has the key `broken`, what is wrong with each.
    """

    mixture: Mixture
    recipe: Recipe
    collate: Callable[[Drawn, np.random.Generator], dict[str, Any]]
    seed: int
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)
    check: Callable[[str], None] = any_prompt

    def __getitem__(self, step: int) -> dict[str, Any]:
        drawn, rng = self.draw(step)
        batch = self.collate(drawn, rng)
        return batch | {"broken": drawn.broken} if drawn.broken else batch

    def draw(self, step: int) -> tuple[Drawn, np.random.Generator]:
        """What batch number `step` is made of, and the generator that goes on from there."""
        recipe = self.recipe
        rng = np.random.default_rng((self.seed, step % recipe.overfit if recipe.overfit else step))
        records, images, owners, examples, broken = [], [], [], [], []
        for _ in range(MOST_BARREN * recipe.images):
            record = self._cropped(self.mixture.draw(rng, broken), rng)
            asked = recipe.asked(len(images))
            tasks = self.mixture.choose(self.mixture.tasks, rng, asked)
            found = [make_example(task, record, rng, recipe.most_classes, self.tasks) for task in tasks]
            found = [e for e in found if e and e.valid.any() and reads(self.check, e, broken)]
            if found or not asked:
                owners += [len(images)] * len(found)
                examples += found
                records.append(record)
                images.append(fit_image(self._seen(record.rgb, rng), recipe.size))
            if len(images) == recipe.images:
                break
        else:
            raise InputError(f"the records have next to nothing of {', '.join(self.mixture.tasks)} that can be used"
                             f"{f' ({broken[-1]})' if broken else ''}; give sets that know what the tasks ask")
        pictures, originals = self._pictures(rng, broken)
        return Drawn(records, torch.stack(images), owners, examples, pictures, originals, broken), rng

    def _cropped(self, record: Record, rng: np.random.Generator) -> Record:
        return record if self.recipe.overfit else crop(record, rng, self.mixture.augment)

    def _seen(self, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rgb.astype(np.float32) / 255 if self.recipe.overfit else augment(rgb, rng, self.mixture.augment)

    def _pictures(self, rng: np.random.Generator, broken: list[str]) -> tuple[list[Example], torch.Tensor]:
        """Text-to-image examples, then edits, and the images that they edit."""
        pictures, edits, originals = [], [], [torch.empty(0, 3, *self.recipe.size)]
        for _ in range(self.recipe.pictures):
            kind, = self.mixture.choose(self.mixture.pictures, rng, 1)
            example = kind == "picture" and make_example("picture", self.mixture.draw_painted(rng, broken), rng)
            if example and reads(self.check, example, broken):
                pictures.append(example)
            else:
                record = self.mixture.draw(rng, broken)
                edits.append(make_example("edit", record, rng))
                originals.append(fit_image(record.rgb.astype(np.float32) / 255, self.recipe.size)[None])
        return pictures + edits, torch.cat(originals)


def fit_image(rgb: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """float32 [H, W, 3] in 0..1 -> [3, h, w] in -1..1."""
    return 2 * torch.from_numpy(resized(rgb, *size).clip(0, 1)).permute(2, 0, 1) - 1


def fit_map(array: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """[H, W] or [H, W, C] -> float32 [C, h, w]. Ground truth is never blended: nearest neighbour, where the pixels'
    middles are, as answers are brought back to the frame."""
    tensor = torch.from_numpy(np.ascontiguousarray(resize_nearest(array, *size), np.float32))
    return tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor[None]


def depth_of(example: Example) -> np.ndarray:
    """Metres [H, W] of an example of depth; NaN everywhere for any other."""
    if example.request is not None and example.request.task == "depth":
        return example.truth.depth
    return np.full(example.valid.shape, np.nan, np.float32)


def timesteps(count: int, rng: np.random.Generator) -> torch.Tensor:
    """Noise levels in 0..1 to train on, float32 [count]: logit-normal, a little toward the noisy end (SD3)."""
    return torch.from_numpy(1 / (1 + np.exp(-rng.normal(0.3, 1.0, count)))).float()
