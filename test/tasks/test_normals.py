"""Normals <-> RGB: the axes by hand, round trips, and vectors that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.results import NormalMap
from vbanana_ros.tasks import TASKS, make_request

NORMALS, REQUEST = TASKS["normals"], make_request("normals")


def encode(normals):
    normals = np.asarray(normals, np.float32)
    return NORMALS.encode(NormalMap(normals, np.ones(normals.shape[:2], np.float32)), REQUEST)


def decode(rgb, **kwargs):
    return NORMALS.decode(np.asarray(rgb, np.float32), REQUEST, **kwargs)


@pytest.mark.parametrize(("normal", "rgb"), [
    # Optical frame (x right, y down, z forward) -> the paper's pinkish red, light green, light blue.
    ((-1, 0, 0), (255, 127.5, 127.5)), ((0, -1, 0), (127.5, 255, 127.5)), ((0, 0, -1), (127.5, 127.5, 255)),
    ((1, 0, 0), (0, 127.5, 127.5)), ((0, 1, 0), (127.5, 0, 127.5)), ((0, 0, 1), (127.5, 127.5, 0)),
])
def test_axes_by_hand(normal, rgb):
    assert encode([[normal]])[0, 0] * 255 == pytest.approx(rgb)
    result = decode([[np.divide(rgb, 255)]])
    assert result.normals[0, 0] == pytest.approx(normal, abs=1e-6)
    assert result.confidence[0, 0] == pytest.approx(1, abs=1e-5)


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.5 / 255, 0.02]))
@settings(max_examples=60, deadline=None)
def test_round_trip_with_noise(seed, amplitude):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(8, 9, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    rgb = encode(normals)
    result = decode(rgb + rng.uniform(-amplitude, amplitude, rgb.shape))
    # A channel off by a moves the vector by 2 a, so all three by 2 sqrt(3) a: the sine of the largest angle.
    cosine = np.sum(result.normals * normals, -1).clip(-1, 1)
    assert np.arccos(cosine).max() <= np.arcsin(2 * np.sqrt(3) * amplitude) + 1e-3
    assert np.allclose(np.linalg.norm(result.normals, axis=-1), 1, atol=1e-6)
    assert result.confidence.min() >= 1 - 2 * np.sqrt(3) * amplitude * 127.5 / 48 - 1e-4


@given(st.integers(0, 2**31), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_blend_is_a_normal_between_the_two_or_none(seed, share):
    rng = np.random.default_rng(seed)
    a, b = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    result = decode((1 - share) * encode([[a]]) + share * encode([[b]]))
    normal = result.normals[0, 0]
    chord = np.linalg.norm((1 - share) * a + share * b)
    if np.isnan(normal).any():
        assert chord < 1 - 48 / 127.5 + 1e-4 and result.confidence[0, 0] == 0
        return
    # The code is linear, so the blend's direction lies on the arc from a to b.
    angle = [np.arccos(np.clip(x @ y, -1, 1)) for x, y in ((a, normal), (normal, b), (a, b))]
    assert angle[0] + angle[1] == pytest.approx(angle[2], abs=2e-3)


def test_lengths_too_far_from_one_are_invalid():
    limit = 48 / 127.5
    lengths = np.array([1 - limit - 1e-3, 1 - limit + 1e-3, 1, 1 + limit - 1e-3, 1 + limit + 1e-3, 0])
    rgb = (1 - lengths[None, :, None] * np.array([0.6, 0, -0.8])) / 2
    result = decode(rgb)
    assert np.isnan(result.normals).any(-1).tolist() == [[True, False, False, False, True, True]]
    assert result.confidence[0] == pytest.approx([0, 0, 1, 0, 0, 0], abs=4e-3)
    assert (result.confidence[np.isnan(result.normals).any(-1)] == 0).all()
    assert np.isnan(decode(rgb, max_residual=1.0).normals).any(-1).sum() == 5


def test_nan_is_mid_gray_and_comes_back():
    rgb = encode([[[np.nan] * 3]])
    assert (rgb == 0.5).all()
    assert np.isnan(decode(rgb).normals).all()
    result = decode([[[np.nan, 0.5, 1.0]]])
    assert np.isnan(result.normals).all() and result.confidence[0, 0] == 0


def test_torch_in_torch_out_with_the_same_numbers():
    rgb = np.random.default_rng(0).random((40, 50, 3), np.float32)
    ours, theirs = decode(rgb), NORMALS.decode(torch.from_numpy(rgb), REQUEST)
    assert isinstance(theirs.normals, torch.Tensor) and theirs.normals.dtype == torch.float32
    assert np.array_equal(ours.normals, theirs.normals.numpy(), equal_nan=True)
    assert np.array_equal(ours.confidence, theirs.confidence.numpy())
    assert isinstance(NORMALS.encode(theirs, REQUEST), torch.Tensor)
    assert ours.normals.dtype == ours.confidence.dtype == np.float32 and ours.normals.flags.c_contiguous


def test_prompt():
    assert NORMALS.prompt(REQUEST) == "Generate a surface normal map of the input image."
