"""ETH3D, the high-resolution multi-view scenes: 24-megapixel images with a laser scanner's depth (Schoeps et al., CVPR
2017). Their ground truth is public, so they are for testing and training alike; people test on all of it.

Sources: www.eth3d.net/documentation (formats), github.com/ETH3D/camera-model-implementations (where pixels count from).

SCENE/images/dslr_images/DSC_N.JPG, SCENE/ground_truth_depth/dslr_images/DSC_N.JPG (float32, row by row, no heading;
+inf not known) and SCENE/dslr_calibration_jpg/{cameras,images}.txt of COLMAP. The images are distorted, and K is that
of the middle of the lens (THIN_PRISM_FISHEYE): good for a focal length, not for rays at the rim.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.layout import check_split, read_lines, read_rgb, reading, some
from vbanana_ros.tuning.sets.optical import intrinsics

SPLITS = ("test",)
_MEND = ("give the folder in which multi_view_training_dslr_jpg.7z and the scenes' _dslr_depth.7z of www.eth3d.net "
         "were unpacked, SCENE/images and SCENE/ground_truth_depth")
_TRUTH = "ground_truth_depth/dslr_images"


def open_eth3d(folder: Path, split: str) -> Listed:
    """rgb, depth, and K where the calibration is there. Raises InputError."""
    check_split("eth3d", split, SPLITS)
    # The truth is listed, not the images: a few of those have none.
    keys = [(path.parents[2].name, path.name) for path in sorted(folder.glob(f"*/{_TRUTH}/*.JPG"))]
    return Listed("eth3d", some(keys, folder, _MEND), functools.partial(_read, folder))


def _read(folder: Path, key: tuple[str, str]) -> Record:
    scene, name = key
    rgb = read_rgb(folder / scene / "images" / "dslr_images" / name)
    return Record(rgb, f"{scene}/{Path(name).stem}", depth=_depth(folder / scene / _TRUTH / name, rgb.shape[:2]),
                  K=_cameras(folder / scene / "dslr_calibration_jpg").get(name))


def _depth(path: Path, shape: tuple[int, int]) -> np.ndarray:
    with reading(path):
        depth = np.fromfile(path, "<f4")
    if depth.size != shape[0] * shape[1] or path.stat().st_size != 4 * depth.size:
        raise InputError(f"{str(path)!r} is {path.stat().st_size} bytes, not 4 for each of the {shape[1]}x{shape[0]} "
                         "pixels of its image; copy it again")
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan)).reshape(shape)


@functools.lru_cache(maxsize=32)
def _cameras(folder: Path) -> dict[str, np.ndarray]:
    """Name of an image -> K; empty without a calibration."""
    if not folder.is_dir():
        return {}
    with reading(folder / "cameras.txt"):
        cameras = dict(map(_camera, _said(folder / "cameras.txt")))
    with reading(folder / "images.txt"):
        # IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME; the points that follow an image have no name.
        images = [fields for fields in map(str.split, _said(folder / "images.txt")) if _is_image(fields)]
        return {Path(fields[9]).name: cameras[fields[8]] for fields in images}


def _said(path: Path) -> list[str]:
    return [line for line in read_lines(path) if line and not line.startswith("#")]


def _is_image(fields: list[str]) -> bool:
    return len(fields) == 10 and Path(fields[9]).suffix != "" and not fields[9].replace(".", "").lstrip("-").isdigit()


def _camera(line: str) -> tuple[str, np.ndarray]:
    """CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy ... -> id, K. COLMAP's first pixel has its centre at 0.5."""
    key, model, _, _, *parameters = line.split()
    if model not in ("PINHOLE", "THIN_PRISM_FISHEYE"):
        raise ValueError(f"camera model {model}")
    fx, fy, cx, cy = map(float, parameters[:4])
    return key, intrinsics(fx, fy, cx - 0.5, cy - 0.5)
