"""Semantic and referring: nearest colour, what is not listed, prompts word for word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.results import UNLABELED_8, LabelMap
from vbanana_ros.tasks import TASKS, Request, make_request

SEMANTIC = TASKS["semantic"]


def encode(labels, request):
    labels = np.asarray(labels, np.uint8)
    return SEMANTIC.encode(LabelMap(labels, request.labels, request.colors, np.ones(labels.shape)), request)


def decode(rgb, request, **kwargs):
    return SEMANTIC.decode(np.asarray(rgb, np.float32), request, **kwargs)


def classes(n):
    return make_request("semantic", [f"class {i}" for i in range(n)])


@pytest.mark.parametrize("n", [1, 2, 40, 255])
def test_every_label_comes_back(n):
    request = classes(n)
    labels = np.array([[*range(n), UNLABELED_8]], np.uint8)
    result = decode(encode(labels, request), request)
    assert np.array_equal(result.labels, labels) and result.labels.dtype == np.uint8
    assert np.allclose(result.confidence, 1) and result.confidence.dtype == np.float32
    assert (result.names, result.colors) == (request.labels, request.colors)


@given(st.integers(0, 2**31), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_noise_below_half_the_least_distance_changes_nothing(seed, n):
    rng, request = np.random.default_rng(seed), classes(n)
    labels = rng.integers(0, n, (6, 7)).astype(np.uint8)
    noise = rng.normal(size=(6, 7, 3))
    noise *= 15.9 / 255 / np.linalg.norm(noise, axis=-1, keepdims=True)  # colours are at least 32 apart
    result = decode(encode(labels, request) + noise, request)
    assert np.array_equal(result.labels, labels)
    assert np.allclose(result.confidence, 1 - 15.9 / 48, atol=1e-3)


@given(st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_decode_is_the_plain_definition(seed):
    rng, request = np.random.default_rng(seed), classes(int(seed % 9) + 1)
    rgb = rng.random((9, 11, 3), np.float32)
    result = decode(rgb, request)
    distance = np.linalg.norm(rgb[..., None, :] * 255.0 - np.array([*request.colors, request.background]), axis=-1)
    label, residual = distance.argmin(-1), distance.min(-1)
    label[(label == len(request.colors)) | (residual > 48)] = UNLABELED_8
    assert np.array_equal(result.labels, label)
    assert np.allclose(result.confidence, (1 - residual / 48).clip(0, 1), atol=1e-4)


def test_a_blended_rim_is_one_of_the_two_or_unlabeled_where_no_class_lies_between():
    # Red to blue passes no listed colour but the dark middle, 90 from black: beyond any threshold.
    request = make_request("semantic", ["a", "b"], ["red", "blue"])
    share = np.linspace(0, 1, 52)[:, None, None]
    rgb = (1 - share) * np.array([1, 0, 0]) + share * np.array([0, 0, 1])
    labels = decode(rgb, request).labels[:, 0].tolist()
    assert labels == sorted(labels, key=[0, UNLABELED_8, 1].index) and set(labels) == {0, UNLABELED_8, 1}


def test_measured_distances_stay_labelled():
    request = make_request("semantic", ["cat"], ["#80C000"])
    for distance, known in ((2, True), (13, True), (47.9, True), (48.1, False)):
        rgb = np.divide([[[128 + distance, 192, 0]]], 255)
        assert (decode(rgb, request).labels[0, 0] == 0) == known
    assert decode([[[140 / 255, 192 / 255, 0]]], request, max_residual=5).labels[0, 0] == UNLABELED_8


def test_unlisted_background_came_out_black():
    request = make_request("semantic", ["cat", "dog"], ["red", "blue"])
    assert request.background == (0, 0, 0)
    result = decode([[[0, 0, 0], [0.03, 0, 0.02]]], request)
    assert (result.labels == UNLABELED_8).all() and (result.confidence > 0.8).all()


def test_equals_go_to_the_first():
    request = Request("semantic", ("a", "b"), ((100, 0, 0), (120, 0, 0)))
    assert decode([[[110 / 255, 0, 0]]], request).labels[0, 0] in (0, 1)
    same = Request("semantic", ("a", "b"), ((100, 0, 0), (100, 0, 0)))
    assert decode([[[110 / 255, 0, 0]]], same).labels[0, 0] == 0


def test_no_number_and_no_class_is_unlabeled():
    request = classes(3)
    result = decode([[[np.nan, 0, 0], [0, np.nan, 0], [np.inf, 0, 0]]], request)
    assert (result.labels == UNLABELED_8).all() and (result.confidence == 0).all()
    empty = Request("semantic")
    assert (decode([[[0.0, 0, 0]]], empty).labels == UNLABELED_8).all()
    assert not encode([[UNLABELED_8, 0]], empty).any()


def test_unlabeled_is_painted_in_the_background():
    request = make_request("semantic", ["cat"], ["red"], background="yellow")
    assert encode([[0, UNLABELED_8, 7]], request).tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 0]]]


def test_torch_in_torch_out_with_the_same_numbers():
    rgb = np.random.default_rng(0).random((40, 50, 3), np.float32)
    request = classes(8)
    ours, theirs = decode(rgb, request), SEMANTIC.decode(torch.from_numpy(rgb), request)
    assert isinstance(theirs.labels, torch.Tensor) and theirs.labels.dtype == torch.uint8
    assert np.array_equal(ours.labels, theirs.labels.numpy())
    assert np.array_equal(ours.confidence, theirs.confidence.numpy())
    painted = SEMANTIC.encode(theirs, request)
    assert isinstance(painted, torch.Tensor) and np.array_equal(painted.numpy(), SEMANTIC.encode(ours, request))


def test_prompts_are_the_papers():
    request = make_request("semantic", ["cat ears", "exit sign"], [(255, 165, 0), "blue"], background=(125, 0, 125))
    assert SEMANTIC.prompt(request) == (
        'Generate a visualization image of semantic segmentation, using this color mapping: '
        '{"cat ears": <255, 165, 0>, "exit sign": <0, 0, 255>, "background": <125, 0, 125>}')
    assert SEMANTIC.prompt(Request("semantic", ("cat",), ((255, 0, 0),))).endswith('{"cat": <255, 0, 0>}')


def test_referring_prompt_is_the_papers():
    referring = TASKS["referring"]
    labels, colors = ("the stretching cat", "the cat that is cleaning itself"), ((0, 255, 0), (0, 255, 255))
    assert referring.prompt(Request("referring", labels, colors)) == (
        "A segmentation map image. The stretching cat is rendered in green, "
        "the cat that is cleaning itself is in cyan.")
    assert referring.prompt(make_request("referring", ["left mug"], [(1, 2, 200)])) == (
        "A segmentation map image. The left mug is rendered in RGB(1, 2, 200), the background is in black.")
