"""COCO 2017, panoptic and instances (arXiv 1405.0312, 1801.00868; cocodataset.org).

The folders are those of the downloads: `annotations/panoptic_val2017.json`, `panoptic_val2017/*.png`,
`annotations/instances_val2017.json` and `val2017/*.jpg`; `images/val2017` and `annotations/panoptic_val2017` do too.
The sample of github.com/cocodataset/panopticapi, with its paths flattened to names, is read as split `val`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.records import Listed, Record, RecordSet, Thing
from vbanana_ros.tuning.sets.layout import check_split, find, read_json, read_rgb, reading
from vbanana_ros.tuning.sets.masks import coco_mask

SPLITS = ("train", "val")
SAMPLES = {"panoptic": "panoptic_examples.json", "instances": "panoptic_coco_detection_format.json"}
MEND = "unpack COCO's images and annotations of 2017 side by side (https://cocodataset.org/#download)"
VOID = 0  # the segment id of pixels that nobody labelled
FIRST_STUFF = 91  # category ids below are things; instance files have no `isthing`
SPOKEN = {"wall-brick": "brick wall", "wall-stone": "stone wall", "wall-tile": "tiled wall", "wall-wood": "wooden wall",
          "floor-wood": "wooden floor", "playingfield": "playing field"}


def open_coco_panoptic(folder: Path, split: str) -> RecordSet:
    """Labels of 133 classes, and things of 80; void pixels are unlabelled. split: train or val.

    Raises InputError for what is missing or damaged.
    """
    path, images = _files(folder, split, "panoptic")
    if path.parent == folder:
        pngs = f"{folder}/panoptic_examples_"
    else:
        pngs = f"{find(folder, path.stem, f'annotations/{path.stem}', mend=MEND)}/"
    notes = read_json(path)
    with reading(path):
        classes = _Classes.of(notes["categories"])
        names = {image["id"]: image["file_name"] for image in notes["images"]}
        noted = {names[note["image_id"]]: note for note in notes["annotations"]}
    return Listed("coco_panoptic", sorted(noted), partial(_panoptic, classes, images, pngs, noted))


def open_coco_instances(folder: Path, split: str) -> RecordSet:
    """Things of 80 classes, from polygons and run lengths; an image may have none. split: train or val.

    Raises InputError for what is missing or damaged.
    """
    path, images = _files(folder, split, "instances")
    notes = read_json(path)
    with reading(path):
        classes = _Classes.of(notes["categories"])
        sizes = {image["file_name"]: image for image in notes["images"]}
        noted: dict[int, list[dict]] = {image["id"]: [] for image in notes["images"]}
        for note in notes["annotations"]:
            noted[note["image_id"]].append(note)
    return Listed("coco_instances", sorted(sizes), partial(_instances, classes, images, sizes, noted))


def spoken(name: str) -> str:
    """COCO's `sky-other-merged` as people say it: `sky`."""
    bare = name.removesuffix("-merged").removesuffix("-other").removesuffix("-stuff")
    return SPOKEN.get(bare, bare.replace("-", " "))


def _files(folder: Path, split: str, kind: str) -> tuple[Path, str]:
    """The file of a kind of annotations, and what goes before the file name of an image."""
    check_split(f"coco_{kind}", split, SPLITS)
    if split == "val" and (folder / SAMPLES[kind]).is_file():
        return folder / SAMPLES[kind], f"{folder}/input_images_"
    part = f"{split}2017"
    path = find(folder, f"annotations/{kind}_{part}.json", mend=MEND)
    return path, f"{find(folder, part, f'images/{part}', mend=MEND)}/"


@dataclass(frozen=True)
class _Classes:
    """Names by place, the place of each category id, and which places are things."""

    names: tuple[str, ...]
    place: Mapping[int, int]
    things: frozenset[int]

    @classmethod
    def of(cls, categories: Sequence[dict]) -> _Classes:
        things = {i for i, c in enumerate(categories) if c.get("isthing", c["id"] < FIRST_STUFF)}
        return cls(tuple(spoken(c["name"]) for c in categories), {c["id"]: i for i, c in enumerate(categories)},
                   frozenset(things))

    @property
    def thing_names(self) -> tuple[str, ...]:
        return tuple(self.names[i] for i in sorted(self.things))

    def thing(self, note: dict, mask: np.ndarray) -> Thing:
        return Thing(self.names[self.place[note["category_id"]]], mask, bool(note.get("iscrowd", 0)))

    def is_thing(self, note: dict) -> bool:
        return self.place[note["category_id"]] in self.things


def _panoptic(classes: _Classes, images: str, pngs: str, noted: Mapping[str, dict], name: str) -> Record:
    """A segment's id is its colour, R + 256 G + 65536 B (panopticapi, utils.py: rgb2id)."""
    path = Path(pngs + noted[name]["file_name"])
    segments = {s["id"]: s for s in noted[name]["segments_info"]}
    ids = read_rgb(path).astype(np.int32) @ np.array((1, 1 << 8, 1 << 16), np.int32)
    found, place = np.unique(ids, return_inverse=True)
    if set(found.tolist()) - {VOID} != set(segments):
        raise InputError(f"{str(path)!r} does not have the segments that its JSON lists; copy both again")
    table = [UNLABELED_8 if i == VOID else classes.place[segments[i]["category_id"]] for i in found.tolist()]
    return Record(
        read_rgb(Path(images + name)), Path(name).stem,
        labels=np.array(table, np.uint8)[place].reshape(ids.shape), names=classes.names,
        things=tuple(classes.thing(s, ids == i) for i, s in segments.items() if classes.is_thing(s)),
        thing_names=classes.thing_names)


def _instances(classes: _Classes, images: str, sizes: Mapping[str, Any], noted: Mapping[int, list[dict]],
               name: str) -> Record:
    image = sizes[name]
    things = tuple(classes.thing(note, coco_mask(note["segmentation"], image["height"], image["width"]))
                   for note in noted[image["id"]] if classes.is_thing(note))
    return Record(read_rgb(Path(images + name)), Path(name).stem, things=things, thing_names=classes.thing_names)
