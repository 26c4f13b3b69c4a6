"""Steadiness: jitter of the scale is taken out, true motion is not, and cuts and pauses begin anew."""

from dataclasses import replace

import numpy as np
import pytest

from vbanana_ros.perception import Answer, Frame, Perceived, Perception
from vbanana_ros.results import DepthMap
from vbanana_ros.steady import MOST, Seen, Steady, steadied
from vbanana_ros.tasks import make_request

REQUEST = make_request("depth")
ROOM = (2 + np.add.outer(np.linspace(0, 3, 48), np.linspace(0, 2, 64))).astype(np.float32)
STEP = 10**8  # ten frames a second


def run(scales, seconds=0.5, room=ROOM, step=STEP):
    """The scale of each frame as it comes out, of a view that is seen in these scales."""
    seen, out = None, []
    for i, scale in enumerate(scales):
        depth = DepthMap((room * scale).astype(np.float32), np.ones_like(room))
        result, seen = steadied(depth, (i + 1) * step, seen, seconds)
        out.append(float(np.median(result.depth / room)))
    return np.array(out)


def jitter(n=80, sigma=0.02):
    return np.exp(np.random.default_rng(0).normal(0, sigma, n))


def flicker(scales):
    return np.diff(np.log(scales)).std()


def test_jitter_becomes_less_the_longer_the_time():
    scales = jitter()
    found = [flicker(run(scales, seconds)) for seconds in (0.2, 0.5, 1.0)]
    assert found[0] < 0.7 * flicker(scales) and found[1] < 0.4 * flicker(scales) and found[2] < found[1]
    assert abs(np.log(run(scales, 1.0)).mean()) < 0.02  # and no bias


def test_a_steady_approach_is_not_held_back():
    """A fifth nearer every second, from a standstill: late at first, then right."""
    times = np.arange(60) * 0.1
    scales = np.exp(-0.2 * np.maximum(0, times - 1))
    late = np.abs(np.log(run(scales) / scales))
    assert late.max() < 0.06 and late[-10:].max() < 0.002


def test_a_change_that_is_too_sudden_is_let_through_at_once():
    scales = np.repeat([1.0, 1.5], 10)
    assert run(scales) == pytest.approx(scales, rel=1e-5)


def test_depth_is_changed_by_no_more_than_a_tenth():
    scales = np.repeat([1.0, 1.19], 10)
    assert np.abs(np.log(run(scales, 20.0) / scales)).max() <= MOST + 1e-5


def test_another_view_begins_anew():
    other = ROOM[::-1].copy()
    first, seen = steadied(DepthMap(ROOM, ROOM), STEP, None, 1.0)
    silent = np.where(ROOM < 6, np.nan, ROOM)
    for view, stamp in ((other, 2 * STEP), (ROOM, STEP), (ROOM, 0), (ROOM[:, ::2], 2 * STEP), (silent, 2 * STEP)):
        depth = (view * 1.02).astype(np.float32)
        assert steadied(DepthMap(depth, depth), stamp, seen, 1.0)[0].depth is depth
    assert first.depth is ROOM


def test_after_a_pause_the_past_counts_no_more():
    assert run([1.0, 1.1], seconds=0.5, step=10**10) == pytest.approx([1.0, 1.1], rel=1e-4)


def test_what_is_not_known_stays_so():
    depth = ROOM.copy()
    depth[:4, :4], depth[-4:, -4:] = np.nan, np.inf
    _, seen = steadied(DepthMap(depth, depth), STEP, None, 1.0)
    result, _ = steadied(DepthMap(depth * np.float32(1.05), depth), 2 * STEP, seen, 1.0)
    assert np.isnan(result.depth[:4, :4]).all() and np.isposinf(result.depth[-4:, -4:]).all()
    assert np.isfinite(result.depth[8:40]).all() and result.depth.dtype == np.float32 and result.confidence is depth


def test_what_is_kept_survives_json_to_the_bit():
    import json

    depth = np.array([[1.5, np.nan], [np.inf, 1 / 3]], np.float32)
    seen = Seen(123456789012345678, depth, 0.1)
    again = Seen.read(json.loads(json.dumps(seen.plain())))
    assert (again.stamp, again.speed) == (seen.stamp, seen.speed) and again.depth.tobytes() == depth.tobytes()


def perceived(scale, i, metric=True):
    result = DepthMap((ROOM * scale).astype(np.float32), np.ones_like(ROOM), metric)
    frame = Frame(np.zeros((*ROOM.shape, 3), np.uint8), (i + 1) * STEP)
    return Perceived(frame, (Answer(REQUEST, "", result, ROOM),))


def scale_of(one):
    return float(np.median(one.result("depth").depth / ROOM))


def test_each_camera_has_a_state_of_its_own():
    steady, scales, front = Steady(), jitter(20), []
    for i, scale in enumerate(scales):
        front.append(scale_of(steady(perceived(scale, i), 0.5, "front")))
        steady(perceived(2 / scale, i), 0.5, "rear")
    assert np.array(front) == pytest.approx(run(scales), rel=1e-6)


def test_off_and_relative_depth_and_other_tasks_are_as_they_were():
    steady = Steady()
    steady(perceived(1.0, 0), 0.5)
    for one in (perceived(1.05, 1, metric=False), replace(perceived(1.05, 1), answers=())):
        assert steady(one, 0.5) is one
    low = steady(perceived(1.05, 1), 0.5)  # frames without a depth between do not end it
    assert scale_of(low) < 1.04 and low.answer("depth").smoothing == 0.5
    off = perceived(1.05, 2)
    assert steady(off, 0.0) is off and not steady.seen


def test_the_same_frame_is_painted_the_same_at_any_time(nano):
    """No flicker of the noise: it is the seed's, whatever was painted in between."""
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 256, (48, 64, 3), np.uint8), stamp) for stamp in range(2)]
    perception = Perception(nano, [REQUEST, make_request("picture", text="a mug")], seed=3)
    before = perception(frames[0])
    perception(frames[1])
    for a, b in zip(before.answers, perception(frames[0]).answers, strict=True):
        assert a.painted.tobytes() == b.painted.tobytes()
