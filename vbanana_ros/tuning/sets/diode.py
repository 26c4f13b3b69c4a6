"""DIODE: laser-scanned indoor and outdoor views with depth and normals (Vasiljevic et al., 2019).

Sources: github.com/diode-dataset/diode-devkit (README.md, diode.py, intrinsics.txt) for files and camera;
github.com/YvanYin/Metric3D (training/mono/datasets/diode_dataset.py) for the normals' axes: x right, y up, z back,
some facing away, and for depth along the optical axis.

SPLIT/{indoors,outdoor}/scene_NNNNN/scan_NNNNN/NAME.png, NAME_depth.npy (float32 [768, 1024, 1], metres),
NAME_depth_mask.npy (1 where a return came), NAME_normal.npy (of DIODE Normal, unpacked into the same tree; 0, 0, 0 not
known).
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_npy
from vbanana_ros.tuning.sets.layout import check_split, find, read_rgb, some
from vbanana_ros.tuning.sets.optical import FROM_OPENGL, intrinsics, rays_of, toward_camera, unit_normals

SPLITS = ("train", "val")
_MEND = "give the folder in which train.tar.gz or val.tar.gz of diode-dataset.org was unpacked"
_K = intrinsics(886.81, 927.06, 512, 384)


def open_diode(folder: Path, split: str) -> Listed:
    """rgb, depth, K, and normals where DIODE Normal is there too. Raises InputError."""
    check_split("diode", split, SPLITS)
    root = find(folder, split, mend=_MEND)
    images = [path for kind in ("indoors", "outdoor") for path in sorted(root.glob(f"{kind}/scene_*/scan_*/*.png"))]
    return Listed("diode", some(images, root, _MEND), functools.partial(_read, root))


def _read(root: Path, path: Path) -> Record:
    rgb = read_rgb(path)
    normals = _beside(path, "normal")
    return Record(rgb, str(path.relative_to(root).with_suffix("")), depth=_depth(path), K=_K,
                  normals=_normals(normals, rgb.shape) if normals.is_file() else None)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}_{what}.npy")


def _depth(path: Path) -> np.ndarray:
    depth = np.squeeze(read_npy(_beside(path, "depth")))
    known = np.squeeze(read_npy(_beside(path, "depth_mask"))) > 0
    if depth.shape != known.shape:
        raise InputError(f"{str(_beside(path, 'depth_mask'))!r} is not of the size of the depth; copy it again")
    return np.where(known & (depth > 0), depth, np.nan).astype(np.float32)


def _normals(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    stored = read_npy(path)
    if stored.shape != shape:
        raise InputError(f"{str(path)!r} is {list(stored.shape)}, the image {list(shape)}; copy it again")
    return toward_camera(unit_normals(stored, FROM_OPENGL), rays_of(_K, *shape[:2]))
