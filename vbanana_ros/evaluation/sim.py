"""The `sim` suite: simulated scenes that training never saw, with exact answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vbanana_ros.evaluation.records import MOST_EXPRESSIONS, instance_question
from vbanana_ros.evaluation.suite import Case, Question, labelled
from vbanana_ros.results import DepthMap, NormalMap
from vbanana_ros.sim import Renderer, make_scene
from vbanana_ros.sim.expressions import VISIBLE_SHARE
from vbanana_ros.tasks import make_request
from vbanana_ros.tasks.instance import PAPER
from vbanana_ros.tuning.examples import choose_classes, choose_expressions, expression_labels
from vbanana_ros.tuning.records import Record
from vbanana_ros.tuning.scenes import record_of

FIRST_SEED = 9_000_000  # training keeps below 1 000 000
SCENES = 500
MOST_CLASSES = 12
ABSENT_SHARE = 0.3  # of the frames are also asked for instances of a class that is not there


@dataclass(frozen=True)
class SimCases(Sequence[Case]):
    """One view of each of count held-out scenes, drawn when it is asked for, and the same each time."""

    renderer: Renderer
    count: int = SCENES

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Case:
        if not 0 <= place < self.count:
            raise IndexError(place)
        scene = make_scene(FIRST_SEED + place)
        record = record_of(self.renderer.render(scene, scene.cameras(1)[0]), f"scene {FIRST_SEED + place}")
        return Case(record.rgb, tuple(questions(record, np.random.default_rng((FIRST_SEED + place, 2)))), record.name,
                    record.K, record.floor)


def questions(record: Record, rng: np.random.Generator) -> Iterator[Question]:
    """Depth, normals, some classes, some expressions, a class that is there and, at times, one that is not."""
    sure = np.ones(record.rgb.shape[:2], np.float32)
    yield Question(make_request("depth"), DepthMap(record.depth, sure))
    yield Question(make_request("normals"), NormalMap(record.normals, sure))
    yield labelled("semantic", *choose_classes(record, rng, MOST_CLASSES), rng)
    if record.expressions:
        texts, labels, known = expression_labels(choose_expressions(record, rng, MOST_EXPRESSIONS))
        yield labelled("referring", texts, labels, rng, known)
    seen = {thing.name for thing in record.things if thing.mask.mean() >= VISIBLE_SHARE}
    if seen:
        yield _instance(record, str(rng.choice(sorted(seen))), rng)
    absent = sorted({*record.thing_names} - {thing.name for thing in record.things})
    if absent and rng.random() < ABSENT_SHARE:
        yield _instance(record, str(rng.choice(absent)), rng)


def _instance(record: Record, name: str, rng: np.random.Generator) -> Question:
    """All instances of a class but those too small for the paper's decoder, which are not evaluated."""
    question = instance_question(record, name, rng)
    labels = question.truth.labels
    small = [d.id for d in question.truth.detections if d.area < PAPER.min_area * labels.size]
    return replace(question, known=question.known & ~np.isin(labels, small))
