"""PASCAL VOC 2012 segmentation (host.robots.ox.ac.uk/pascal/VOC/voc2012; the development kit's class order).

The folder is `VOC2012`, or one that holds it: `ImageSets/Segmentation/val.txt`, `JPEGImages/*.jpg`,
`SegmentationClass/*.png`, `SegmentationObject/*.png`. A flat folder of ID.jpg, ID_class.png and ID_object.png, as
github.com/wkentaro/labelme writes them, is read as split `val`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from vbanana_ros.tuning.records import BACKGROUND, Listed, Record, RecordSet
from vbanana_ros.tuning.sets.layout import check_split, find, read_ids, read_lines, read_rgb, reading, stems
from vbanana_ros.tuning.sets.things import things_of

SPLITS = ("train", "val", "trainval")
# By number in the PNGs. The background is a class of the benchmark: none of the others.
NAMES = (BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
         "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor")
VOID = 255  # the unsure rims of objects and what is too hard: UNLABELED_8 as it is
MEND = "unpack VOCtrainval_11-May-2012.tar and give its VOCdevkit/VOC2012"
TREE = ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "SegmentationObject/{}.png")
FLAT = ("{}.jpg", "{}_class.png", "{}_object.png")


def open_voc(folder: Path, split: str) -> RecordSet:
    """Labels of 21 classes, the background among them, and things of 20; void pixels are unlabelled.

    split: train, val or trainval. Raises InputError for what is missing or damaged.
    """
    check_split("voc", split, SPLITS)
    if split == "val" and any(folder.glob("*_class.png")):
        return Listed("voc", stems(folder, "_class.png", MEND), partial(_read, folder, FLAT))
    file = f"ImageSets/Segmentation/{split}.txt"
    listed = find(folder, file, f"VOC2012/{file}", f"VOCdevkit/VOC2012/{file}", mend=MEND)
    root = listed.parents[2]
    for form in TREE:
        find(root, Path(form).parent.name, mend=MEND)
    return Listed("voc", read_lines(listed), partial(_read, root, TREE))


def _read(root: Path, forms: tuple[str, str, str], stem: str) -> Record:
    picture, classes, objects = (root / form.format(stem) for form in forms)
    labels, ids = read_ids(classes, below=VOID + 1).astype(np.uint8), read_ids(objects, below=VOID + 1)
    ids[ids == VOID] = 0
    with reading(objects):
        things = things_of(ids, labels, NAMES, NAMES[1:])
        if ids.shape != labels.shape or len(things) < np.unique(ids[ids > 0]).size:
            raise ValueError("an object is of no class, or the size is another")
    return Record(read_rgb(picture), stem, labels=labels, names=NAMES, things=things, thing_names=NAMES[1:])
