"""Virtual KITTI 2: rendered drives with depth, classes and vehicles (Cabon et al., 2020; version 2.0.3).

Sources: the set's page at europe.naverlabs.com ("Proxy Virtual Worlds") for formats, github.com/YvanYin/Metric3D for
the class colours, github.com/prs-eth/Marigold (data_split/vkitti_depth) for the split: Scene01 validates.

[vkitti_2.0.3_]{rgb,depth,classSegmentation,instanceSegmentation}/SceneNN/VARIATION/frames/{rgb,depth,...}/Camera_C/
{rgb_F.jpg,depth_F.png,classgt_F.png,instancegt_F.png} and [vkitti_2.0.3_]textgt/SceneNN/VARIATION/intrinsic.txt, or all
archives merged into one tree. Depth is uint16 centimetres along the optical axis; 655.35 m is the sky.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.records import Listed, Record
from vbanana_ros.tuning.sets.arrays import read_metres
from vbanana_ros.tuning.sets.layout import check_split, first_folder, read_ids, read_lines, read_rgb, reading, some
from vbanana_ros.tuning.sets.optical import intrinsics
from vbanana_ros.tuning.sets.things import things_of

SPLITS = {"train": ("Scene02", "Scene06", "Scene18", "Scene20"), "val": ("Scene01",)}
_MEND = "give the folder in which the archives vkitti_2.0.3_rgb, _depth, ... were unpacked"
_SKY = 655.35

# Undefined is black and has no name.
_COLORS = {
    "terrain": (210, 0, 200), "sky": (90, 200, 255), "tree": (0, 199, 0), "vegetation": (90, 240, 0),
    "building": (140, 140, 140), "road": (100, 60, 100), "guard rail": (250, 100, 255), "traffic sign": (255, 255, 0),
    "traffic light": (200, 200, 0), "pole": (255, 130, 0), "other object": (80, 80, 80), "truck": (160, 60, 60),
    "car": (255, 127, 80), "van": (0, 139, 139),
}
NAMES = tuple(_COLORS)
THINGS = ("truck", "car", "van")


class Frame(NamedTuple):
    """One image: Scene01, clone, Camera_0, 00000."""

    scene: str
    variation: str
    camera: str
    number: str

    def file(self, folder: Path, part: str, name: str) -> Path:
        """part: the archive, rgb, depth, ...; name: rgb_{}.jpg, ..."""
        return (_root(folder, part) / self.scene / self.variation / "frames" / part / self.camera
                / name.format(self.number))


def open_vkitti2(folder: Path, split: str) -> Listed:
    """rgb, depth; K, labels and things where textgt, classSegmentation, instanceSegmentation are. Raises InputError."""
    check_split("vkitti2", split, tuple(SPLITS))
    frames = some([frame for scene in SPLITS[split] for frame in _frames(folder, scene)], folder, _MEND)
    return Listed("vkitti2", frames, functools.partial(_read, folder))


def _root(folder: Path, part: str) -> Path:
    return first_folder(folder / f"vkitti_2.0.3_{part}", folder / part) or folder


def _frames(folder: Path, scene: str) -> list[Frame]:
    paths = sorted((_root(folder, "rgb") / scene).glob("*/frames/rgb/Camera_*/rgb_*.jpg"))
    return [Frame(scene, path.parts[-5], path.parts[-2], path.stem.removeprefix("rgb_")) for path in paths]


def _read(folder: Path, frame: Frame) -> Record:
    depth = read_metres(frame.file(folder, "depth", "depth_{}.png"), 100)
    depth[depth >= np.float32(_SKY)] = np.inf
    labels = _labels(frame.file(folder, "classSegmentation", "classgt_{}.png"))
    instances = frame.file(folder, "instanceSegmentation", "instancegt_{}.png")
    named = labels is not None and instances.is_file()
    return Record(
        read_rgb(frame.file(folder, "rgb", "rgb_{}.jpg")), "/".join(frame), depth=depth,
        labels=labels, names=() if labels is None else NAMES,
        # A pixel is the number of a vehicle's track plus 1; 0 is everything else.
        things=things_of(read_ids(instances), labels, NAMES, THINGS) if named else None,
        thing_names=THINGS if named else (),
        K=_camera(_root(folder, "textgt") / frame.scene / frame.variation / "intrinsic.txt", frame),
    )


def _labels(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    code = read_rgb(path) @ np.array([1 << 16, 1 << 8, 1])
    labels = np.full(code.shape, UNLABELED_8, np.uint8)
    for i, (r, g, b) in enumerate(_COLORS.values()):
        labels[code == (r << 16 | g << 8 | b)] = i
    return labels


def _camera(path: Path, frame: Frame) -> np.ndarray | None:
    """Lines `frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]` below a heading."""
    if not path.is_file():
        return None
    key = (int(frame.number), int(frame.camera.removeprefix("Camera_")))
    with reading(path):
        rows = {(int(number), int(camera)): values
                for number, camera, *values in map(str.split, read_lines(path)[1:])}
        return intrinsics(*map(float, rows[key]))
