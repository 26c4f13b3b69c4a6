"""`vbanana.json`: what a model directory says of itself, and whether its files are the ones it was written for."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
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
        profile = _checked(Profile(**json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{str(path)!r} is not a profile ({error}); copy the model again") from None
    if unknown := [t for t in profile.tasks if t not in TASKS]:
        raise ModelError(f"{str(path)!r} names an unknown task {unknown[0]!r}; known are {', '.join(TASKS)}")
    if profile.depth_code != "hilbert" or profile.normals_axes != "right-up-back":
        raise ModelError(f"{str(path)!r} names a code that this version cannot decode "
                         f"({profile.depth_code}, {profile.normals_axes}); update vbanana_ros")
    return profile


def _checked(profile: Profile) -> Profile:
    """The profile with its tasks as a tuple; raises ValueError for a value of the wrong kind."""
    texts = (profile.name, profile.family, profile.license, profile.depth_code, profile.normals_axes, profile.about)
    counts = (profile.area, profile.steps, profile.picture_steps)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("name, family, license, codes and about must be strings")
    if not all(isinstance(count, int) and count > 0 for count in counts):
        raise ValueError("area, steps and picture_steps must be whole numbers above 0")
    if not (isinstance(profile.tasks, list) and all(isinstance(task, str) for task in profile.tasks)):
        raise ValueError("tasks must be a list of strings")
    if not (isinstance(profile.sha256, dict) and all(isinstance(digest, str) for digest in profile.sha256.values())):
        raise ValueError("sha256 must map file names to checksums")
    return replace(profile, tasks=tuple(profile.tasks))


def write_profile(folder: Path, profile: Profile) -> None:
    """Write the profile last, with the checksums of the weights beside it."""
    sums = {name: _sha256(folder / name) for name in _weights(folder)}
    temporary = folder / (FILE + ".tmp")
    temporary.write_text(json.dumps(asdict(profile) | {"sha256": sums}, indent=2) + "\n")
    os.replace(temporary, folder / FILE)


def check_weights(folder: Path, profile: Profile) -> str:
    """Compare every weights file with its checksum, where the profile has one; returns one SHA-256 over all, in hex.

    Raises ModelError for a missing or changed file.
    """
    whole = hashlib.sha256()
    for name in sorted({*profile.sha256, *_weights(folder)}):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"model file {str(path)!r} is missing; copy the model directory again")
        found = _sha256(path)
        if found != profile.sha256.get(name, found):
            raise ModelError(f"model file {str(path)!r} is corrupt (checksum differs); copy the model directory again")
        whole.update(found.encode())
    return whole.hexdigest()


def _weights(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
