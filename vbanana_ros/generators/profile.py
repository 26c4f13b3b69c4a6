"""`vbanana.json`: what a model directory says of itself, and whether its files are the ones it was written for."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vbanana_ros.errors import ModelError
from vbanana_ros.generators.weights import check_file, sha256_of
from vbanana_ros.tasks import TASKS, dialect

FILE = "vbanana.json"
INDEX = "model_index.json"
LORA = "pytorch_lora_weights.safetensors"
DENOISERS = ("transformer", "unet")


@dataclass(frozen=True)
class Profile:
    """A model's dialect and limits.

    family: which generator of this package runs it. tasks: what it can be asked.
    depth_code: `hilbert`, metres on the RGB cube's edges; `gray` (0..80 m) and `log-gray` (0.25..80 m), metres in grey;
    `inverse-gray`, relative inverse depth, near is bright. normals_axes: what red, green and blue grow with, see
    `Normals`. instance_background: the colour behind instances, whatever is asked; empty: what is asked.
    instance_decoder: parameters of `InstanceDecoder` where its paintings want others than the paper's.
    manhattan: whether its normals and metric depth are squared with the lines of the image, see `manhattan`.
    prompts: the wording of each task that has another than the paper's, see `Wording`: its text, or text and pair.
    steps, picture_steps: denoising steps. noise: what one step about an image begins with, `gaussian` noise or the
    `image` itself. guidance: classifier-free, where it takes more than one step; 1 none, 0 the family's own.
    max_length: tokens that prompts are padded to, of families that pad.
    area: of a generated image; picture_area: of nano's from text alone, 0 the same.
    license: SPDX identifier.
    base: the directory of the pipeline that this one changes, absolute or relative to this one: `transformer/` or
    `unet/` here replace the base's, `pytorch_lora_weights.safetensors` goes over it. Empty: all of it is here.
    sha256: of each weights file, by its path in the directory.
    """

    name: str
    family: str
    tasks: tuple[str, ...]
    license: str
    area: int
    steps: int = 1
    picture_steps: int = 1
    picture_area: int = 0
    noise: str = "gaussian"
    guidance: float = 0.0
    max_length: int = 512
    depth_code: str = "hilbert"
    normals_axes: str = "-x+y+z"
    instance_background: str = ""
    instance_decoder: dict[str, float] = field(default_factory=dict)
    manhattan: bool = False
    prompts: dict[str, str | dict[str, str]] = field(default_factory=dict)
    about: str = ""
    base: str = ""
    sha256: dict[str, str] = field(default_factory=dict)


def read_profile(folder: Path) -> Profile:
    """The profile of a model directory. Raises ModelError where it is missing, broken or asks for the unknown."""
    path = folder / FILE
    if not folder.is_dir():
        raise ModelError(f"no model directory {str(folder)!r}; 'vbanana models' lists those at hand")
    if not path.exists():
        raise ModelError(f"{str(folder)!r} has no {FILE}; add a profile, or name a directory made by 'vbanana tune'")
    try:
        return parse_profile(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is not a profile ({error}); copy the model again") from None


def parse_profile(values: dict[str, Any], source: str) -> Profile:
    """A profile from the values of its file. Raises ModelError where they are wrong or ask for the unknown."""
    try:
        profile = _checked(Profile(**values))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{source!r} is not a profile ({error}); copy the model again") from None
    if unknown := [t for t in profile.tasks if t not in TASKS]:
        raise ModelError(f"{source!r} names an unknown task {unknown[0]!r}; known are {', '.join(TASKS)}")
    try:
        dialect(profile)
    except ValueError as error:
        raise ModelError(f"{source!r}: {error}; update vbanana_ros, or mend the profile") from None
    return profile


def _checked(profile: Profile) -> Profile:
    """The profile with its tasks as a tuple; raises ValueError for a value of the wrong kind."""
    texts = (profile.name, profile.family, profile.license, profile.depth_code, profile.normals_axes,
             profile.instance_background, profile.about, profile.base, profile.noise)
    counts = (profile.area, profile.steps, profile.picture_steps, profile.max_length)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("name, family, license, codes, about and base must be strings")
    if not all(isinstance(count, int) and count > 0 for count in counts):
        raise ValueError("area, steps, picture_steps and max_length must be whole numbers above 0")
    if not isinstance(profile.picture_area, int) or profile.picture_area < 0:
        raise ValueError(f"picture_area is {profile.picture_area!r}, not a whole number from 0 on")
    if isinstance(profile.guidance, bool) or not isinstance(profile.guidance, (int, float)) or profile.guidance < 0:
        raise ValueError(f"guidance is {profile.guidance!r}, not a number from 0 on")
    if profile.noise not in ("gaussian", "image"):
        raise ValueError(f"noise is {profile.noise!r}, not gaussian or image")
    if not (isinstance(profile.tasks, list) and all(isinstance(task, str) for task in profile.tasks)):
        raise ValueError("tasks must be a list of strings")
    if not isinstance(profile.instance_decoder, dict):
        raise ValueError("instance_decoder must map its parameters to numbers")
    if not isinstance(profile.manhattan, bool):
        raise ValueError(f"manhattan is {profile.manhattan!r}, not true or false")
    if not isinstance(profile.prompts, dict):
        raise ValueError("prompts must map tasks to their wording")
    if not (isinstance(profile.sha256, dict) and all(isinstance(digest, str) for digest in profile.sha256.values())):
        raise ValueError("sha256 must map file names to checksums")
    return replace(profile, tasks=tuple(profile.tasks))


def write_profile(folder: Path, profile: Profile) -> None:
    """Write the profile last, with the checksums of the weights beside it; those of its base are not repeated."""
    sums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in _weights(folder)}
    temporary = folder / (FILE + ".tmp")
    temporary.write_text(json.dumps(asdict(profile) | {"sha256": sums}, indent=2) + "\n")
    os.replace(temporary, folder / FILE)


def base_of(folder: Path, profile: Profile) -> Path:
    """The directory of the whole pipeline: the base, or the folder itself.

    Raises ModelError for a base that is not there, or that has a base or a LoRA of its own.
    """
    if not profile.base:
        return folder
    base = (folder.resolve() / Path(profile.base).expanduser()).resolve()
    if not base.is_dir():
        raise ModelError(f"the base of {str(folder)!r} is missing: no directory {str(base)!r}; put it there "
                         f"('vbanana models' says where from) or correct base in {FILE}")
    if (base / LORA).exists() or ((base / FILE).exists() and read_profile(base).base):
        raise ModelError(f"the base {str(base)!r} is changed by a base or a LoRA of its own; "
                         f"name a whole pipeline as base in {FILE}")
    return base


def check_weights(folder: Path, profile: Profile) -> str:
    """Check every weights file, of the base too, by its checksum where a profile has one; one SHA-256 over all, in hex.

    Raises ModelError for a missing, cut or changed file, or a missing base.
    """
    base, whole = base_of(folder, profile), hashlib.sha256()
    sums = {folder / name: digest for name, digest in profile.sha256.items()}
    for path in sorted({*_weights(folder), *sums}):
        whole.update(check_file(path, sums.get(path)).encode())
    if base != folder:
        listed = read_profile(base).sha256 if (base / FILE).exists() else {}
        sums = {base / name: digest for name, digest in listed.items()}
        replaced = [base / name for name in DENOISERS if (folder / name).is_dir()]
        for path in sorted({*_weights(base), *sums}):
            if path.parent not in replaced:
                whole.update(check_file(path, sums.get(path)).encode())
    return whole.hexdigest()


def _weights(folder: Path) -> list[Path]:
    """The files that a pipeline reads; checkpoints for other programs that lie at the top are not among them."""
    return [*folder.glob("*/*.safetensors"), *folder.glob(LORA)]
