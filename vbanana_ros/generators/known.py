"""Published checkpoints: their profiles, where they come from, and how to tell one by its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import SequenceMatcher
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from vbanana_ros.errors import ModelError
from vbanana_ros.generators.profile import DENOISERS, FILE, INDEX, LORA, Profile, parse_profile, read_profile

KNOWN = Path(__file__).resolve().parent / "profiles"
TOLD = ("num_layers", "num_single_layers", "num_attention_heads", "joint_attention_dim", "cross_attention_dim",
        "in_channels")  # what an unknown model is described by


@dataclass(frozen=True)
class Known:
    """A published checkpoint.

    repo: where it is on the Hugging Face Hub, empty where that is not known; skip: what is there but not needed.
    gated: its licence must be accepted on its page first. tuned: it was taught perception.
    download_gb, memory_gb: about; without the base's download, and with all parts in GPU memory in 16 bits.
    folder: what its folder's name must match. match: JSON files of the folder, and of each key the values that it has,
    absent counting as False; null for a file that is not there.
    """

    profile: Profile
    repo: str
    skip: tuple[str, ...]
    gated: bool
    tuned: bool
    download_gb: float
    memory_gb: float
    folder: str
    match: dict[str, dict[str, Any] | None]

    @property
    def fetch(self) -> str:
        """The command that fetches it into `models/`; empty where its address is not known."""
        if not self.repo:
            return ""
        skip = "".join(f" --exclude '{pattern}'" for pattern in self.skip)
        return f"hf download {self.repo} --local-dir models/{self.profile.name}{skip}"

    def matches(self, folder: Path) -> bool:
        """Whether a directory holds a model of this kind."""
        return fnmatch(folder.resolve().name.lower(), self.folder) and all(
            not (folder / name).exists() if values is None else _has(_read(folder / name), values)
            for name, values in self.match.items())


def known() -> list[Known]:
    """Every checkpoint that is known, by name."""
    found = []
    for path in sorted(KNOWN.glob("*.json"), key=lambda path: path.stem.lower()):
        values = json.loads(path.read_text(encoding="utf-8"))
        profile = parse_profile(values.pop("profile"), str(path))
        found.append(Known(profile, skip=tuple(values.pop("skip")), **values))
    return found


def find_profile(folder: Path) -> Profile:
    """The profile of a model directory: its own, else that of the known checkpoint that its files are like.

    Where several are, the folder's name decides. Raises ModelError where there is none, saying what was found.
    """
    if (folder / FILE).exists() or not folder.is_dir():
        return read_profile(folder)
    if not (alike := [one for one in known() if one.matches(folder)]):
        raise ModelError(f"{str(folder)!r} has no {FILE} and is none of the known models ({_describe(folder)}); "
                         f"add a {FILE}, or name a directory that 'vbanana models' lists or 'vbanana tune' made")
    name = folder.resolve().name.lower()
    return max(alike, key=lambda one: SequenceMatcher(None, name, one.profile.name.lower()).ratio()).profile


def _describe(folder: Path) -> str:
    """What a directory holds, in a few words."""
    for name in DENOISERS:
        if config := _read(folder / name / "config.json"):
            numbers = ", ".join(f"{key} {config[key]}" for key in TOLD if key in config)
            what = _read(folder / INDEX).get("_class_name") or f"{name} without a base"
            return f"found a {what} with {numbers}" if numbers else f"found a {what}"
    if what := _read(folder / INDEX).get("_class_name"):
        return f"found a {what} without a transformer or UNet"
    if (folder / LORA).exists():
        return "found a LoRA without a base"
    return f"found no {INDEX}"


def _has(config: dict[str, Any], values: dict[str, Any]) -> bool:
    return bool(config) and all(config.get(key, False) in (allowed if isinstance(allowed, list) else [allowed])
                                for key, allowed in values.items())


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
