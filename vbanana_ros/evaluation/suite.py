"""What an evaluation asks: frames with questions whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vbanana_ros.colors import random_palette
from vbanana_ros.results import LabelMap, Result
from vbanana_ros.tasks import Request, make_request


@dataclass(frozen=True)
class Wish:
    """What a painted picture is searched for: places in the request's labels.

    own: whether the picture was to show them; else it was painted from another prompt.
    """

    labels: tuple[int, ...]
    own: bool


@dataclass(frozen=True)
class Question:
    """A request about a frame and its true answer, on the frame's pixel grid, or what is to be found in a picture.

    known: bool [H, W], False on pixels that are not evaluated; None: all are. Depth and normals say it by NaN.
    """

    request: Request
    truth: Result | Wish
    known: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """The task whose figures the answer counts for."""
        return "picture" if isinstance(self.truth, Wish) else self.request.task


@dataclass(frozen=True)
class Case:
    """A frame, uint8 RGB [H, W, 3], and all that is asked of it, in one batch; name: of the frame, for people.

    K: float64 [3, 3], pixels, of its camera, and floor: float64 [3], 1/metres, see `Frame`; None where it is not known.
    """

    rgb: np.ndarray
    questions: tuple[Question, ...]
    name: str = ""
    K: np.ndarray | None = None
    floor: np.ndarray | None = None


@dataclass(frozen=True)
class Suite:
    """Named cases. They may be made when they are asked for, the same each time; InputError where one is damaged."""

    name: str
    cases: Sequence[Case]


def labelled(task: str, names: tuple[str, ...], labels: np.ndarray, rng: np.random.Generator,
             known: np.ndarray | None = None) -> Question:
    """A semantic or referring question in random colours; labels: uint8 [H, W], index in names, or UNLABELED_8."""
    *colors, background = random_palette(len(names) + 1, rng)
    request = make_request(task, names, colors, background)
    return Question(request, LabelMap(labels, request.labels, request.colors, np.ones(labels.shape, np.float32)), known)
