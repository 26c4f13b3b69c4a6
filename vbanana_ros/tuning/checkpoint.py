"""Checkpoints of a run: what it takes to go on as if it had never been stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from vbanana_ros.errors import InputError

KEYS = ("step", "weights", "optimizers", "ema", "best")


@dataclass
class Progress:
    """How far a run is: batches done, and the step and held-out score of the best weights so far."""

    step: int = 0
    best_step: int = 0
    best_score: float = float("-inf")


def save(path: Path, progress: Progress, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer],
         ema: EMAModel) -> None:
    """Write what is trained of a model, not its frozen parts; a kill or a full disk leaves the file of before."""
    temporary = path.with_suffix(".tmp")
    torch.save({"step": progress.step, "best": (progress.best_step, progress.best_score), "weights": trained(model),
                "optimizers": [o.state_dict() for o in optimizers], "ema": ema.state_dict()}, temporary)
    os.replace(temporary, path)


def resume(path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], ema: EMAModel) -> Progress:
    """Go on from a checkpoint, where there is one. Raises InputError where it is broken or of another model."""
    if not path.exists():
        return Progress()
    state = read(path)
    if state["weights"].keys() != trained(model).keys():
        raise InputError(f"{str(path)!r} is of another model or recipe than this run; give another --out")
    model.load_state_dict(state["weights"], strict=False)
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    ema.load_state_dict(state["ema"])
    return Progress(state["step"], *state["best"])


def trained(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters of a model that require gradients, by name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def read(path: Path) -> dict:
    """A checkpoint's content, by KEYS, on the CPU; raises InputError where it is broken."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        return {name: state[name] for name in KEYS}
    except Exception as error:  # pickle, zip and torch raise of everything over a broken file
        reason = " ".join(str(error).split())
        raise InputError(f"{str(path)!r} is no checkpoint of the tuner ({reason[:120]}); remove it or give another"
                         ) from None
