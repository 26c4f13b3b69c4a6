"""`vbanana.json`: what a model directory says of itself, and whether its files are the ones it was written for."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vbanana_ros.errors import ModelError
from vbanana_ros.tasks import TASKS

FILE = "vbanana.json"


@dataclass(frozen=True)
class Profile:
    """A model's dialect and limits.

    family: which generator of this package runs it. tasks: what it can be asked.
    depth_code: `hilbert`, metres on the RGB cube's edges. normals_axes: `right-up-back`, painted axes.
    steps, picture_steps: denoising steps. area: pixels of a generated image. license: SPDX identifier.
    sha256: of each weights file, by its path in the directory.
    """

    name: str
    family: str
    tasks: tuple[str, ...]
    license: str
    area: int
    steps: int = 1
    picture_steps: int = 1
    depth_code: str = "hilbert"
    normals_axes: str = "right-up-back"
    about: str = ""
    sha256: dict[str, str] = field(default_factory=dict)


def read_profile(folder: Path) -> Profile:
    """The profile of a model directory. Raises ModelError where it is missing, broken or asks for the unknown."""
    path = folder / FILE
    if not folder.is_dir():
        raise ModelError(f"no model directory {str(folder)!r}; 'vbanana models' lists those at hand")
    if not path.exists():
        raise ModelError(f"{str(folder)!r} has no {FILE}; add a profile, or name a directory made by 'vbanana tune'")
    try:
        profile = Profile(**json.loads(path.read_text()))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise ModelError(f"{str(path)!r} is not a profile ({error}); copy the model again") from None
    if unknown := [t for t in profile.tasks if t not in TASKS]:
        raise ModelError(f"{str(path)!r} names an unknown task {unknown[0]!r}; known are {', '.join(TASKS)}")
    if profile.depth_code != "hilbert" or profile.normals_axes != "right-up-back":
        raise ModelError(f"{str(path)!r} names a code that this version cannot decode "
                         f"({profile.depth_code}, {profile.normals_axes}); update vbanana_ros")
    return profile


def write_profile(folder: Path, profile: Profile) -> None:
    """Write the profile last, with the checksums of the weights beside it."""
    sums = {str(p.relative_to(folder)): _sha256(p) for p in sorted(folder.rglob("*.safetensors"))}
    temporary = folder / (FILE + ".tmp")
    temporary.write_text(json.dumps(asdict(profile) | {"sha256": sums}, indent=2) + "\n")
    os.replace(temporary, folder / FILE)


def check_weights(folder: Path, profile: Profile) -> str:
    """Compare every weights file with its checksum; returns one SHA-256 over all of them, in hex.

    Raises ModelError for a missing or changed file.
    """
    whole = hashlib.sha256()
    for name, expected in sorted(profile.sha256.items()):
        path = folder / name
        if not path.exists():
            raise ModelError(f"model file {str(path)!r} is missing; copy the model directory again")
        if _sha256(path) != expected:
            raise ModelError(f"model file {str(path)!r} is corrupt (checksum differs); copy the model directory again")
        whole.update(expected.encode())
    return whole.hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
