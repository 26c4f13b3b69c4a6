"""ScanNet: rooms filmed with an RGB-D camera (Dai et al., CVPR 2017), for normals or for depth.

Normals, split "test": the 300 views of FrameNet as DSINE packs them (dsine_eval/scannet), which later normal estimators
(Marigold, Lotus, StableNormal) test on too. Source: github.com/baegwangbin/DSINE, README.md ("About the coordinate
system") and data/datasets/scannet. sceneNNNN_NN/F_img.png, F_normal.png and F_intrins.npy (K); a normal is
rgb / 255 * 2 - 1, x right, y down, z forward, away from the camera, so it is turned round here; black is not known.

Depth, splits "train", "val", "test": what ScanNet's SensReader exports, sceneNNNN_NN/{color/F.jpg, depth/F.png,
intrinsic/intrinsic_depth.txt}, with scannetv2_SPLIT.txt (github.com/ScanNet/ScanNet, Tasks/Benchmark) beside the
scenes. Depth is uint16 millimetres along the optical axis, 0 not known; colour is brought to the depth's smaller grid.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_metres, read_npy
from vbanana_ros.tuning.sets.layout import check_split, read_lines, read_rgb, reading, some
from vbanana_ros.tuning.sets.optical import unit_normals

SPLITS = ("train", "val", "test")
_MEND = "give the folder with the scene*_* folders (DSINE's scannet, or SensReader's export and scannetv2_SPLIT.txt)"


def open_scannet(folder: Path, split: str) -> Listed:
    """DSINE's layout: rgb, normals, K. SensReader's: rgb, depth, and K where it was exported. Raises InputError."""
    images = sorted(folder.glob("scene*/*_img.png"))
    check_split("scannet", split, ("test",) if images else SPLITS)
    if images:
        return Listed("scannet", images, _read_normals)
    return Listed("scannet", some(_depths(folder, split), folder, _MEND), _read_depth)


def _name(scene: str, path: Path) -> str:
    return f"{scene}/{path.stem.removesuffix('_img')}"


def _read_normals(path: Path) -> Record:
    beside = path.name.removesuffix("img.png")
    code = read_rgb(path.with_name(f"{beside}normal.png"))
    away = np.where(code.any(-1, keepdims=True), code / 255 * 2 - 1, 0)
    camera = path.with_name(f"{beside}intrins.npy")
    return Record(read_rgb(path), _name(path.parent.name, path), normals=unit_normals(-away),
                  K=_matrix(camera, read_npy(camera)))


def _depths(folder: Path, split: str) -> list[Path]:
    """The depth files of the split's scenes that are on disk."""
    path = folder / f"scannetv2_{split}.txt"
    if not path.is_file():
        raise InputError(f"{str(path)!r} is missing; {_MEND}")
    return [depth for scene in read_lines(path)
            for depth in sorted((folder / scene / "depth").glob("*.png"), key=lambda p: (len(p.stem), p.stem))]


def _read_depth(path: Path) -> Record:
    scene = path.parents[1]
    depth = read_metres(path, 1000)
    rgb = read_rgb(scene / "color" / f"{path.stem}.jpg")
    if rgb.shape[:2] != depth.shape:
        rgb = cv2.resize(rgb, depth.shape[::-1], interpolation=cv2.INTER_AREA)
    return Record(rgb, _name(scene.name, path), depth=depth, K=_exported(scene / "intrinsic" / "intrinsic_depth.txt"))


def _exported(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    with reading(path):
        return _matrix(path, np.loadtxt(path)[:3, :3])


def _matrix(path: Path, K: np.ndarray) -> np.ndarray:
    if K.shape != (3, 3):
        raise InputError(f"{str(path)!r} is {list(K.shape)}, not a camera matrix [3, 3]; copy it again")
    return K.astype(np.float64)
