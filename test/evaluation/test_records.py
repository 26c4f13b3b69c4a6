"""Records of a set made here, as cases: everything that is known is asked, and nothing that is not is judged."""

from __future__ import annotations

import numpy as np
import pytest

from vbanana_ros.errors import InputError
from vbanana_ros.evaluation import Exam, evaluate
from vbanana_ros.evaluation.records import RecordCases, case_of, record_suite
from vbanana_ros.results import UNLABELED_16
from vbanana_ros.tuning import sets
from vbanana_ros.tuning.records import Expression, Listed, Record, Thing

H, W = 48, 64
RGB = np.zeros((H, W, 3), np.uint8)
NAMES = ("background", "wall", "cup", "dog")


def box(rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[rows, cols] = True
    return mask


LEFT, RIGHT, CROWD = (box(slice(8, 24), slice(c, c + 12)) for c in (4, 24, 48))
VOID = box(slice(40, 48), slice(0, 64))


def a_record(name: str = "a.png") -> Record:
    """A wall, cups upon it, a crowd of cups, a strip that nobody labelled, and sky in the depth."""
    depth = np.full((H, W), 2, np.float32)
    depth[:4], depth[4:8] = np.inf, np.nan
    normals = np.broadcast_to(np.float32([0, 0, -1]), (H, W, 3)).copy()
    normals[:4] = np.nan
    labels = np.where(LEFT | RIGHT | CROWD, 2, 1).astype(np.uint8)
    labels[VOID], labels[:8] = 255, 0
    expressions = (Expression("the left cup", LEFT), Expression("the cup  on the left", LEFT),
                   Expression("the right cup", RIGHT), Expression("both cups", LEFT | RIGHT))
    things = (Thing("cup", LEFT), Thing("cup", RIGHT), Thing("cup", CROWD, crowd=True))
    return Record(RGB, name, depth, normals, labels, NAMES, things, ("cup", "dog"), expressions)


def questions(record: Record) -> dict[tuple[str, tuple[str, ...]], object]:
    case = case_of(record, np.random.default_rng(0))
    assert case.rgb is record.rgb and case.name == record.name
    return {(q.request.task, q.request.labels): q for q in case.questions}


def test_everything_that_is_known_is_asked():
    asked = questions(a_record())
    assert list(asked) == [
        ("depth", ()), ("normals", ()), ("semantic", ("wall", "cup")),
        ("referring", ("the left cup", "the right cup")), ("referring", ("the cup on the left",)),
        ("referring", ("both cups",)), ("instance", ("cup",)), ("instance", ("dog",))]
    semantic = asked["semantic", ("wall", "cup")]
    assert (semantic.truth.labels[LEFT] == 1).all() and (semantic.truth.labels[24:40] == 0).all()
    # The background is of no class, and known to be so; what nobody labelled is not judged.
    assert (semantic.truth.labels[:8] == 255).all() and (semantic.known == ~VOID).all()
    cups, dogs = asked["instance", ("cup",)], asked["instance", ("dog",)]
    assert len(cups.truth.detections) == 2 and (cups.known == ~(VOID | CROWD)).all()
    assert (dogs.truth.labels == UNLABELED_16).all() and (dogs.known == ~VOID).all()


def test_what_is_not_known_is_not_asked():
    sure = np.ones((H, W), np.float32)
    assert list(questions(Record(RGB, "d", sure))) == [("depth", ())]
    assert list(questions(Record(RGB, "t", things=(), thing_names=("cup",)))) == [("instance", ("cup",))]
    # A class of crowds alone is neither there nor absent.
    crowds = Record(RGB, "c", sure, things=(Thing("cup", CROWD, crowd=True),), thing_names=("cup",))
    assert list(questions(crowds)) == [("depth", ())]
    # In a set without labels all is known but crowds.
    cups = questions(Record(RGB, "i", things=(Thing("cup", LEFT),), thing_names=("cup",)))["instance", ("cup",)]
    assert cups.known.all()
    only = Record(RGB, "b", sure, labels=np.zeros((H, W), np.uint8), names=NAMES)
    assert list(questions(only)) == [("depth", ())]


def test_what_is_unknown_of_an_expression_is_not_judged(oracle):
    record = Record(RGB, "u", expressions=(Expression("the cup", LEFT, VOID),))
    question, = case_of(record, np.random.default_rng(0)).questions
    assert (question.known == ~VOID).all() and (question.truth.labels[LEFT] == 0).all()
    spoilt = case_of(record, np.random.default_rng(0)).questions[0]
    spoilt.truth.labels[VOID] = 0
    generator = oracle([(spoilt.request, spoilt.truth)])
    value = evaluate(Exam(generator), [case_of(record, np.random.default_rng(0))]).value()
    assert value["referring"] == {"ciou": 1, "giou": 1}


def test_a_picture_that_nobody_labelled_is_a_record():
    sure, nothing = np.ones((H, W), np.float32), np.full((H, W), 255, np.uint8)
    for names in ((), NAMES):
        assert list(questions(Record(RGB, "n", sure, labels=nothing, names=names))) == [("depth", ())]
    with pytest.raises(InputError, match="beyond the 0 classes"):
        Record(RGB, "n", sure, labels=np.zeros((H, W), np.uint8))


def test_a_record_that_says_nothing_is_named():
    with pytest.raises(InputError, match="e.png: nothing is known"):
        case_of(Record(RGB, "e.png"), np.random.default_rng(0))


def test_the_truth_of_records_is_perfect(oracle):
    case = case_of(a_record(), np.random.default_rng(0))
    generator = oracle([(q.request, q.truth) for q in case.questions])
    value = evaluate(Exam(generator), [case]).value()
    assert value["depth"] == pytest.approx({"delta1": 1, "absrel": 0, "coverage": 1}, abs=1e-3)
    assert value["normals"]["within_11.25"] == value["semantic"]["miou"] == value["referring"]["giou"] == 1
    assert [value["instance"][k] for k in ("cgf1", "il_mcc", "pq")] == [1, 1, 1]


def test_the_crowd_and_the_unknown_may_be_painted_as_one_likes(oracle):
    case = case_of(a_record(), np.random.default_rng(0))
    truth = [(q.request, q.truth) for q in case.questions]
    for request, result in truth:
        if request.task == "instance" and result.detections:
            result.labels[CROWD] = result.detections[0].id
        if request.task == "semantic":
            result.labels[VOID] = 1
    value = evaluate(Exam(oracle(truth)), [case_of(a_record(), np.random.default_rng(0))]).value()
    assert value["semantic"]["miou"] == 1 and value["instance"]["f1"] == 1


def read(key: str) -> Record:
    if key == "2.png":
        raise ValueError("cut short")
    return a_record(key)


def test_a_set_is_opened_by_name_and_its_damaged_records_skipped(oracle, monkeypatch, tmp_path):
    opened = []

    def open_toys(folder, split):
        opened.append((folder, split))
        return Listed("toys", [f"{i}.png" for i in range(4)], read)

    monkeypatch.setitem(sets.SETS, "toys", open_toys)
    suite = record_suite("toys", tmp_path, "test")
    assert opened == [(tmp_path, "test")] and suite.name == "toys" and len(suite.cases) == 4
    truth = [(q.request, q.truth) for i in (0, 1, 3) for q in suite.cases[i].questions]
    scores = evaluate(Exam(oracle(truth)), suite.cases)
    assert scores.frames == 3 and scores.skipped == ["toys '2.png' cannot be read (cut short); copy it again"]
    assert scores.value()["semantic"]["miou"] == 1
    with pytest.raises(InputError, match="no set is called 'tois'"):
        record_suite("tois", tmp_path, "test")
    monkeypatch.setitem(sets.SETS, "none", lambda folder, split: Listed("none", [], read))
    with pytest.raises(InputError, match="has no 'val' record of none; check the folder and --split"):
        record_suite("none", tmp_path, "val")


def test_a_count_spreads_over_the_set_and_a_case_is_the_same_each_time():
    cases = RecordCases(Listed("toys", [f"{i}.png" for i in range(10, 20)], read), 4)
    assert [case.name for case in cases] == ["10.png", "12.png", "15.png", "17.png"]
    assert len(RecordCases(cases.records, 99)) == len(RecordCases(cases.records)) == 10
    once, again = cases[1].questions, cases[1].questions
    assert [q.request for q in once] == [q.request for q in again]
    assert [q.request for q in once] != [q.request for q in cases[2].questions]
