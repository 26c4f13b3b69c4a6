"""What the tuner asks of a generator that is to learn: one class a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vbanana_ros.generators.base import Generator
from vbanana_ros.tasks import Task
from vbanana_ros.tuning.batches import Drawn
from vbanana_ros.tuning.recipe import Recipe


class Student(Protocol):
    """A torch module whose parameters that require gradients are trained.

    name: of the model that it began as, for people. size_multiple: sides of images are multiples of this, pixels.
    tasks: every task by name, as its profile says that it speaks it.
    """

    name: str
    recipe: Recipe
    size_multiple: int
    tasks: Mapping[str, Task]

    def check(self, prompt: str) -> None:
        """Raise InputError for a prompt that it does not read, as a too long one; its example is left out."""

    def collate(self, drawn: Drawn, rng: np.random.Generator) -> dict[str, Any]:
        """What forward takes, of what was drawn; done beside the training, and all its chance is rng's."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The terms of the loss, weights included, by name."""

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """For all that is trained; their rate is set at every step."""

    def generator(self) -> Generator:
        """The generator that it is now, in evaluation mode, on the device that it is on."""

    def export(self, folder: Path, about: str, card: str) -> None:
        """Write it as a model directory with its card, README.md; it appears whole or not at all."""
