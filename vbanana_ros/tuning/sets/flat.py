"""Numbered colour and depth pictures beside each other, as demos and samples ship them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_metres
from vbanana_ros.tuning.sets.layout import read_json, read_rgb, reading, some
from vbanana_ros.tuning.sets.optical import intrinsics

_ANNOTATIONS = "test_annotations.json"


def open_flat(name: str, folder: Path, colors: str, depth_of: Callable[[Path], Path], per_metre: float,
              K_of: Callable[[Path], np.ndarray | None], floor: np.ndarray | None = None) -> Listed:
    """colors: glob of the colour files. depth_of, K_of: the depth file and the camera, or None, of a colour file.

    per_metre: what a depth PNG counts to a metre; its 0 is not known. floor: of all records.
    Raises InputError where no colour file is there, or one has no depth.
    """
    keys = some(sorted(folder.glob(colors)), folder, f"give the folder that holds {colors}")
    for path in keys:
        if not depth_of(path).is_file():
            raise InputError(f"{str(path)!r} has no {depth_of(path).name!r}; copy the set again")

    def read(path: Path) -> Record:
        return Record(read_rgb(path), path.relative_to(folder).with_suffix("").as_posix(),
                      depth=read_metres(depth_of(path), per_metre), K=K_of(path), floor=floor)

    return Listed(name, keys, read)


def number(path: Path) -> str:
    """The digits that a file name ends with."""
    found = re.search(r"\d+$", path.stem)
    if found is None:
        raise InputError(f"{str(path)!r} has no number at the end of its name; give the files their own names again")
    return found[0]


def annotated_cameras(folder: Path) -> dict[str, np.ndarray]:
    """Number -> K of each file that Metric3D's test_annotations.json lists; empty without that file."""
    path = folder / _ANNOTATIONS
    if not path.is_file():
        return {}
    annotations = read_json(path)
    with reading(path):
        return {number(Path(file["rgb"])): intrinsics(*file["cam_in"]) for file in annotations["files"]}
