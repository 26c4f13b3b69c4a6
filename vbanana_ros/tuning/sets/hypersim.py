"""Hypersim: rendered rooms with depth, normals, NYU40 classes and instances (Roberts et al., ICCV 2021).

Sources: github.com/apple/ml-hypersim: README.md (layout, axes), issues 9 (distance -> planar depth) and 26 (normals
that face away), code/python/tools/scene_generate_images_tonemap.py, contrib/mikeroberts3000 (tilted cameras).

ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.{depth_meters,normal_cam,semantic,semantic_instance,
render_entity_id}.hdf5 and scene_cam_XX_final_hdf5/frame.IIII.color.hdf5, or, where that is not there,
scene_cam_XX_final_preview/frame.IIII.tonemap.jpg. Two files of the project's repository belong beside the scenes:
metadata_images_split_scene_v1.csv (the splits) and, not needed, metadata_camera_parameters.csv (cameras of the scenes;
without it all have 886.81 pixels of focal length at 1024 x 768, as others take it, which is right for 197 of 482 scenes
and wrong by the tilt of the lens in the others).
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_hdf5
from vbanana_ros.tuning.sets.layout import check_split, read_rgb, reading, some
from vbanana_ros.tuning.sets.nyu40 import NYU40, NYU40_THINGS, labels_of
from vbanana_ros.tuning.sets.optical import FROM_OPENGL, toward_camera, unit_normals
from vbanana_ros.tuning.sets.things import things_of

SPLITS = ("train", "val", "test")
_SPLIT_FILE = "metadata_images_split_scene_v1.csv"
_CAMERA_FILE = "metadata_camera_parameters.csv"
_MEND = f"give the folder with the ai_*_* scenes and {_SPLIT_FILE} of github.com/apple/ml-hypersim"

# Camera axes (OpenGL's) from u, v in -1..1 (v up): 60 degrees wide, 4:3. That is 886.81 pixels at 1024 x 768.
_USUAL = np.diag([np.tan(np.radians(30)), np.tan(np.radians(30)) * 0.75, -1.0])

_GAMMA = 1 / 2.2
_BRIGHT, _BRIGHT_PERCENTILE = 0.8, 90  # a tone-mapped image has this brightness at this percentile
_DARK = 1e-4
_NOTHING = -1  # render_entity_id where no surface is


class Frame(NamedTuple):
    """One image: ai_001_001, cam_00, 0."""

    scene: str
    camera: str
    number: int

    def file(self, folder: Path, kind: str, what: str) -> Path:
        """kind: final_hdf5, final_preview, geometry_hdf5. what: depth_meters.hdf5, ..."""
        return folder / self.scene / "images" / f"scene_{self.camera}_{kind}" / f"frame.{self.number:04d}.{what}"


def open_hypersim(folder: Path, split: str) -> Listed:
    """rgb, depth, normals, labels (NYU40), things, K (None where the lens is tilted). Raises InputError.

    Only frames whose depth is on disk: the set is 1.9 TB, and few have all of it.
    """
    check_split("hypersim", split, SPLITS)
    frames = _on_disk(folder, _frames(folder / _SPLIT_FILE, split))
    some(frames, folder, _MEND)
    return Listed("hypersim", frames, functools.partial(_read, folder, _cameras(folder / _CAMERA_FILE)))


def _frames(path: Path, split: str) -> list[Frame]:
    if not path.is_file():
        raise InputError(f"{str(path)!r} is missing; {_MEND}")
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        return [Frame(row["scene_name"], row["camera_name"], int(row["frame_id"])) for row in csv.DictReader(file)
                if row["split_partition_name"] == split and row["included_in_public_release"] == "True"]


def _on_disk(folder: Path, frames: list[Frame]) -> list[Frame]:
    @functools.cache
    def names(parent: Path) -> frozenset[str]:  # one listing a camera, not one look a frame
        return frozenset(path.name for path in parent.iterdir()) if parent.is_dir() else frozenset()

    paths = [frame.file(folder, "geometry_hdf5", "depth_meters.hdf5") for frame in frames]
    return [frame for frame, path in zip(frames, paths, strict=True) if path.name in names(path.parent)]


def _cameras(path: Path) -> dict[str, np.ndarray]:
    """Scene -> float64 [3, 3], camera axes from u, v; empty without the file."""
    if not path.is_file():
        return {}
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        return {row["scene_name"]: np.array([[float(row[f"M_cam_from_uv_{i}{j}"]) for j in range(3)] for i in range(3)])
                for row in csv.DictReader(file)}


def _read(folder: Path, cameras: dict[str, np.ndarray], frame: Frame) -> Record:
    distance = read_hdf5(frame.file(folder, "geometry_hdf5", "depth_meters.hdf5")).astype(np.float32)
    optical = _optical_from_pixel(cameras.get(frame.scene, _USUAL), *distance.shape)
    rays = _rays(optical, *distance.shape)
    surface = _surface(folder, frame, distance.shape)
    normals = _optional(frame.file(folder, "geometry_hdf5", "normal_cam.hdf5"))
    ids = _optional(frame.file(folder, "geometry_hdf5", "semantic.hdf5"))
    instances = _optional(frame.file(folder, "geometry_hdf5", "semantic_instance.hdf5"))
    labels = None if ids is None else labels_of(ids)
    named = labels is not None and instances is not None
    return Record(
        _picture(folder, frame, surface), f"{frame.scene}/{frame.camera}/{frame.number:04d}",
        depth=planar_depth(np.where(surface, distance, np.float32(np.nan)), rays),
        normals=None if normals is None else toward_camera(unit_normals(normals, FROM_OPENGL), rays),
        labels=labels, names=() if labels is None else NYU40,
        things=things_of(instances, labels, NYU40, NYU40_THINGS) if named else None,
        thing_names=NYU40_THINGS if named else (), K=_intrinsics(optical),
    )


def _optional(path: Path) -> np.ndarray | None:
    return read_hdf5(path) if path.is_file() else None


def _surface(folder: Path, frame: Frame, shape: tuple[int, ...]) -> np.ndarray:
    """bool [H, W]: where something was rendered."""
    entities = _optional(frame.file(folder, "geometry_hdf5", "render_entity_id.hdf5"))
    return np.ones(shape, bool) if entities is None else entities != _NOTHING


def _picture(folder: Path, frame: Frame, surface: np.ndarray) -> np.ndarray:
    color = frame.file(folder, "final_hdf5", "color.hdf5")
    # The authors advise against the previews; they are JPEGs of the same tone mapping.
    return tone_map(read_hdf5(color), surface) if color.is_file() else read_rgb(
        frame.file(folder, "final_preview", "tonemap.jpg"))


def tone_map(color: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Linear radiance, float [H, W, 3] -> uint8, as the authors map it; surface: bool [H, W], pixels that count."""
    color = np.nan_to_num(color.astype(np.float32), posinf=0, neginf=0)
    scale = 1.0
    if surface.any():
        bright = np.percentile((color @ np.float32([0.3, 0.59, 0.11]))[surface], _BRIGHT_PERCENTILE)
        scale = 0.0 if bright < _DARK else _BRIGHT ** (1 / _GAMMA) / bright
    return (np.power(np.maximum(scale * color, 0), _GAMMA).clip(0, 1) * 255).astype(np.uint8)


def planar_depth(distance: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Distance from the lens along the ray, float32 [H, W] -> along the optical axis; NaN where there is none."""
    known = np.isfinite(distance) & (distance > 0)
    return np.where(known, distance * rays[..., 2] / np.linalg.norm(rays, axis=-1), np.float32(np.nan))


def _optical_from_pixel(camera_from_uv: np.ndarray, height: int, width: int) -> np.ndarray:
    """float64 [3, 3]: (column, row, 1) -> where that pixel looks, optical frame, of any length."""
    uv_from_pixel = np.array([[2 / width, 0, 1 / width - 1], [0, -2 / height, 1 - 1 / height], [0, 0, 1]])
    return FROM_OPENGL @ camera_from_uv @ uv_from_pixel


def _rays(optical: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    return (np.stack((cols, rows, np.ones_like(rows)), -1) @ optical.T).astype(np.float32)


def _intrinsics(optical: np.ndarray) -> np.ndarray | None:
    K = np.linalg.inv(optical)
    K /= K[2, 2]
    return K if np.allclose(K[2], (0, 0, 1), atol=1e-9) else None  # a tilted lens has no pinhole matrix
