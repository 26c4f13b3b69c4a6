"""KITTI: drives with a laser scanner's sparse depth (Geiger et al., IJRR 2013; Uhrig et al., 3DV 2017).

Sources: the depth devkit's readme.txt (www.cvlibs.net/datasets/kitti, "Depth Prediction") for formats and folders,
github.com/prs-eth/Marigold and github.com/cleinc/bts for Eigen's list. Depth is uint16, 256 a metre, along the optical
axis; 0 is not known.

train, val: [data_depth_annotated/]{train,val}/DRIVE/proj_depth/groundtruth/image_0{2,3}/F.png, images of the raw set in
[raw/]DATE/DRIVE/image_0{2,3}/data/F.png, and K from DATE/calib_cam_to_cam.txt.
val, where it is there: [depth_selection/]val_selection_cropped/{image,groundtruth_depth,intrinsics}, 1000 images of
1216 x 352.
test: Eigen's 697 images, of which 652 have a truth: eigen_test_files_with_gt.txt beside the folders of train and val.
The cameras are level, 1.65 m above the road (IJRR 2013).
Or a flat folder of rgb_F.png, depth_F.png and test_annotations.json (Metric3D's demo), which is all "test".
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_metres
from vbanana_ros.tuning.sets.flat import annotated_cameras, number, open_flat
from vbanana_ros.tuning.sets.layout import check_split, first_folder, read_lines, read_rgb, reading, some

SPLITS = ("train", "val", "test")
_PER_METRE = 256
_FLOOR = np.array([0, 1 / 1.65, 0])
_EIGEN = "eigen_test_files_with_gt.txt"
_MEND = ("give the folder with data_depth_annotated and the raw drives (2011_09_26, ...), or with "
         "depth_selection/val_selection_cropped")
_EIGEN_MEND = f"put {_EIGEN} of github.com/cleinc/bts or github.com/prs-eth/Marigold beside the raw drives"


class Frame(NamedTuple):
    """One image: 2011_09_26_drive_0001_sync, image_02, 0000000005; and the file of its depth."""

    drive: str
    camera: str
    number: str
    depth: Path

    @property
    def date(self) -> str:
        return self.drive[:10]


def open_kitti(folder: Path, split: str) -> Listed:
    """rgb, depth, and K where the set has it. Raises InputError."""
    if any(folder.glob("depth_*.png")):
        return _flat(folder, split)
    check_split("kitti", split, SPLITS)
    cropped = first_folder(folder / "depth_selection" / "val_selection_cropped", folder / "val_selection_cropped")
    if split == "val" and cropped:
        depths = some(sorted((cropped / "groundtruth_depth").glob("*.png")), cropped, _MEND)
        return Listed("kitti", depths, functools.partial(_read_cropped, cropped))
    return _drives(folder, _eigen(folder) if split == "test" else _annotated(folder, split))


def _flat(folder: Path, split: str) -> Listed:
    check_split("this folder of kitti", split, ("test",))
    cameras = annotated_cameras(folder)
    return open_flat("kitti", folder, "rgb_*.png", lambda path: path.with_name(f"depth_{number(path)}.png"), _PER_METRE,
                     lambda path: cameras.get(number(path)), _FLOOR)


def _read_cropped(folder: Path, depth: Path) -> Record:
    name = depth.stem.replace("groundtruth_depth", "image")
    path = folder / "intrinsics" / f"{name}.txt"
    with reading(path):
        K = np.array(" ".join(read_lines(path)).split(), np.float64).reshape(3, 3)
    return Record(read_rgb(folder / "image" / f"{name}.png"), name, depth=read_metres(depth, _PER_METRE), K=K,
                  floor=_FLOOR)


def _annotated(folder: Path, split: str) -> list[Frame]:
    root = _truth(folder, split)
    if root is None:
        raise InputError(f"{str(folder)!r} has no folder {split} or data_depth_annotated/{split}; {_MEND}")
    return [_frame(path) for path in sorted(root.glob("*_sync/proj_depth/groundtruth/image_0[23]/*.png"))]


def _truth(folder: Path, split: str) -> Path | None:
    return first_folder(folder / "data_depth_annotated" / split, folder / split)


def _eigen(folder: Path) -> list[Frame]:
    """Lines `DATE/DRIVE/image_02/data/F.png DRIVE/proj_depth/groundtruth/image_02/F.png FOCAL`; None for no depth."""
    path = folder / _EIGEN
    if not path.is_file():
        raise InputError(f"{str(path)!r} is missing; {_EIGEN_MEND}")
    with reading(path):
        names = [line.split()[1] for line in read_lines(path)]
    roots = [root for split in ("val", "train") if (root := _truth(folder, split))] or [folder]
    return [_frame(next((root / name for root in roots if (root / name).is_file()), roots[0] / name))
            for name in names if name != "None"]


def _frame(depth: Path) -> Frame:
    return Frame(depth.parts[-5], depth.parts[-2], depth.stem, depth)


def _drives(folder: Path, frames: list[Frame]) -> Listed:
    """Frames of the drives that are on disk: the raw set is 180 GB, and few have all of it."""
    raw = first_folder(*(folder / name for name in ("raw", "kitti_raw", "raw_data"))) or folder
    drives = {drive for drive in {(frame.date, frame.drive) for frame in frames} if raw.joinpath(*drive).is_dir()}
    frames = [frame for frame in frames if (frame.date, frame.drive) in drives]
    return Listed("kitti", some(frames, raw, _MEND), functools.partial(_read_drive, raw))


def _read_drive(raw: Path, frame: Frame) -> Record:
    rgb = read_rgb(raw / frame.date / frame.drive / frame.camera / "data" / f"{frame.number}.png")
    return Record(rgb, f"{frame.drive}/{frame.camera}/{frame.number}", depth=read_metres(frame.depth, _PER_METRE),
                  K=_camera(raw / frame.date / "calib_cam_to_cam.txt", frame.camera), floor=_FLOOR)


def _camera(path: Path, camera: str) -> np.ndarray | None:
    """The line `P_rect_02: ` and 12 numbers, the projection of the rectified image."""
    if not path.is_file():
        return None
    with reading(path):
        rows = dict(line.split(":", 1) for line in read_lines(path) if line)
        P = np.array(rows[camera.replace("image", "P_rect")].split(), np.float64).reshape(3, 4)
        return P[:, :3]
