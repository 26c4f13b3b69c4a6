"""The 40 classes that indoor sets agree on, as Gupta et al. (CVPR 2013) made them from NYUv2's 894 names."""

from __future__ import annotations

import numpy as np

from vbanana_ros.results import UNLABELED_8

# In the order of the ids, which count from 1; spelled as people say them.
NYU40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture", "other prop",
)

# What has no instances, or no name that anybody would ask for.
_NO_THINGS = ("wall", "floor", "ceiling", "other structure", "other furniture", "other prop")
NYU40_THINGS = tuple(name for name in NYU40 if name not in _NO_THINGS)


def labels_of(ids: np.ndarray) -> np.ndarray:
    """Ids 1..40 of any integer type [H, W] -> uint8 index in NYU40; UNLABELED_8 for every other number."""
    return np.where((ids >= 1) & (ids <= len(NYU40)), ids - 1, UNLABELED_8).astype(np.uint8)
