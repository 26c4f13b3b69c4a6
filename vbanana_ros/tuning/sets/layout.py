"""Finding and reading a set's files; whatever is wrong with one, the error names it and the mend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vbanana_ros.errors import InputError, one_line


def check_split(name: str, split: str, splits: Sequence[str]) -> None:
    """Raises InputError, which lists the splits, where the set has no such one."""
    if split not in splits:
        raise InputError(f"{name} has no split {split!r}; choose one of {', '.join(splits)}")


def find(root: Path, *names: str, mend: str) -> Path:
    """The first of the files or folders under root that is there; raises InputError where none is."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise InputError(f"no {' or '.join(repr(str(root / name)) for name in names)}; {mend}")


def stems(folder: Path, ending: str, mend: str) -> list[str]:
    """The files under folder with this ending, without it, sorted; raises InputError where there is none."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*{ending}"))
    if not names:
        raise InputError(f"no '*{ending}' in {str(folder)!r}; {mend}")
    return [name.removesuffix(ending) for name in names]


def some(keys: Sequence, folder: Path, mend: str) -> Sequence:
    """The keys themselves. Raises InputError where nothing of a split was found in its folder."""
    if not keys:
        raise InputError(f"{str(folder)!r} has no images of this split; {mend}")
    return keys


def first_folder(*folders: Path) -> Path | None:
    """The first of them that is there: people unpack the same archives one level deeper or less deep."""
    return next((folder for folder in folders if folder.is_dir()), None)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever goes wrong inside over the content of a file into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"no file {str(path)!r}; copy it from the set") from None
    except Exception as error:  # each format's reader raises its own over broken bytes
        raise InputError(f"{str(path)!r} is damaged or not what it should be ({one_line(error)}); "
                         "copy it again") from None


def read_json(path: Path, encoding: str = "utf-8") -> Any:
    """The content of a JSON file. Raises InputError for what is missing, cut or no JSON."""
    with reading(path):
        return json.loads(path.read_text(encoding))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, bare, without empty ones at its end. Raises InputError where it is missing."""
    with reading(path):
        return [line.strip() for line in path.read_text("utf-8").rstrip().splitlines()]


def read_rgb(path: Path) -> np.ndarray:
    """A picture -> uint8 RGB [H, W, 3]. EXIF does not turn it: what is known of it lies on the stored grid."""
    with reading(path), Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def read_ids(path: Path, below: int = 1 << 16) -> np.ndarray:
    """A picture of numbers, gray or with a palette -> integers or bool [H, W] as stored: a palette's index, no colour.

    Raises InputError for what is missing, cut or no picture, has colours, or holds a number that is not below `below`.
    """
    with reading(path), Image.open(path) as picture:
        ids = np.array(picture)
    if ids.ndim != 2 or ids.dtype.kind not in "uib":
        raise InputError(f"{str(path)!r} has colours where one whole number a pixel is needed; copy it again")
    if ids.max(initial=0) >= below:
        raise InputError(f"{str(path)!r} holds the number {ids.max()}, beyond {below - 1}; it is of another set")
    return ids
