"""Maps of instance ids -> things with names."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.records import Thing


def things_of(ids: np.ndarray, labels: np.ndarray, names: tuple[str, ...],
              wanted: Collection[str]) -> tuple[Thing, ...]:
    """One Thing for each id, of the class that most of its pixels have.

    ids: int [H, W], below 1 where nothing is. labels: uint8 [H, W], index in names or UNLABELED_8.
    wanted: classes whose instances the set tells apart; the others are left out.
    """
    things = []
    for i in np.unique(ids[ids > 0]):
        mask = ids == i
        label = int(np.bincount(labels[mask], minlength=UNLABELED_8 + 1).argmax())
        if label != UNLABELED_8 and names[label] in wanted:
            things.append(Thing(names[label], mask))
    return tuple(things)
