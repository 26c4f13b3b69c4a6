"""The probe's facts and its loss, by hand."""

import numpy as np
import pytest
import torch

from vbanana_ros.results import resize_nearest
from vbanana_ros.sim import CLASSES
from vbanana_ros.tuning.probe import PATCH, Probe, known_facts, probe_loss
from vbanana_ros.tuning.records import Record
from vbanana_ros.tuning.scenes import record_of


def answers(facts):
    """What a probe that knows the facts would read."""
    read = torch.zeros(len(facts), 6 + len(CLASSES), *facts.shape[2:])
    read[:, :6] = facts[:, :6].nan_to_num()
    for i in range(len(CLASSES)):
        read[:, 6 + i] = 50.0 * (facts[:, 6] == i)
    return read


def facts_of(record):
    """Facts of every pixel, [7, H, W]: an image four times as large has that many patches."""
    height, width = record.rgb.shape[:2]
    return known_facts(record, (PATCH * height, PATCH * width))


def test_facts_of_a_frame(sim_frame):
    facts = facts_of(record_of(sim_frame))
    assert facts.shape == (7, 48, 64) and facts.dtype == np.float32
    facts = np.moveaxis(facts, 0, -1)
    assert facts[20, 10, 0] == pytest.approx(np.log(1.5)) and np.isnan(facts[0, 0, :6]).all()
    assert np.array_equal(facts[..., 1:4], sim_frame.normals, equal_nan=True)
    # The red box covers rows 16..35 and columns 6..19: its middle is at row 25.5, column 12.5.
    assert facts[20, 10, 4:6] == pytest.approx([2.5 / 64, 5.5 / 48])
    assert np.isnan(facts[sim_frame.instances == 65535][:, 4:6]).all()
    assert np.array_equal(facts[..., 6], sim_frame.classes)


@pytest.mark.parametrize("size", [(48, 64), (24, 32), (32, 48)])
def test_facts_are_of_the_middles_of_patches(sim_frame, size):
    """As of all pixels, resized as images are, of which every fourth both ways is taken."""
    facts = known_facts(record_of(sim_frame), size)
    every = resize_nearest(np.moveaxis(facts_of(record_of(sim_frame)), 0, -1), *size)
    assert facts.shape == (7, size[0] // PATCH, size[1] // PATCH)
    assert np.array_equal(facts, np.moveaxis(every[2::4, 2::4], -1, 0), equal_nan=True)


def test_the_truth_costs_nothing(sim_frame):
    facts = torch.from_numpy(facts_of(record_of(sim_frame)))[None]
    assert probe_loss(answers(facts), facts) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("channel", "weight"), [(0, 3), (1, 1), (3, 1), (4, 2.5), (5, 2.5)])
def test_an_error_costs_its_weight(sim_frame, channel, weight):
    facts = torch.from_numpy(facts_of(record_of(sim_frame)))[None]
    read = answers(facts)
    read[:, channel] += 0.1
    assert probe_loss(read, facts) == pytest.approx(0.1 * weight, abs=1e-4)


def test_classes_that_are_guessed_cost_a_share_of_their_entropy(sim_frame):
    facts = torch.from_numpy(facts_of(record_of(sim_frame)))[None]
    read = answers(facts)
    read[:, 6:] = 0
    assert probe_loss(read, facts) == pytest.approx(0.3 * np.log(len(CLASSES)), abs=1e-4)


def test_a_frame_without_classes_has_geometry_only():
    facts = torch.zeros(1, 7, 2, 2)
    facts[:, 6] = 255
    read = torch.zeros(1, 6 + len(CLASSES), 2, 2)
    read[:, 0] = 0.5
    assert probe_loss(read, facts) == pytest.approx(3 * 0.5)


def test_what_a_record_does_not_know_is_no_fact():
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    facts = facts_of(Record(np.zeros((2, 2, 3), np.uint8), labels=labels, names=("giraffe", "table", "chair")))
    assert np.isnan(facts[:6]).all()
    assert facts[6].tolist() == [[255, CLASSES.index("table")], [CLASSES.index("chair"), 255]]


def test_it_reads_features():
    assert Probe(32)(torch.zeros(2, 32, 6, 8)).shape == (2, 6 + len(CLASSES), 6, 8)
