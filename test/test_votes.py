"""Votes: legends are permuted the same way each time, and what most of them say is the answer."""

from dataclasses import replace

import numpy as np
import pytest

from vbanana_ros.perception import Frame, Perception
from vbanana_ros.results import Instances, LabelMap
from vbanana_ros.tasks import make_request
from vbanana_ros.votes import ballots, elect

H, W = 16, 32
CLASSES = make_request("semantic", ["wall", "floor", "mug"], ["red", "green", "blue"], "black")


def answer(request, *labels):
    labels = np.array([labels], np.uint8)
    return LabelMap(labels, request.labels, request.colors, np.ones(labels.shape, np.float32))


def test_ballots_are_the_request_and_permutations_of_its_legend():
    found = ballots(CLASSES, 4)
    assert found[0] == CLASSES and len(set(found)) == 4 and found == ballots(CLASSES, 4)
    assert found != ballots(CLASSES, 4, seed=5)
    for ballot in found:
        assert ballot.labels == CLASSES.labels and sorted(ballot.colors) == sorted(CLASSES.colors)
        assert ballot.background == CLASSES.background
    assert ballots(CLASSES, 3) == found[:3]


def test_there_are_no_more_ballots_than_orders():
    assert len(ballots(CLASSES, 99)) == 6
    assert ballots(make_request("referring", ["the mug"]), 5) == [make_request("referring", ["the mug"])]
    for request in (make_request("depth"), make_request("instance", ["mug"])):
        assert ballots(request, 5) == [request]
    many = make_request("semantic", [f"class {i}" for i in range(40)])
    assert len(set(ballots(many, 9))) == 9


def test_the_majority_by_hand():
    results = [answer(CLASSES, 0, 1, 255, 2, 0), answer(CLASSES, 0, 2, 1, 1, 2), answer(CLASSES, 0, 2, 1, 0, 2)]
    elected = elect(results)
    # Agreed; outvoted; a silence outvoted; all differ, so the first; outvoted.
    assert elected.labels.tolist() == [[0, 2, 1, 2, 2]] and elected.labels.dtype == np.uint8
    assert elected.confidence == pytest.approx(np.array([[1, 2 / 3, 2 / 3, 1 / 3, 2 / 3]]))
    assert elected.confidence.dtype == np.float32
    assert (elected.names, elected.colors) == (CLASSES.labels, CLASSES.colors)


def test_silence_can_win_and_one_result_is_itself():
    assert elect([answer(CLASSES, 0), answer(CLASSES, 255), answer(CLASSES, 255)]).labels.tolist() == [[255]]
    alone = elect([answer(CLASSES, 2, 255)])
    assert alone.labels.tolist() == [[2, 255]] and (alone.confidence == 1).all()


def test_a_generator_that_errs_under_one_legend_is_outvoted(oracle):
    truth = answer(CLASSES, *[0, 1, 2, 255] * 8)
    truth = replace(truth, labels=np.repeat(truth.labels, H, 0), confidence=np.ones((H, W), np.float32))
    mugs = make_request("instance", ["mug"])
    own, *others = ballots(CLASSES, 3)
    wrong = replace(truth, labels=np.zeros((H, W), np.uint8))
    painted = [(ballot, replace(truth, colors=ballot.colors)) for ballot in others] + [(own, wrong)]
    nothing = Instances(np.full((H, W), 65535, np.uint16), (), np.ones((H, W), np.float32))
    generator = oracle([*painted, (mugs, nothing)])
    perception = Perception(generator, [mugs, CLASSES], votes=3)
    assert len(perception.prompts) == 4 and perception.requests == (mugs, CLASSES)
    frames = [Frame(np.zeros((H, W, 3), np.uint8), stamp=i) for i in range(2)]
    perceived = perception.together(frames)
    assert [p.frame.stamp for p in perceived] == [0, 1]
    for one in perceived:
        assert [a.request for a in one.answers] == [mugs, CLASSES]
        assert one.answers[1].prompt == perception.prompts[1]
        elected = one.result("semantic")
        assert (elected.labels == truth.labels).all() and elected.colors == CLASSES.colors
        assert np.unique(elected.confidence) == pytest.approx([2 / 3, 1])
    assert generator.calls.count(("generate", 4, 1)) == 2  # one batch for all legends of a frame
    single = perception(frames[0], [CLASSES])
    assert (single.result("semantic").labels == truth.labels).all()  # asked beside the stream: put to the vote too
    perception.ask([mugs, CLASSES])
    assert (perception(frames[0]).result("semantic").labels == 0).all() and perception.votes == 1
