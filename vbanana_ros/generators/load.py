"""A model's name or directory -> a generator, checked before it is used."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import torch

from vbanana_ros.errors import ModelError, one_line
from vbanana_ros.generators.base import Generator
from vbanana_ros.generators.known import find_profile
from vbanana_ros.generators.profile import FILE, Profile, check_weights
from vbanana_ros.generators.speed import AUTO, Speed

SHIPPED = Path(__file__).resolve().parent.parent / "models"
# Where each family's class is; imported when it is asked for, as some need packages that others do not.
FAMILIES = {"nano": "nano:NanoGenerator", "flux2": "flux2:KleinGenerator", "flux2_kv": "flux2:KleinKVGenerator",
            "qwen_image": "qwen_image:QwenGenerator", "kontext": "kontext:KontextGenerator",
            "instruct_pix2pix": "instruct_pix2pix:Pix2PixGenerator"}


def load_generator(model: str | Path = "nano", device: str = "auto", speed: Speed = AUTO) -> Generator:
    """The generator of a model directory, or of a shipped model's name.

    device: `cpu`, `cuda`, `cuda:N` or `auto` (a GPU where there is one). speed: how it is run. Nothing is downloaded.
    Raises ModelError for a missing, partial, corrupt or foreign directory, a device that is not there, or a speed that
    its family, or this machine, does not have.
    """
    folder, profile = find_model(model)
    if profile.family not in FAMILIES:
        raise ModelError(f"{str(folder)!r} is of family {profile.family!r}; known are {', '.join(FAMILIES)}")
    target, weights = _device(device), check_weights(folder, profile)
    module, _, name = FAMILIES[profile.family].partition(":")
    try:
        family = getattr(import_module(f"vbanana_ros.generators.{module}"), name)
        return family.load(folder, profile, weights, target, speed)
    except ModelError:
        raise
    except ModuleNotFoundError as error:
        raise ModelError(f"family {profile.family!r} needs the package {error.name!r}; "
                         "pip install 'vbanana_ros[flux2]'") from None
    except torch.OutOfMemoryError:
        raise ModelError(f"{str(folder)!r} does not fit the memory of {target}; use offload model, or device cpu"
                         ) from None
    # Libraries raise of everything over a broken directory: OSError, KeyError, TypeError, safetensors' own.
    except Exception as error:
        reason = one_line(error)
        raise ModelError(f"{str(folder)!r} cannot be loaded ({reason[:160]}); copy the model again") from error


def find_model(model: str | Path) -> tuple[Path, Profile]:
    """The directory of a model, or of a shipped model's name, and its profile; ModelError where it has none."""
    folder = next((p for p in shipped() if p.name == str(model)), Path(model))
    return folder, find_profile(folder)


def shipped() -> list[Path]:
    """The directories of the models that came with the package; none where it was built without them."""
    return sorted(path.parent for path in SHIPPED.glob(f"*/{FILE}"))


def _device(device: str) -> str:
    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device == "cpu":
        return device
    if not (match := re.fullmatch(r"cuda(?::(\d+))?", device)):
        raise ModelError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if available else 0
    if int(match.group(1) or 0) >= count:
        raise ModelError(f"device {device!r} asked for, but torch sees {count or 'no'} GPU; use device auto or cpu")
    return device
