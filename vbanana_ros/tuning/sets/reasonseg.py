"""ReasonSeg, questions whose answer is a part of the image (arXiv 2308.00692; github.com/dvlab-research/LISA).

The folder is `ReasonSeg`: `val/*.jpg`, and by the same stem a `*.json` of texts and polygons.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Expression, Listed, Record, RecordSet
from vbanana_ros.tuning.sets.layout import check_split, find, read_json, read_rgb, reading, stems

SPLITS = ("train", "val", "test")
MEND = "download ReasonSeg (https://github.com/dvlab-research/LISA) and give the folder of its train, val and test"
TARGET, IGNORE = 1, 2


def open_reasonseg(folder: Path, split: str) -> RecordSet:
    """One record an image: in train all its texts, in val and test the first, which is the one that LISA evaluates.

    split: train, val or test. Raises InputError for what is missing or damaged.
    """
    check_split("reasonseg", split, SPLITS)
    root = find(folder, split, mend=MEND)
    return Listed("reasonseg", stems(root, ".json", MEND), partial(_read, root, None if split == "train" else 1))


def _read(root: Path, most: int | None, stem: str) -> Record:
    rgb = read_rgb(root / f"{stem}.jpg")
    path = root / f"{stem}.json"
    note = _note(path)
    with reading(path):
        painted = _paint(note["shapes"], *rgb.shape[:2])
        texts = [text.strip() for text in note["text"][:most]]
    mask, unknown = painted == TARGET, painted == IGNORE
    return Record(rgb, stem, expressions=tuple(Expression(text, mask, unknown) for text in texts))


def _note(path: Path) -> Any:
    """Some of the files are of Windows' code page 1252."""
    try:
        return read_json(path)
    except InputError:
        return read_json(path, "cp1252")


def _paint(shapes: list[dict], height: int, width: int) -> np.ndarray:
    """Polygons -> uint8 [height, width], the smaller over the larger (LISA, utils/data_processing.py).

    An outline belongs to its polygon. Shapes labelled `flag` are left over from the annotation and mean nothing.
    """
    masks = []
    for shape in shapes:
        label, corners = shape["label"].lower(), np.array([shape["points"]]).astype(np.int32)
        if label != "flag":
            mask = np.zeros((height, width), np.uint8)
            cv2.polylines(mask, corners, True, 1, 1)
            cv2.fillPoly(mask, corners, 1)
            masks.append((mask > 0, IGNORE if "ignore" in label else TARGET))
    painted = np.zeros((height, width), np.uint8)
    for mask, value in sorted(masks, key=lambda m: m[0].sum(), reverse=True):
        painted[mask] = value
    return painted
