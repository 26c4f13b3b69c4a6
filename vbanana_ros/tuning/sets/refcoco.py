"""RefCOCO, RefCOCO+ (arXiv 1608.00272) and RefCOCOg (arXiv 1511.02283), in the layout of github.com/lichengunc/refer.

The folder holds `refcoco/refs(unc).p`, `refcoco+/refs(unc).p` or `refcocog/refs(umd).p`, `instances.json` beside each,
and COCO's pictures of 2014 in `images/mscoco/images/train2014`, `images/train2014` or `train2014`.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vbanana_ros.tuning.records import Expression, Listed, Record, RecordSet
from vbanana_ros.tuning.sets.layout import check_split, find, read_json, read_rgb, reading
from vbanana_ros.tuning.sets.masks import coco_mask

IMAGES = ("images/mscoco/images/train2014", "images/train2014", "train2014")
MEND = "unpack refcoco.zip, refcoco+.zip or refcocog.zip (https://github.com/lichengunc/refer) beside COCO's train2014"


def open_refcoco(folder: Path, split: str) -> RecordSet:
    """Expressions, several of an object, one record an image. split: train, val, testA or testB.

    Raises InputError for what is missing or damaged.
    """
    return _open(folder, "refcoco", "unc", split)


def open_refcoco_plus(folder: Path, split: str) -> RecordSet:
    """As open_refcoco; the expressions have no words of place."""
    return _open(folder, "refcoco+", "unc", split)


def open_refcocog(folder: Path, split: str) -> RecordSet:
    """As open_refcoco, with longer expressions; the UMD splits, which share no image: train, val or test."""
    return _open(folder, "refcocog", "umd", split)


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, words and numbers, and refuses all else: a pickle from elsewhere can run any code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no plain data")


def _open(folder: Path, name: str, by: str, split: str) -> RecordSet:
    path = find(folder, f"{name}/refs({by}).p", mend=MEND)
    instances = find(folder, f"{name}/instances.json", mend=MEND)
    images = find(folder, *IMAGES, mend=MEND)
    refs = _refs(path, name, split)
    notes = read_json(instances)
    with reading(instances):
        wanted = {ref["ann_id"] for of_image in refs.values() for ref in of_image}
        noted = {note["id"]: note for note in notes["annotations"] if note["id"] in wanted}
        pictures = {image["id"]: image for image in notes["images"] if image["id"] in refs}
    return Listed(name, sorted(refs), partial(_read, images, refs, noted, pictures))


def _refs(path: Path, name: str, split: str) -> dict[int, list[dict]]:
    """The split's references to objects, by image id."""
    by_image: dict[int, list[dict]] = {}
    with reading(path), path.open("rb") as file:
        refs = PlainUnpickler(file, encoding="utf-8").load()  # written by Python 2
        check_split(name, split, sorted({ref["split"] for ref in refs}))
        for ref in refs:
            if ref["split"] == split:
                by_image.setdefault(ref["image_id"], []).append(ref)
    return by_image


def _read(images: Path, refs: Mapping[int, list[dict]], noted: Mapping[int, dict], pictures: Mapping[int, dict],
          image: int) -> Record:
    name, height, width = (pictures[image][key] for key in ("file_name", "height", "width"))
    expressions = []
    for ref in refs[image]:
        mask = coco_mask(noted[ref["ann_id"]]["segmentation"], height, width)
        expressions += [_expression(sentence, mask) for sentence in ref["sentences"]]
    return Record(read_rgb(images / name), Path(name).stem, expressions=tuple(expressions))


def _expression(sentence: dict, mask: np.ndarray) -> Expression:
    return Expression(sentence["sent"].strip(), mask)
