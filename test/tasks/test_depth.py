"""Metric depth <-> the walk along the cube's edges; `hilbertmap` is the independent oracle."""

from __future__ import annotations

import hilbertmap
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vbanana_ros.results import DepthMap
from vbanana_ros.tasks import TASKS, make_request

DEPTH, REQUEST = TASKS["depth"], make_request("depth")
VERTICES = [((0, 0, 0), 0.0), ((1, 0, 0), 0.80), ((1, 1, 0), 1.83), ((0, 1, 0), 3.23), ((0, 1, 1), 5.28),
            ((0, 0, 1), 8.71), ((1, 0, 1), 16.46), ((1, 1, 1), np.inf)]

depths = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 200, width=32))
images = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)),
                elements=st.floats(0, 1, width=32))


def encode(depth):
    return DEPTH.encode(DepthMap(np.asarray(depth, np.float32), np.ones(np.shape(depth), np.float32)), REQUEST)


def decode(rgb, **kwargs):
    return DEPTH.decode(np.asarray(rgb, np.float32), REQUEST, **kwargs)


@pytest.mark.parametrize(("rgb", "metres"), VERTICES)
def test_vertices_of_the_walk(rgb, metres):
    result = decode([[rgb]])
    assert result.depth[0, 0] == pytest.approx(metres, abs=0.005)
    assert result.confidence[0, 0] == 1
    assert encode([[result.depth[0, 0]]])[0, 0] == pytest.approx(rgb, abs=1e-5)


def slope(depth):
    """Metres for each step of one in a channel: d' = 5 (1 + d/10)^3 / 7."""
    return 5 * (1 + depth.astype(float) / 10) ** 3 / 7


@given(depths)
@settings(max_examples=100, deadline=None)
def test_round_trip_to_float_precision(depth):
    result = decode(encode(depth))
    # Two roundings of a walk that float32 holds to 5e-7 at its near end, and a few ulp of the metres.
    assert np.all(np.abs(result.depth - depth) <= 1e-6 * slope(depth) + 1e-6 * (1 + depth))
    assert np.all(result.confidence > 0.999)


@given(depths)
@settings(max_examples=100, deadline=None)
def test_eight_bits_cost_half_a_step(depth):
    result = decode(np.round(encode(depth) * 255) / 255)
    step = slope(depth) / 255
    # Rounding moves the walk by half a step, or by none at all; the slope grows within the step where steps are long.
    finite = np.isfinite(result.depth)
    grown = slope(depth + step) / 255
    assert np.all(np.abs(result.depth - depth)[finite] <= 0.51 * grown[finite] + 1e-5)
    assert np.all(depth[~finite] > 185)  # where a rounding up reaches the sky
    assert not np.isnan(result.depth).any()


