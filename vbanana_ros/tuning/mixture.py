"""What a tuner is fed: how much of which set, of which task, and of pictures, so that generation is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Record, RecordSet
from vbanana_ros.tuning.sets import open_set

# So many records in a row that cannot be used are no accident.
MOST_BROKEN = 20
TASKS = {"depth": 3.0, "normals": 1.2, "semantic": 0.8, "instance": 1.2, "referring": 0.5}
PICTURES = {"picture": 0.6, "edit": 0.4}
# Strengths of augment.augment and augment.crop, by name.
AUGMENTS = {"plain": 0.0, "wild": 1.0}


@dataclass(frozen=True)
class Mixture:
    """Sets with their shares, shares of the tasks among the prompts about images, and of the ways to make pictures.

    painted: sets with their shares that pictures from text are drawn from; of none, the others.
    augment: how much cameras do to the images, 0..1, see `augment.py`. held: records to judge by, not trained on.
    """

    sets: Sequence[tuple[RecordSet, float]]
    tasks: Mapping[str, float] = field(default_factory=lambda: dict(TASKS))
    pictures: Mapping[str, float] = field(default_factory=lambda: dict(PICTURES))
    painted: Sequence[tuple[RecordSet, float]] = ()
    augment: float = 0.0
    held: RecordSet | None = None

    def draw(self, rng: np.random.Generator, broken: list[str]) -> Record:
        """A random record of the sets that can be read; what is wrong with others is added to broken.

        Raises InputError where MOST_BROKEN in a row cannot be used.
        """
        return _draw(self.sets, rng, broken)

    def draw_painted(self, rng: np.random.Generator, broken: list[str]) -> Record:
        """A random record of those that pictures from text are taught with, as `draw`."""
        return _draw(self.painted or self.sets, rng, broken)

    def choose(self, names: Mapping[str, float], rng: np.random.Generator, count: int) -> list[str]:
        """`count` of some tasks, each at most once, by their shares. Raises InputError where they are too few."""
        shares = np.array([*names.values()])
        if count > np.count_nonzero(shares):
            raise InputError(f"{count} prompts about an image, but each of {', '.join(names)} is asked once; ask fewer")
        return list(rng.choice([*names], count, replace=False, p=shares / shares.sum()))


def _draw(sets: Sequence[tuple[RecordSet, float]], rng: np.random.Generator, broken: list[str]) -> Record:
    shares = [share for _, share in sets]
    for _ in range(MOST_BROKEN):
        records, _ = sets[int(rng.choice(len(sets), p=np.divide(shares, sum(shares))))]
        try:
            return records[int(rng.integers(len(records)))]
        except InputError as error:
            broken.append(str(error))
    raise InputError(f"{MOST_BROKEN} records in a row cannot be read, such as: {broken[-1]}")


def read_mixture(path: Path) -> Mixture:
    """A mixture file: YAML with `sets` (each `set`, `folder`, and perhaps `split` and `share`), `tasks`, `pictures`.

    `painted`, a list like sets, is what pictures from text are drawn from in their place. `held`, like one of sets, is
    what the model is judged by while it learns; never trained on.
    `augment` is plain, wild, or a strength in between, 0..1. Folders are relative to the file. Raises InputError,
    which names what is not understood.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"mixture {str(path)!r} cannot be read ({' '.join(str(error).split())}); check it") from None
    if not isinstance(content, dict):
        content = {}
    if unknown := sorted({*content} - {"sets", "tasks", "pictures", "painted", "augment", "held"}):
        raise InputError(f"mixture {str(path)!r} does not know {unknown[0]!r}; "
                         "it has sets, tasks, pictures, painted, augment and held")
    sets = _read_sets(path, "sets", content.get("sets"))
    painted = _read_sets(path, "painted", content["painted"]) if "painted" in content else ()
    return Mixture(sets, _shares(path, content.get("tasks"), TASKS), _shares(path, content.get("pictures"), PICTURES),
                   painted, _strength(path, content.get("augment", "plain")),
                   _read_set(path, content["held"])[0] if "held" in content else None)


def _read_sets(path: Path, key: str, entries: Any) -> list[tuple[RecordSet, float]]:
    if not isinstance(entries, list) or not entries:
        raise InputError(f"mixture {str(path)!r} has no list of {key}; give {key}: [{{set: scenes, folder: scenes}}]")
    return [_read_set(path, entry) for entry in entries]


def _read_set(path: Path, entry: Any) -> tuple[RecordSet, float]:
    if not isinstance(entry, dict) or not {"set", "folder"} <= {*entry} <= {"set", "folder", "split", "share"}:
        raise InputError(f"mixture {str(path)!r}: {entry!r} needs set and folder, and may have split and share")
    share = entry.get("share", 1.0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or share <= 0:
        raise InputError(f"mixture {str(path)!r}: share {share!r} of {entry['set']!r} must be a number above 0")
    folder, split = path.parent / str(entry["folder"]), str(entry.get("split", "train"))
    return open_set(str(entry["set"]), folder, split), float(share)


def _shares(path: Path, given: Any, known: Mapping[str, float]) -> dict[str, float]:
    """The shares of a file: of what it names, those that it leaves out are none."""
    if given is None:
        return dict(known)
    right = isinstance(given, dict) and given and {*given} <= {*known} and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and v >= 0 for v in given.values())
    if not right or not sum(given.values()):
        raise InputError(f"mixture {str(path)!r}: {given!r} must be shares, 0 or more, of {', '.join(known)}")
    return {name: float(share) for name, share in given.items() if share}


def _strength(path: Path, given: Any) -> float:
    strength = AUGMENTS.get(given, given) if isinstance(given, str) else given
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise InputError(f"mixture {str(path)!r}: augment {given!r} must be {', '.join(AUGMENTS)} or a number, 0 to 1")
    return float(strength)
