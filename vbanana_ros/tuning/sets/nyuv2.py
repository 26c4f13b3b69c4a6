"""NYU Depth V2: Kinect views of rooms with depth, 894 names and instances (Silberman et al., ECCV 2012).

Sources: cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html and its toolbox (camera_params.m, get_instance_masks.m);
github.com/cleinc/bts (extract_official_train_test_set_from_mat.py) for the split.

nyu_depth_v2_labeled.mat (MATLAB 7.3, so HDF5 with axes reversed) and splits.mat (trainNdxs 795, testNdxs 654, from 1;
the split of Silberman, and Eigen's test set). Depth is what the Kinect saw (rawDepths, metres along the optical axis, 0
not known), not what was painted in. With classMapping40.mat (github.com/ankurhanda/nyuv2-meta-data) beside it the
labels are NYU40's classes, else those of the 894 names that the image has. Things have their own names.
Or what BTS makes of it, [{train,test}/SCENE/]{rgb_N.jpg,sync_depth_N.png} (uint16 millimetres); a folder without train
and test is all "test", as Metric3D's demo is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.records import Listed, Record, Thing
from vbanana_ros.tuning.sets.arrays import read_mat
from vbanana_ros.tuning.sets.flat import annotated_cameras, number, open_flat
from vbanana_ros.tuning.sets.layout import check_split, find, first_folder, reading, some
from vbanana_ros.tuning.sets.nyu40 import NYU40, labels_of
from vbanana_ros.tuning.sets.optical import intrinsics

SPLITS = {"train": "trainNdxs", "test": "testNdxs"}
_DATA, _SPLIT_FILE, _CLASSES_FILE = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"
_MEND = f"give the folder with {_DATA} and {_SPLIT_FILE}, or with rgb_*.jpg and sync_depth_*.png"
_K = intrinsics(518.857901, 519.469611, 325.582449, 253.736166)
_STUFF = ("wall", "floor", "ceiling")


def open_nyuv2(folder: Path, split: str) -> Listed:
    """rgb, depth, labels, things, K; of a flat folder rgb, depth, K. Raises InputError."""
    if not (folder / _DATA).is_file():
        return _flat(folder, split)
    check_split("nyuv2", split, tuple(SPLITS))
    keys = some(_indices(folder / _SPLIT_FILE, SPLITS[split]), folder, _MEND)
    return Listed("nyuv2", keys, functools.partial(
        _read, folder / _DATA, _names(folder / _DATA), _forty(folder / _CLASSES_FILE)))


def _flat(folder: Path, split: str) -> Listed:
    divided = first_folder(*(folder / name for name in SPLITS))
    check_split("nyuv2" if divided else "this folder of nyuv2", split, tuple(SPLITS) if divided else ("test",))
    root = find(folder, split, mend=_MEND) if divided else folder
    some(list(root.glob("**/rgb_*.jpg")), root, _MEND)
    cameras = annotated_cameras(folder)
    return open_flat("nyuv2", root, "**/rgb_*.jpg", lambda path: path.with_name(f"sync_depth_{number(path)}.png"), 1000,
                     lambda path: cameras.get(number(path), _K))


def _indices(path: Path, variable: str) -> list[int]:
    if not path.is_file():
        raise InputError(f"{str(path)!r} is missing, and with it what is for testing; {_MEND}")
    variables = read_mat(path)
    with reading(path):
        return [int(i) - 1 for i in variables[variable].ravel()]


def _names(path: Path) -> tuple[str, ...]:
    """The names of labels 1, 2, ...: references to strings of 16-bit characters."""
    with reading(path), h5py.File(path, "r") as file:
        return tuple("".join(map(chr, file[reference][()].ravel())) for reference in file["names"][()].ravel())


def _forty(path: Path) -> np.ndarray | None:
    """int [895]: the NYU40 id of each label; 0 stays 0."""
    if not path.is_file():
        return None
    variables = read_mat(path)
    with reading(path):
        return np.concatenate(([0], variables["mapClass"].ravel().astype(np.int64)))


def _read(path: Path, names: tuple[str, ...], forty: np.ndarray | None, index: int) -> Record:
    with reading(path), h5py.File(path, "r") as file:
        rgb = np.ascontiguousarray(file["images"][index].T)
        depth, ids, instances = (file[what][index].T for what in ("rawDepths", "labels", "instances"))
    labels, label_names = (_raw(ids, names) if forty is None else (labels_of(forty[ids]), NYU40))
    things = _things(ids, instances, names)
    return Record(rgb, f"{index + 1:04d}", depth=np.where(depth > 0, depth, np.nan).astype(np.float32),
                  labels=labels, names=label_names, things=things, thing_names=_unique(t.name for t in things),
                  K=_K)


def _raw(ids: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of one image, by the names that it has: 894 are more than 8 bits tell apart, one image has about 30."""
    present = np.unique(ids[ids > 0])
    place = np.full(len(names) + 1, UNLABELED_8, np.uint8)
    place[present] = np.arange(len(present))
    return place[ids], tuple(names[i - 1] for i in present)


def _things(ids: np.ndarray, instances: np.ndarray, names: tuple[str, ...]) -> tuple[Thing, ...]:
    """An instance is a pair of a label and the number of the instance in it, as get_instance_masks.m has it."""
    pairs = ids.astype(np.int64) << 8 | instances
    return tuple(Thing(names[(pair >> 8) - 1], pairs == pair) for pair in np.unique(pairs[ids > 0])
                 if names[(pair >> 8) - 1] not in _STUFF)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
