"""A generator asked as the product asks it, through Perception and its decoders, and its answers scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError
from vbanana_ros.evaluation.scores import Scores
from vbanana_ros.evaluation.store import Store
from vbanana_ros.evaluation.suite import Case, Question
from vbanana_ros.generators.base import Generator
from vbanana_ros.perception import Answer, Frame, Perception
from vbanana_ros.tasks import Request


@dataclass(frozen=True)
class Exam:
    """How a generator is asked.

    batch: frames that are looked at together, where they are asked the same: so those of a set of depth or normals;
        legends differ from frame to frame. votes: as of Perception. align: fit depth also where it is metric.
        floor: tell where the floor is before the camera, where that is known.
    """

    generator: Generator
    batch: int = 1
    votes: int = 1
    align: bool = False
    floor: bool = False

    def scores(self, cases: Sequence[Case], store: Store | None = None) -> Iterator[Scores]:
        """The scores of each case, in order; what the store has is not asked again. No more than a batch is held.

        A case that raises InputError is skipped, and its scores say why.
        """
        for start in range(0, len(cases), self.batch):
            places = range(start, min(start + self.batch, len(cases)))
            kept = [store.get(i) if store else None for i in places]
            # Rounding may depend on the company in a batch, so a batch that was cut short is asked again as a whole.
            if not all(kept):
                kept = self._asked(cases, places)
                for i, scores in zip(places, kept, strict=True):
                    if store and not scores.skipped:
                        store.put(i, scores)
            yield from kept

    def answers(self, cases: Sequence[Case]) -> list[list[tuple[Question, Answer]]]:
        """For each case the questions that the model can be asked, answered."""
        able = self.generator.capabilities.tasks
        asked = [[q for q in case.questions if not able or q.request.task in able] for case in cases]
        alike: dict[tuple[Request, ...], list[int]] = {}
        for i, questions in enumerate(asked):
            alike.setdefault(tuple(q.request for q in questions), []).append(i)
        answered: list[list[tuple[Question, Answer]]] = [[] for _ in cases]
        for requests, places in alike.items():
            if requests:
                frames = [self._frame(cases[i]) for i in places]
                perceived = Perception(self.generator, requests, votes=self.votes).together(frames)
                for i, one in zip(places, perceived, strict=True):
                    answered[i] = list(zip(asked[i], one.answers, strict=True))
        return answered

    def _frame(self, case: Case) -> Frame:
        height, width = case.rgb.shape[:2]
        camera = None if case.K is None else Camera(width, height, case.K)
        return Frame(case.rgb, camera=camera, floor=case.floor if self.floor else None)

    def _asked(self, cases: Sequence[Case], places: Sequence[int]) -> list[Scores]:
        read: list[Case | InputError] = [_read(cases, i) for i in places]
        answered = iter(self.answers([case for case in read if isinstance(case, Case)]))
        return [self._scored(next(answered)) if isinstance(case, Case) else Scores(skipped=[str(case)])
                for case in read]

    def _scored(self, answered: Sequence[tuple[Question, Answer]]) -> Scores:
        scores = Scores(frames=1)
        for question, answer in answered:
            scores.add(question, answer.result, self.align)
        return scores


def _read(cases: Sequence[Case], place: int) -> Case | InputError:
    try:
        return cases[place]
    except InputError as error:
        return error


def evaluate(exam: Exam, cases: Sequence[Case], store: Store | None = None) -> Scores:
    """The scores of all cases together."""
    total = Scores()
    for scores in exam.scores(cases, store):
        total += scores
    return total
