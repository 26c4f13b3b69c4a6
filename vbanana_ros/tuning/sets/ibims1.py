"""iBims-1: 100 indoor views with a laser scanner's dense depth (Koch et al., ECCVW 2018); for testing only.

Source: the authors' evaluate_ibims.py and evaluate_ibims_error_metrics.py (www.asg.ed.tum.de, iBims-1).

imagelist.txt and ibims1_core_mat/NAME.mat with a struct `data`: rgb uint8, depth in metres along the optical axis (0
not known), mask_invalid and mask_transp (1 where depth counts), calib: MATLAB's intrinsics, which are K transposed and
count pixels from 1.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_mat
from vbanana_ros.tuning.sets.layout import check_split, first_folder, read_lines, reading, some

SPLITS = ("test",)
_MEND = "give the folder with imagelist.txt and ibims1_core_mat"


def open_ibims1(folder: Path, split: str) -> Listed:
    """rgb, depth, K. Raises InputError."""
    check_split("ibims1", split, SPLITS)
    mats = first_folder(folder / "ibims1_core_mat", folder / "gt" / "ibims1_core_mat") or folder
    lists = [path / "imagelist.txt" for path in (folder, mats)]
    names = next((read_lines(path) for path in lists if path.is_file()), None)
    if names is None:
        raise InputError(f"{str(lists[0])!r} is missing; {_MEND}")
    return Listed("ibims1", some(names, folder, _MEND), functools.partial(_read, mats))


def _read(mats: Path, name: str) -> Record:
    path = mats / f"{name}.mat"
    variables = read_mat(path)
    with reading(path):
        rgb, depth, invalid, transparent, calib = (
            variables["data"][what][0, 0] for what in ("rgb", "depth", "mask_invalid", "mask_transp", "calib"))
        known = (invalid > 0) & (transparent > 0) & (depth > 0)
        return Record(np.ascontiguousarray(rgb), name, K=_camera(calib),
                      depth=np.where(known, depth, np.nan).astype(np.float32))


def _camera(calib: np.ndarray) -> np.ndarray:
    K = np.array(calib, np.float64).T
    K[:2, 2] -= 1
    return K
