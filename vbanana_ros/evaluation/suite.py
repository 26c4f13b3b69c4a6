"""What an evaluation is: frames with questions whose answers are known, asked as the product asks them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vbanana_ros.colors import random_palette
from vbanana_ros.evaluation.metrics import DepthScore, InstanceScore, LabelScore, NormalScore, ReferringScore
from vbanana_ros.generators.base import Generator
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.results import LabelMap, Result
from vbanana_ros.tasks import Request, make_request

TASKS = ("depth", "normals", "semantic", "referring", "instance")


@dataclass(frozen=True)
class Question:
    """A request about a frame and its true answer, on the frame's pixel grid.

    known: bool [H, W], False on pixels that are not evaluated; None: all are. Depth and normals say it by NaN.
    """

    request: Request
    truth: Result
    known: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """A frame, uint8 RGB [H, W, 3], and all that is asked of it, in one batch."""

    rgb: np.ndarray
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Suite:
    """A named list of cases; cases may be made one by one as they are asked for, so their number is said."""

    name: str
    cases: Iterable[Case]
    count: int


@dataclass
class Scores:
    """The accumulators of a suite, one a task, and how many frames and requests went in."""

    depth: DepthScore = field(default_factory=DepthScore)
    normals: NormalScore = field(default_factory=NormalScore)
    semantic: LabelScore = field(default_factory=LabelScore)
    referring: ReferringScore = field(default_factory=ReferringScore)
    instance: InstanceScore = field(default_factory=InstanceScore)
    frames: int = 0
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TASKS, 0))

    def add(self, question: Question, result: Result) -> None:
        """Score one answer."""
        task, truth, known = question.request.task, question.truth, question.known
        self.asked[task] += 1
        if task == "depth":
            self.depth.add(result.depth, truth.depth)
        elif task == "normals":
            self.normals.add(result.normals, truth.normals)
        elif task == "semantic":
            self.semantic.add(result.labels, truth.labels, truth.names, known)
        elif task == "referring":
            self.referring.add(result.labels, truth.labels, len(truth.names), known)
        else:
            self.instance.add(result.labels, truth.labels, known)

    def value(self) -> dict[str, dict[str, float]]:
        """The metrics of each task that was asked for: shares in 0..1, angles in degrees."""
        return {task: getattr(self, task).value() for task in TASKS if self.asked[task]}

    def record(self) -> dict:
        """What goes into the JSON file: value(), the IoU of each class, and the numbers of frames and requests."""
        tasks = {task: {k: None if math.isnan(v) else v for k, v in values.items()} | {"requests": self.asked[task]}
                 for task, values in self.value().items()}
        if "semantic" in tasks:
            tasks["semantic"]["classes"] = self.semantic.classes()
        return {"frames": self.frames, **tasks}


def labelled(task: str, names: tuple[str, ...], labels: np.ndarray, rng: np.random.Generator,
             known: np.ndarray | None = None) -> Question:
    """A semantic or referring question in random colours; labels: uint8 [H, W], index in names, or UNLABELED_8."""
    *colors, background = random_palette(len(names) + 1, rng)
    request = make_request(task, names, colors, background)
    return Question(request, LabelMap(labels, request.labels, request.colors, np.ones(labels.shape, np.float32)), known)


def evaluate(generator: Generator, cases: Iterable[Case]) -> Scores:
    """Ask a generator every question, through Perception and its decoders, and score the answers."""
    scores = Scores()
    for case in cases:
        perceived = Perception(generator, [q.request for q in case.questions])(Frame(case.rgb))
        for question, answer in zip(case.questions, perceived.answers, strict=True):
            scores.add(question, answer.result)
        scores.frames += 1
    return scores
