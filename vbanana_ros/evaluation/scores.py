"""The figures of a frame, or of many: one accumulator a task."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from vbanana_ros.evaluation.metrics import (
    DepthScore,
    InstanceScore,
    LabelScore,
    NormalScore,
    PictureScore,
    ReferringScore,
    Tally,
    aligned,
)
from vbanana_ros.evaluation.suite import Question
from vbanana_ros.results import Result

# Of each kind of figures the one, the higher the better, that frames are ranked by. Silence counts in all of them.
HEADLINES = {"depth": "delta1", "depth_aligned": "delta1", "normals": "within_11.25", "semantic": "miou",
             "referring": "giou", "instance": "pq", "picture": "objects"}


@dataclass
class Scores(Tally):
    """The accumulators of some frames, by kind: the tasks, depth after scale and shift were fitted, painted pictures.

    asked: requests, by kind. skipped: what was wrong with frames that could not be read.
    """

    depth: DepthScore = field(default_factory=DepthScore)
    depth_aligned: DepthScore = field(default_factory=DepthScore)
    normals: NormalScore = field(default_factory=NormalScore)
    semantic: LabelScore = field(default_factory=LabelScore)
    referring: ReferringScore = field(default_factory=ReferringScore)
    instance: InstanceScore = field(default_factory=InstanceScore)
    picture: PictureScore = field(default_factory=PictureScore)
    frames: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    def add(self, question: Question, result: Result, align: bool = False) -> None:
        """Score one answer; align: depth also as if it were relative, which a relative depth always is."""
        task, truth, known = question.kind, question.truth, question.known
        if task == "depth":
            return self._add_depth(result, truth, align)
        self.asked[task] += 1
        if task == "normals":
            self.normals.add(result.normals, truth.normals)
        elif task == "semantic":
            self.semantic.add(result.labels, truth.labels, truth.names, known)
        elif task == "referring":
            self.referring.add(result.labels, truth.labels, len(truth.names), known)
        elif task == "picture":
            self.picture.add(result.labels, truth.labels, truth.own)
        else:
            self.instance.add(result.labels, truth.labels, known, *question.request.labels)

    def _add_depth(self, result: Result, truth: Result, align: bool) -> None:
        if result.metric:
            self.asked["depth"] += 1
            self.depth.add(result.depth, truth.depth)
        if align or not result.metric:
            self.asked["depth_aligned"] += 1
            self.depth_aligned.add(aligned(result.depth, truth.depth, result.inverse), truth.depth)

    def value(self) -> dict[str, dict[str, float]]:
        """The metrics of each kind that was asked for: shares in 0..1, angles in degrees."""
        return {kind: getattr(self, kind).value() for kind in HEADLINES if self.asked[kind]}

    def record(self) -> dict:
        """What goes into the JSON file: value(), the IoU of each class, the numbers of frames and requests."""
        kinds = {kind: {k: None if math.isnan(v) else v for k, v in values.items()} | {"requests": self.asked[kind]}
                 for kind, values in self.value().items()}
        if "semantic" in kinds:
            kinds["semantic"]["classes"] = self.semantic.classes()
        return {"frames": self.frames, "skipped": self.skipped, **kinds}
