"""Records of public sets as cases: of each image everything that its set knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vbanana_ros.colors import random_palette
from vbanana_ros.errors import InputError
from vbanana_ros.evaluation.suite import Case, Question, Suite, labelled
from vbanana_ros.results import UNLABELED_8, DepthMap, NormalMap
from vbanana_ros.tasks import make_request
from vbanana_ros.tuning.examples import expression_labels, instances_of
from vbanana_ros.tuning.records import BACKGROUND, Expression, Record, RecordSet

MOST_EXPRESSIONS = 3  # in one question


def record_suite(name: str, folder: Path, split: str, count: int | None = None) -> Suite:
    """A public set as a suite; count: so many of its records, spread evenly, instead of all.

    Raises InputError where the set is not known or its files are not there.
    """
    from vbanana_ros.tuning.sets import open_set

    records = open_set(name, folder, split)
    if not len(records):
        raise InputError(f"{str(folder)!r} has no {split!r} record of {name}; check the folder and --split")
    return Suite(name, RecordCases(records, count))


@dataclass(frozen=True)
class RecordCases(Sequence[Case]):
    """The cases of a set's records; each is read when it is asked for, and the same each time."""

    records: RecordSet
    count: int | None = None

    def __len__(self) -> int:
        return min(self.count or len(self.records), len(self.records))

    def __getitem__(self, place: int) -> Case:
        """Raises InputError, which names the record, where it is damaged or says nothing."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        index = place * len(self.records) // len(self)
        return case_of(self.records[index], np.random.default_rng(index))


def case_of(record: Record, rng: np.random.Generator) -> Case:
    """All that a record knows as one case; palettes and the absent class are drawn. Raises InputError for nothing."""
    questions = tuple(_questions(record, rng))
    if not questions:
        raise InputError(f"{record.name}: nothing is known of this image that can be asked")
    return Case(record.rgb, questions, record.name, record.K, record.floor)


def _questions(record: Record, rng: np.random.Generator) -> Iterator[Question]:
    sure = np.ones(record.rgb.shape[:2], np.float32)
    if record.depth is not None:
        yield Question(make_request("depth"), DepthMap(record.depth, sure))
    if record.normals is not None:
        yield Question(make_request("normals"), NormalMap(record.normals, sure))
    if record.labels is not None and (there := _classes(record)):
        yield _semantic(record, there, rng)
    for together in _apart(record.expressions):
        texts, labels, known = expression_labels(together)
        yield labelled("referring", texts, labels, rng, known)
    for name in _asked_for(record, rng):
        yield instance_question(record, name, rng)


def _classes(record: Record) -> list[int]:
    """The classes of the image, by number; the background of some sets is none."""
    numbers = np.unique(record.labels[record.labels != UNLABELED_8])
    return [int(i) for i in numbers if record.names[i] != BACKGROUND]


def _semantic(record: Record, there: list[int], rng: np.random.Generator) -> Question:
    """What is not labelled is not evaluated."""
    table = np.full(256, UNLABELED_8, np.uint8)
    table[there] = np.arange(len(there))
    return labelled("semantic", tuple(record.names[i] for i in there), table[record.labels], rng,
                    record.labels != UNLABELED_8)


def _apart(expressions: Sequence[Expression]) -> list[list[Expression]]:
    """Expressions in groups that one image can answer: no pixel and no text twice. In COCO several mean one object."""
    groups: list[list[Expression]] = []
    for expression in expressions:
        words = expression.text.split()
        fitting = (g for g in groups if len(g) < MOST_EXPRESSIONS
                   and not any(words == e.text.split() or (e.mask & expression.mask).any() for e in g))
        if (group := next(fitting, None)) is not None:
            group.append(expression)
        else:
            groups.append([expression])
    return groups


def _asked_for(record: Record, rng: np.random.Generator) -> list[str]:
    """Each class with an instance, and one of the set's classes that is not there at all, where there is one."""
    things = [thing for thing in record.things or () if thing.mask.any()]
    there = sorted({thing.name for thing in things if not thing.crowd})
    absent = sorted({*record.thing_names} - {thing.name for thing in things})
    return [*there, *([str(rng.choice(absent))] if absent and record.things is not None else [])]


def instance_question(record: Record, name: str, rng: np.random.Generator) -> Question:
    """All instances of a class; crowds, and what has neither label nor instance in a labelled image, are not judged."""
    request = make_request("instance", [name], background=random_palette(1, rng)[0])
    truth, known = instances_of(record, name, request.background)
    if record.labels is not None:
        named = np.any([thing.mask for thing in record.things], axis=0) if record.things else False
        known = known & ((record.labels != UNLABELED_8) | named)
    return Question(request, truth, known)
