"""A short quiz for a student: held-out examples, scored as the evaluation scores them, and pictured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.evaluation.scores import HEADLINES, Scores
from vbanana_ros.evaluation.suite import Question
from vbanana_ros.files import write_bytes
from vbanana_ros.generators.base import Generator
from vbanana_ros.places import places_alike
from vbanana_ros.results import DepthMap, NormalMap
from vbanana_ros.tasks import TASKS, Task
from vbanana_ros.tuning.batches import Batches, any_prompt, reads
from vbanana_ros.tuning.examples import Example, make_example
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.records import Record

RECORDS = 32
PICTURED = 3  # examples of a task in the picture


@dataclass(frozen=True)
class Quiz:
    """Records, each with prompts about its image whose answers are known; tasks: as the model speaks them."""

    asked: Sequence[tuple[Record, Sequence[Example]]]
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS)

    @classmethod
    def of_held_out(cls, mixture: Mixture, most_classes: int, tasks: Mapping[str, Task] = TASKS,
                    check: Callable[[str], None] = any_prompt) -> Quiz:
        """RECORDS of the mixture's held-out set, evenly spread, asked every task that they know; always the same.

        check: raises InputError for a prompt that the student does not read; it is not asked.
        """
        held, asked = mixture.held, []
        for place in range(min(RECORDS, len(held)) if held else 0):
            record, rng = held[place * len(held) // min(RECORDS, len(held))], np.random.default_rng(place)
            examples = [make_example(task, record, rng, most_classes, tasks) for task in mixture.tasks]
            asked.append((record, [e for e in examples if e and e.valid.any() and reads(check, e, [])]))
        return cls(asked, tasks)

    @classmethod
    def of_batches(cls, batches: Batches, count: int) -> Quiz:
        """What the first batches of a run ask."""
        asked = []
        for drawn, _ in map(batches.draw, range(count)):
            asked += [(record, [e for e, owner in zip(drawn.examples, drawn.owners, strict=True) if owner == i])
                      for i, record in enumerate(drawn.records)]
        return cls(asked, batches.tasks)

    def paint(self, generator: Generator) -> list[list[np.ndarray]]:
        """The generator's answers, float32 RGB [h, w, 3]: for each image one a prompt."""
        steps = generator.capabilities.steps
        return [list(generator.generate(generator.encode_image(record.rgb, record.K),
                                        generator.encode_prompts([e.prompt for e in asked]), steps))
                for record, asked in self.asked]

    def scores(self, painted: Sequence[Sequence[np.ndarray]]) -> Scores:
        """The evaluation's figures of what was painted."""
        scores = Scores(frames=len(self.asked))
        for (record, asked), answers in zip(self.asked, painted, strict=True):
            places = cache(partial(places_alike, record.rgb))  # once an image, as in use
            for example, answer in zip(asked, answers, strict=True):
                result = self.tasks[example.request.task].decode(answer, example.request)
                result = result.resize(*record.rgb.shape[:2], places(*answer.shape[:2]))
                scores.add(_question(example), result)
        return scores

    def picture(self, painted: Sequence[Sequence[np.ndarray]], path: Path) -> np.ndarray:
        """Write some examples as a PNG, one a row: image, true answer, painted answer; returns it, uint8 RGB."""
        rows, shown = [], dict.fromkeys(HEADLINES, 0)
        for (record, asked), answers in zip(self.asked, painted, strict=True):
            for example, answer in zip(asked, answers, strict=True):
                shown[example.request.task] += 1
                if shown[example.request.task] <= PICTURED:
                    rows.append((example.request.task, _row(record.rgb, example, answer)))
        sheet = np.concatenate([row for _, row in sorted(rows, key=lambda row: row[0])])
        write_bytes(path, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        return sheet


def _question(example: Example) -> Question:
    """What is not known of depth and normals is NaN."""
    truth = example.truth
    if isinstance(truth, DepthMap):
        truth = replace(truth, depth=np.where(example.valid, truth.depth, np.nan))
    elif isinstance(truth, NormalMap):
        truth = replace(truth, normals=np.where(example.valid[..., None], truth.normals, np.nan))
    return Question(example.request, truth, example.valid)


def _row(rgb: np.ndarray, example: Example, answer: np.ndarray) -> np.ndarray:
    """Image, target and answer at the image's size, the prompt below, uint8 RGB [H + 14, 3 W, 3]."""
    height, width = rgb.shape[:2]
    answer = cv2.resize(answer, (width, height), interpolation=cv2.INTER_NEAREST)
    painted = [(255 * image.clip(0, 1)).round().astype(np.uint8) for image in (example.target, answer)]
    caption = np.zeros((14, 3 * width, 3), np.uint8)
    cv2.putText(caption, example.prompt[:3 * width // 6], (2, 11), cv2.FONT_HERSHEY_PLAIN, 0.8, (255,) * 3)
    return np.concatenate([np.concatenate([rgb, *painted], 1), caption])


def score_of(scores: Scores) -> float:
    """One figure for how good a student is: the mean of the tasks' headline figures, 0..1."""
    return float(np.mean([values[HEADLINES[kind]] for kind, values in scores.value().items()]))
