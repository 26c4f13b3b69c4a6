"""Real frames in a folder of small published samples: depth of NYU, Redwood and KITTI, labels of COCO and VOC.

A few frames each: they show how a model carries over to cameras, not where it stands on a benchmark. Normals are
left out: what can be derived from these sensors' depth is rougher than the errors that it would have to measure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.colors import random_palette
from vbanana_ros.errors import InputError
from vbanana_ros.evaluation.suite import Case, Question, Suite, labelled
from vbanana_ros.images import read_image
from vbanana_ros.results import UNLABELED_8, UNLABELED_16, DepthMap, Detection, Instances
from vbanana_ros.tasks import make_request
from vbanana_ros.tasks.instance import place_color

VOC_CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
               "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor")
VOC_IGNORE = 255


def real_suites(data: Path) -> Iterator[Suite | str]:
    """Each data set of the folder as a suite, or, where it is not there, a line that says so.

    Raises InputError for a data set that is there but cannot be read.
    """
    for name, (folder, read) in DATA_SETS.items():
        if not (data / folder).is_dir():
            yield f"{name}: skipped, no folder {str(data / folder)!r}"
            continue
        try:
            cases = list(read(data / folder))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise InputError(f"{str(data / folder)!r} is not the {name} sample ({error!r}); copy it again") from None
        yield Suite(name, cases, len(cases))


def _depth_frames(folder: Path, colors: str, depths: str, per_metre: float) -> Iterator[Case]:
    """Pictures and uint16 depth of two name patterns, paired in order; 0 is invalid."""
    for rgb, depth in zip(sorted(folder.glob(colors)), sorted(folder.glob(depths)), strict=True):
        raw = cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.dtype != np.uint16:
            raise ValueError(f"{depth.name} is no 16-bit depth")
        metres = np.where(raw > 0, raw / per_metre, np.nan).astype(np.float32)
        truth = DepthMap(metres, np.ones(metres.shape, np.float32))
        yield Case(read_image(rgb), (Question(make_request("depth"), truth),))


def _nyu(folder: Path) -> Iterator[Case]:
    return _depth_frames(folder, "rgb_*.jpg", "sync_depth_*.png", 1000)


def _redwood(folder: Path) -> Iterator[Case]:
    return _depth_frames(folder, "color_*.jpg", "depth_*.png", 1000)


def _kitti(folder: Path) -> Iterator[Case]:
    return _depth_frames(folder, "rgb_*.png", "depth_*.png", 256)


def _coco(folder: Path) -> Iterator[Case]:
    """Panoptic COCO (arXiv 1801.00868): each picture's own classes; pixels without a segment are not evaluated."""
    names = {c["id"]: _spoken(c["name"]) for c in json.loads((folder / "panoptic_coco_categories.json").read_text())}
    for i, note in enumerate(json.loads((folder / "panoptic_examples.json").read_text())["annotations"]):
        stem = note["file_name"].removesuffix(".png")
        ids = read_image(folder / f"panoptic_examples_{stem}.png").astype(np.int64) @ (1, 256, 65536)
        class_of = {s["id"]: names[s["category_id"]] for s in note["segments_info"]}
        classes = tuple(sorted(set(class_of.values())))
        labels = np.full(ids.shape, UNLABELED_8, np.uint8)
        for segment, name in class_of.items():
            labels[ids == segment] = classes.index(name)
        rgb = read_image(folder / f"input_images_{stem}.jpg")
        yield Case(rgb, (labelled("semantic", classes, labels, np.random.default_rng(i), labels != UNLABELED_8),))


def _spoken(name: str) -> str:
    """COCO's `sky-other-merged` as people say it."""
    return name.removesuffix("-merged").removesuffix("-other").removesuffix("-stuff").replace("-", " ")


def _voc(folder: Path) -> Iterator[Case]:
    """PASCAL VOC: classes, instances of each, and of one class that is not there; unsure rims are not evaluated."""
    for i, path in enumerate(sorted(folder.glob("*_class.png"))):
        stem, rng = path.name.removesuffix("_class.png"), np.random.default_rng(i)
        classes = _palette_index(read_image(path))
        objects = _palette_index(read_image(folder / f"{stem}_object.png"))
        known = classes != VOC_IGNORE
        there = [c for c in range(1, len(VOC_CLASSES) + 1) if (classes == c).any()]
        table = np.full(256, UNLABELED_8, np.uint8)
        table[there] = np.arange(len(there))
        asked = [labelled("semantic", tuple(VOC_CLASSES[c - 1] for c in there), table[classes], rng, known)]
        absent = int(rng.choice([c for c in range(1, len(VOC_CLASSES) + 1) if c not in there]))
        asked += [_voc_instances(classes, objects, c, rng) for c in (*there, absent)]
        yield Case(read_image(folder / f"{stem}.jpg"), tuple(asked))


def _voc_instances(classes: np.ndarray, objects: np.ndarray, wanted: int, rng: np.random.Generator) -> Question:
    request = make_request("instance", [VOC_CLASSES[wanted - 1]], background=random_palette(1, rng)[0])
    labels, detections = np.full(classes.shape, UNLABELED_16, np.uint16), []
    for i, object_id in enumerate(np.unique(objects[(classes == wanted) & (objects > 0)])):
        mask = (objects == object_id) & (classes == wanted)
        labels[mask] = i
        box = tuple(float(n) for n in cv2.boundingRect(mask.astype(np.uint8)))
        detections.append(Detection(i, request.labels[0], 1.0, box, int(mask.sum()),
                                    place_color(mask, request.background)))
    truth = Instances(labels, tuple(detections), np.ones(labels.shape, np.float32))
    return Question(request, truth, classes != VOC_IGNORE)


def _palette_index(rgb: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3] of a VOC annotation -> uint8 [H, W], the index in VOC's palette that was drawn.

    Bit k of an index is spread over bit 7 - k // 3 of channel k % 3 (the VOC development kit's colour map).
    """
    index = np.zeros(rgb.shape[:2], np.uint8)
    for bit in range(8):
        index |= (rgb[..., bit % 3] >> (7 - bit // 3) & 1) << bit
    return index


DATA_SETS: dict[str, tuple[str, Callable[[Path], Iterator[Case]]]] = {
    "nyu": ("nyu_metric3d", _nyu), "redwood": ("open3d_redwood", _redwood), "kitti": ("kitti_metric3d", _kitti),
    "coco": ("coco_panopticapi", _coco), "voc": ("voc_labelme", _voc),
}
