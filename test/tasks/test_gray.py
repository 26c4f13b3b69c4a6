"""Depth in grey: the metric scales by hand, round trips, and the relative code that has no metres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vbanana_ros.results import DepthMap
from vbanana_ros.tasks import DEPTH_CODES, make_request

GRAY, LOG, INVERSE = (DEPTH_CODES[name]() for name in ("gray", "log-gray", "inverse-gray"))
REQUEST = make_request("depth")
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))


def encode(code, depth, metric=True):
    depth = np.asarray(depth, np.float32)
    return code.encode(DepthMap(depth, np.ones_like(depth), metric), REQUEST)


def decode(code, rgb, **kwargs):
    return code.decode(np.asarray(rgb, np.float32), REQUEST, **kwargs)


@pytest.mark.parametrize(("code", "metres", "shade"), [
    (GRAY, 0, 0), (GRAY, 20, 0.25), (GRAY, 40, 0.5), (GRAY, 80, 1), (GRAY, 500, 1), (GRAY, np.inf, 1),
    (LOG, 0.25, 0), (LOG, 0.1, 0), (LOG, 0, 0), (LOG, 20**0.5, 0.5), (LOG, 80, 1), (LOG, np.inf, 1),
])
def test_metric_scales_by_hand(code, metres, shade):
    assert encode(code, [[metres]])[0, 0] == pytest.approx([shade] * 3, abs=1e-6)


@given(arrays(np.float32, SHAPES, elements=st.floats(0, 75, width=32)))
@settings(max_examples=50, deadline=None)
def test_metric_round_trips(depth):
    for code, least in ((GRAY, 0), (LOG, 0.25)):
        result = decode(code, encode(code, depth))
        assert result.metric and (result.confidence > 0.999).all()
        assert np.allclose(result.depth, depth.clip(least), rtol=1e-5, atol=1e-5)


def test_the_end_of_a_metric_scale_is_the_sky():
    for code in (GRAY, LOG):
        assert np.isposinf(decode(code, np.ones((1, 1, 3))).depth).all()
        assert np.isposinf(decode(code, np.full((1, 1, 3), 254 / 255)).depth).all()
        assert np.isfinite(decode(code, np.full((1, 1, 3), 252 / 255)).depth).all()


@given(arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)))
@settings(max_examples=50, deadline=None)
def test_the_relative_code_round_trips(depth):
    result = decode(INVERSE, encode(INVERSE, depth, metric=False))
    assert (result.metric, result.inverse) == (False, True)
    assert np.allclose(result.depth, depth, atol=1e-6)


@given(arrays(np.float32, SHAPES, elements=st.floats(0.125, 100, width=32)))
@settings(max_examples=50, deadline=None)
def test_the_relative_code_of_metres_is_their_inverse_stretched(depth):
    """Nearest 0, farthest 1, and 1 / depth on a line between."""
    found = decode(INVERSE, encode(INVERSE, depth)).depth.astype(float)
    inverse = 1 / depth.astype(float)
    spread = inverse.max() - inverse.min()
    if spread > 1e-5 * inverse.max():
        assert np.allclose(found, (inverse.max() - inverse) / spread, atol=1e-6 * inverse.max() / spread + 1e-6)
    assert found.min() >= 0 and found.max() <= 1


def test_near_is_bright_and_the_sky_is_black():
    painted = encode(INVERSE, [[1.0, 2.0, np.inf, np.nan]])[0, :, 0]
    assert painted.tolist() == [1, 0.5, 0, 0]


@pytest.mark.parametrize("code", [GRAY, LOG, INVERSE])
def test_colours_are_no_grey(code):
    result = decode(code, [[[1, 0, 0], [0.5, 0.5, 0.55], [np.nan, 0.5, 0.5], [-0.2, -0.1, 0]]])
    assert np.isnan(result.depth).tolist() == [[True, False, True, False]]
    assert result.confidence[0, 0] == result.confidence[0, 2] == 0 and result.confidence[0, 3] == 1
    # The grey axis is 0.05 * sqrt(2 / 3) away.
    assert result.confidence[0, 1] == pytest.approx(1 - 255 * 0.05 * (2 / 3) ** 0.5 / 48, abs=1e-5)


@pytest.mark.parametrize("code", [GRAY, LOG, INVERSE])
def test_torch_in_torch_out_with_the_same_numbers(code):
    rgb = np.random.default_rng(0).random((20, 30, 1), np.float32).repeat(3, 2)
    ours, theirs = decode(code, rgb), code.decode(torch.from_numpy(rgb), REQUEST)
    assert isinstance(theirs.depth, torch.Tensor) and ours.depth.dtype == np.float32
    assert np.array_equal(ours.depth, theirs.depth.numpy(), equal_nan=True)
    assert isinstance(code.encode(theirs, REQUEST), torch.Tensor)
    with pytest.raises(TypeError, match="divide 8-bit images"):
        code.decode(np.zeros((2, 2, 3), np.uint8), REQUEST)


def test_prompts_say_the_scale():
    assert "linear from black at 0 m to white at 80 m" in GRAY.prompt(REQUEST)
    assert "logarithmic from black at 0.25 m to white at 80 m" in LOG.prompt(REQUEST)
    assert "relative" in INVERSE.prompt(REQUEST) and "near is bright" in INVERSE.prompt(REQUEST)
