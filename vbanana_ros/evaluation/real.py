"""Real frames in a folder of small published samples: depth of NYU, Redwood and KITTI, labels of COCO and VOC.

A few frames each: they show how a model carries over to cameras, not where it stands on a benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vbanana_ros.evaluation.records import record_suite
from vbanana_ros.evaluation.suite import Suite

# Folder of the sample, and the public set and split that it is a part of.
SAMPLES = {
    "nyu": ("nyu_metric3d", "nyuv2", "test"), "redwood": ("open3d_redwood", "redwood", "test"),
    "kitti": ("kitti_metric3d", "kitti", "test"), "coco": ("coco_panopticapi", "coco_panoptic", "val"),
    "voc": ("voc_labelme", "voc", "val"),
}


def real_suites(data: Path) -> Iterator[Suite | str]:
    """Each sample of the folder as a suite, or, where it is not there, a line that says so.

    Raises InputError for a sample that is there but cannot be read.
    """
    for name, (folder, public, split) in SAMPLES.items():
        if (data / folder).is_dir():
            yield Suite(name, record_suite(public, data / folder, split).cases)
        else:
            yield f"{name}: skipped, no folder {str(data / folder)!r}"
