"""Depth pictures and arrays of a set: read as they are stored, or an InputError that names the file and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from PIL import Image

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.sets.layout import reading


def read_metres(path: Path, per_metre: float) -> np.ndarray:
    """A 16-bit depth PNG -> float32 [H, W], metres; its 0 is NaN, not known."""
    with reading(path), Image.open(path) as picture:
        stored = np.array(picture)
    if stored.ndim != 2 or stored.dtype == np.uint8:
        raise InputError(f"{str(path)!r} is {stored.dtype} {list(stored.shape)}, not a depth PNG of 16 bits; "
                         "copy it without converting it")
    return np.where(stored > 0, np.float32(stored / per_metre), np.float32(np.nan))


def read_npy(path: Path) -> np.ndarray:
    """An array that numpy saved; no pickles."""
    with reading(path):
        return np.load(path)


def read_hdf5(path: Path, key: str = "dataset") -> np.ndarray:
    """One array of an HDF5 file."""
    with reading(path), h5py.File(path, "r") as file:
        return file[key][()]


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file before 7.3 (those of 7.3 are HDF5)."""
    with reading(path):
        return scipy.io.loadmat(path)
