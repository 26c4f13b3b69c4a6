"""ADE20K, the 150 classes of the scene parsing challenge (github.com/CSAILVision/sceneparsing, objectInfo150.txt).

The folder is `ADEChallengeData2016`: `images/validation/*.jpg` and `annotations/validation/*.png`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.records import Listed, Record, RecordSet
from vbanana_ros.tuning.sets.layout import check_split, find, read_ids, read_rgb, stems

SPLITS = {"train": "training", "val": "validation"}
MEND = "unpack ADEChallengeData2016.zip (http://sceneparsing.csail.mit.edu) and give its folder"
# Class 1 first; of the synonyms of each the one that people say ("window" for "windowpane").
NAMES = tuple(name.strip() for name in """
    wall, building, sky, floor, tree, ceiling, road, bed, window, grass,
    cabinet, sidewalk, person, earth, door, table, mountain, plant, curtain, chair,
    car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
    armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion,
    pedestal, box, column, sign, chest of drawers, counter, sand, sink, skyscraper, fireplace,
    refrigerator, grandstand, path, stairs, runway, display case, pool table, pillow, screen door, staircase,
    river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench,
    countertop, stove, palm tree, kitchen island, computer, swivel chair, boat, bar, arcade machine, hut,
    bus, towel, light, truck, tower, chandelier, awning, street lamp, booth, television,
    airplane, dirt track, clothes, pole, land, banister, escalator, ottoman, bottle, sideboard,
    poster, stage, van, ship, fountain, conveyor belt, canopy, washing machine, toy, swimming pool,
    stool, barrel, basket, waterfall, tent, bag, motorbike, cradle, oven, ball,
    food, step, storage tank, brand name, microwave, flowerpot, animal, bicycle, lake, dishwasher,
    projection screen, blanket, sculpture, exhaust hood, sconce, vase, traffic light, tray, trash can, fan,
    pier, crt screen, plate, monitor, bulletin board, shower, radiator, drinking glass, clock, flag
    """.split(","))
PLACES = np.array([UNLABELED_8, *range(len(NAMES))], np.uint8)  # by number in the PNGs; 0 is something else


def open_ade20k(folder: Path, split: str) -> RecordSet:
    """Labels of 150 classes; what is of none of them is unlabelled. split: train or val.

    Raises InputError for what is missing or damaged.
    """
    check_split("ade20k", split, tuple(SPLITS))
    images = find(folder, f"images/{SPLITS[split]}", mend=MEND)
    notes = find(folder, f"annotations/{SPLITS[split]}", mend=MEND)
    return Listed("ade20k", stems(notes, ".png", MEND), partial(_read, images, notes))


def _read(images: Path, notes: Path, stem: str) -> Record:
    ids = read_ids(notes / f"{stem}.png", below=len(PLACES))
    return Record(read_rgb(images / f"{stem}.jpg"), stem, labels=PLACES[ids], names=NAMES)
