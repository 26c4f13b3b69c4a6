"""Rate caps by the stamps of the frames."""

import numpy as np
import pytest

from vbanana_ros.schedule import Schedule

SECOND = 10**9


def count(schedule, stamps, rate, camera="", task="semantic"):
    return sum(bool(schedule.due(camera, int(stamp), {task}, {task: rate})) for stamp in stamps)


def test_without_a_cap_every_frame_is_due():
    assert count(Schedule(), range(0, 5 * SECOND, SECOND // 30), 0) == 151


@pytest.mark.parametrize(("fps", "rate"), [(30, 1), (30, 10), (30, 7), (15, 15), (10, 30), (29.97, 2.5)])
def test_the_mean_rate_is_the_cap_or_the_cameras(fps, rate):
    seconds = 20
    stamps = 1.7e18 + np.arange(0, seconds, 1 / fps) * 1e9
    assert abs(count(Schedule(), stamps, rate) - seconds * min(rate, fps)) <= 1


def test_jitter_does_not_halve_a_cap_that_is_the_cameras_rate():
    stamps = 1e18 + np.arange(600) * SECOND / 30 + np.random.default_rng(0).uniform(-4e6, 4e6, 600)
    assert count(Schedule(), stamps, 30) > 400


def test_tasks_and_cameras_have_caps_of_their_own():
    schedule, caps = Schedule(), {"depth": 0, "semantic": 1}
    tasks = {"depth", "semantic"}
    assert schedule.due("left", 0, tasks, caps) == tasks
    assert schedule.due("left", SECOND // 10, tasks, caps) == {"depth"}
    assert schedule.due("right", SECOND // 10, tasks, caps) == tasks
    assert schedule.due("left", SECOND, tasks, caps) == tasks


def test_a_gap_is_not_made_up_for():
    schedule = Schedule()
    assert count(schedule, [0, 10 * SECOND], 1) == 2
    assert count(schedule, 10 * SECOND + np.arange(1, 10) * SECOND / 10, 1) == 0


def test_a_clock_that_is_set_back_starts_anew():
    schedule = Schedule()
    assert count(schedule, [100 * SECOND, 5 * SECOND, 5 * SECOND + 1], 1) == 2
