"""Cityscapes, fine annotations (arXiv 1604.01685; github.com/mcordts/cityscapesScripts, helpers/labels.py).

The folder holds `leftImg8bit/val/CITY/*_leftImg8bit.png` and `gtFine/val/CITY/*_gtFine_labelIds.png` and
`*_gtFine_instanceIds.png`, as the two downloads unpack.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.records import Listed, Record, RecordSet, Thing
from vbanana_ros.tuning.sets.layout import check_split, find, read_ids, read_rgb, stems

SPLITS = ("train", "val")  # what is published of test's truth is void
MEND = "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip side by side (https://www.cityscapes-dataset.com)"
# The 19 classes that are evaluated, by their number in labelIds; every other number is unlabelled.
CLASSES = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
           20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car",
           27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
NAMES = tuple(CLASSES.values())
PLACES = np.full(256, UNLABELED_8, np.uint8)
PLACES[list(CLASSES)] = range(len(CLASSES))
FIRST_THING = 24
PER_CLASS = 1000  # number of a thing in instanceIds: its class times this, plus a count


def open_cityscapes(folder: Path, split: str) -> RecordSet:
    """Labels of 19 classes, and things of 8; a group that nobody told apart is a crowd. split: train or val.

    Raises InputError for what is missing or damaged.
    """
    check_split("cityscapes", split, SPLITS)
    images = find(folder, f"leftImg8bit/{split}", mend=MEND)
    notes = find(folder, f"gtFine/{split}", mend=MEND)
    return Listed("cityscapes", stems(notes, "_gtFine_labelIds.png", MEND), partial(_read, images, notes))


def _read(images: Path, notes: Path, stem: str) -> Record:
    labels = read_ids(notes / f"{stem}_gtFine_labelIds.png", below=len(PLACES))
    numbers = read_ids(notes / f"{stem}_gtFine_instanceIds.png")
    return Record(read_rgb(images / f"{stem}_leftImg8bit.png"), Path(stem).name, labels=PLACES[labels], names=NAMES,
                  things=_things(numbers), thing_names=tuple(n for i, n in CLASSES.items() if i >= FIRST_THING))


def _things(numbers: np.ndarray) -> tuple[Thing, ...]:
    """A number below PER_CLASS is the class itself: of stuff, or of a group of things (json2instanceImg.py)."""
    things = []
    for number in np.unique(numbers).tolist():
        crowd = number < PER_CLASS
        label = number if crowd else number // PER_CLASS
        if label in CLASSES and label >= FIRST_THING:
            things.append(Thing(CLASSES[label], numbers == number, crowd))
    return tuple(things)