@given(depths, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_noise_across_the_edges_is_projected_away(depth, seed):
    amplitude = 0.02
    noise = np.random.default_rng(seed).uniform(-amplitude, amplitude, (*depth.shape, 3)).astype(np.float32)
    result = decode(encode(depth) + noise)
    # Along the edge the noise moves the walk by up to the amplitude, and around a corner by three times as much: from
    # up to two amplitudes before it, where the next edge may be the nearer one, to one amplitude up that edge. The
    # residual stays below sqrt(2) amplitudes.
    walk, noisy = (7 * hilbertmap.depth_to_normalized(d.astype(float)) for d in (depth, result.depth))
    assert np.all(np.abs(noisy - walk) <= 3 * amplitude + 4 / 255 + 1e-5)
    near = np.abs(noisy - walk)[np.isfinite(result.depth)]
    assert np.all(near <= 3 * amplitude + 1e-5)
    assert np.all(result.confidence >= 1 - np.sqrt(2) * amplitude * 255 / 48 - 1e-4)


@given(st.floats(0, 150, width=32), st.floats(0, 150, width=32), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_blend_of_two_depths_is_the_depth_of_the_nearest_edge_or_none(a, b, share):
    """A blend is any colour on the line between two: the code cannot say "between" of all of them.

    What geometry does permit: near a pure colour it is that depth again (the walk moves no faster than the colour),
    and anywhere it is the depth of the nearest edge, no further than the residual, or NaN with confidence 0.
    """
    first, second = encode([[a]]), encode([[b]])
    blend = (first + np.float32(share) * (second - first)).clip(0, 1)
    result = decode(blend)
    depth, confidence = result.depth[0, 0], result.confidence[0, 0]
    if np.isnan(depth):
        assert confidence == 0
        return
    assert depth >= 0
    painted = encode([[depth]])[0, 0]
    distance = 255 * np.linalg.norm(painted - blend[0, 0])
    sky = 4 if np.isinf(depth) else 0
    assert distance <= 48 * (1 - confidence) + sky + 0.01
    assert distance <= 255 * min(np.linalg.norm(blend - first), np.linalg.norm(blend - second)) + sky + 0.01


def test_a_blend_along_one_edge_lies_between():
    a, b = 0.2, 0.7  # both between black and red
    for share in np.linspace(0, 1, 11):
        value = decode((1 - share) * encode([[a]]) + share * encode([[b]])).depth[0, 0]
        assert a - 1e-5 <= value <= b + 1e-5


@given(depths)
@settings(max_examples=50, deadline=None)
def test_encode_is_hilbertmaps(depth):
    assert np.allclose(encode(depth), hilbertmap.depth_to_rgb(depth.astype(float)), atol=1e-6)


@given(images)
@settings(max_examples=100, deadline=None)
def test_decode_is_hilbertmaps(rgb):
    compare_with_oracle(rgb)


def test_decode_is_hilbertmaps_on_a_large_picture():
    rng = np.random.default_rng(0)
    compare_with_oracle(rng.random((300, 400, 3), np.float32))
    compare_with_oracle(rng.integers(0, 256, (300, 400, 3)).astype(np.float32) / 255)


def compare_with_oracle(rgb):
    wide = rgb.astype(float)
    result = decode(rgb, max_residual=1e3)
    with np.errstate(divide="ignore"):  # the oracle divides by zero at white
        expected = hilbertmap.rgb_to_depth(wide)
        walk, ours = (7 * hilbertmap.depth_to_normalized(d.astype(float)) for d in (expected, result.depth))
    sky = np.isinf(result.depth)
    assert np.all(walk[sky] > 7 - 4 / 255 - 1e-5)
    # Of edges that are equally near in float32 either is right: there the distances agree though the places do not.
    differ = ~sky & (np.abs(walk - ours) > 3e-6)
    if differ.any():
        a, b = (np.linalg.norm(hilbertmap.walk(w[differ] / 7) - wide[differ], axis=-1) for w in (walk, ours))
        assert np.all(np.abs(a - b) < 1e-6)
    finite = ~sky & ~differ
    error = np.abs(result.depth[finite] - expected[finite])
    assert np.all(error <= 2e-6 * slope(expected[finite]) + 2e-6 * (1 + expected[finite]))
    distance = np.linalg.norm(hilbertmap.walk(walk / 7) - wide, axis=-1)
    assert np.all(np.abs(decode(rgb).confidence - (1 - 255 * distance / 48).clip(0, 1))[~sky] < 1e-4)


def test_far_is_infinite():
    assert np.isinf(decode([[[1, 251 / 255, 1]]]).depth).all()
    assert decode([[[1, 250 / 255, 1]]]).depth[0, 0] == pytest.approx(178.9, abs=0.1)
    assert np.isinf(decode(encode([[np.inf]])).depth).all()


def test_residual_beyond_the_threshold_is_invalid():
    on, off = 47.9 / 255, 48.1 / 255
    result = decode([[[0.5, on, 0], [0.5, off, 0], [0.5, 0.5, 0.5]]])
    assert np.isnan(result.depth).tolist() == [[False, True, True]]
    assert result.confidence[0].tolist() == [pytest.approx(0.1 / 48, abs=1e-4), 0, 0]


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colours_that_are_no_numbers_are_invalid(channel):
    rgb = np.array(VERTICES[:7], object)[:, 0].tolist()
    rgb = np.float32(rgb)[None]
    rgb[..., channel] = np.nan
    result = decode(rgb)
    assert np.isnan(result.depth).all() and (result.confidence == 0).all()


def test_channels_out_of_range_are_clamped():
    assert np.array_equal(decode([[[1.2, -0.3, 0.0]]]).depth, decode([[[1, 0, 0]]]).depth)


def test_what_has_no_colour_is_painted_black():
    assert not encode([[np.nan, -1.0, -np.inf]]).any()


def test_torch_in_torch_out_with_the_same_numbers():
    rgb = np.random.default_rng(0).random((40, 50, 3), np.float32)
    ours, theirs = decode(rgb), DEPTH.decode(torch.from_numpy(rgb), REQUEST)
    assert isinstance(theirs.depth, torch.Tensor) and theirs.depth.dtype == torch.float32
    assert np.array_equal(ours.depth, theirs.depth.numpy(), equal_nan=True)
    assert np.array_equal(ours.confidence, theirs.confidence.numpy())
    assert isinstance(DEPTH.encode(theirs, REQUEST), torch.Tensor)
    assert ours.metric and ours.depth.dtype == ours.confidence.dtype == np.float32


def test_prompt():
    assert DEPTH.prompt(REQUEST) == (
        "Predict the metric depth of this scene as an image. Visualized in the rainbow "
        "(black-red-yellow-green-cyan-blue-violet-white) color palette.")
