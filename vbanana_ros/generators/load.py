"""A model's name or directory -> a generator, checked before it is used."""

from __future__ import annotations

from pathlib import Path

import torch

from vbanana_ros.errors import ModelError
from vbanana_ros.generators.base import Generator
from vbanana_ros.generators.nano import NanoGenerator
from vbanana_ros.generators.profile import check_weights, read_profile

SHIPPED = Path(__file__).resolve().parent.parent / "models"
FAMILIES = {"nano": NanoGenerator}


def load_generator(model: str | Path = "nano", device: str = "auto") -> Generator:
    """The generator of a model directory, or of a shipped model's name.

    device: `cpu`, `cuda`, `cuda:N` or `auto` (a GPU where there is one). Nothing is ever downloaded.
    Raises ModelError for a missing, partial, corrupt or foreign directory, or a device that is not there.
    """
    folder = SHIPPED / str(model) if (SHIPPED / str(model)).is_dir() else Path(model)
    profile = read_profile(folder)
    if profile.family not in FAMILIES:
        raise ModelError(f"{str(folder)!r} is of family {profile.family!r}; known are {', '.join(FAMILIES)}")
    weights = check_weights(folder, profile)
    try:
        return FAMILIES[profile.family].load(folder, profile, weights, _device(device))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{str(folder)!r} cannot be loaded ({reason[:160]}); copy the model directory again") from None


def _device(device: str) -> str:
    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device != "cpu" and not device.startswith("cuda"):
        raise ModelError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N")
    if device.startswith("cuda") and not available:
        raise ModelError(f"device {device!r} asked for, but torch sees no GPU; use device auto or cpu")
    return device
