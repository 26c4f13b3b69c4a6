"""Results on other grids: nearest neighbour at pixel centres, or from given places; boxes and areas measured anew."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.results import (
    UNLABELED_16,
    DepthMap,
    Detection,
    Instances,
    LabelMap,
    NormalMap,
    Picture,
    resize_nearest,
)

RNG = np.random.default_rng(0)
ONE = np.ones((4, 6), np.float32)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_nearest_is_the_pixel_whose_centre_is_nearest(h, w, height, width):
    array = np.arange(h * w, dtype=np.uint16).reshape(h, w)
    resized = resize_nearest(array, height, width)
    assert resized.shape == (height, width) and resized.dtype == array.dtype
    for y in range(height):
        for x in range(width):
            row, column = divmod(int(resized[y, x]), w)
            # The centre of the new pixel lies in the old one, or on its rim.
            assert abs((y + 0.5) * h / height - (row + 0.5)) <= 0.5 + 1e-9
            assert abs((x + 0.5) * w / width - (column + 0.5)) <= 0.5 + 1e-9
    assert np.array_equal(resize_nearest(torch.from_numpy(array.astype(np.int32)), height, width).numpy(), resized)


def test_same_size_is_no_copy():
    assert resize_nearest(ONE, 4, 6) is ONE


@pytest.mark.parametrize("result", [
    DepthMap(RNG.random((4, 6), np.float32), ONE, metric=False), NormalMap(RNG.random((4, 6, 3), np.float32), ONE),
    LabelMap(RNG.integers(0, 3, (4, 6), np.uint8), ("a",), ((1, 2, 3),), ONE),
])
def test_resized_results_invent_no_value(result):
    resized = result.resize(8, 9)
    name = next(iter(result.__dataclass_fields__))
    old, new = getattr(result, name), getattr(resized, name)
    assert new.shape[:2] == resized.confidence.shape == (8, 9) and new.dtype == old.dtype
    assert set(map(tuple, new.reshape(72, -1))) <= set(map(tuple, old.reshape(24, -1)))
    if isinstance(result, DepthMap):
        assert resized.metric is False
    if isinstance(result, LabelMap):
        assert (resized.names, resized.colors) == (result.names, result.colors)


def test_instances_scale_boxes_and_areas():
    labels = np.full((4, 6), UNLABELED_16, np.uint16)
    labels[1:3, 2:5] = 0
    result = Instances(labels, (Detection(0, "mug", 0.5, (2.0, 1.0, 3.0, 2.0), 6, (1, 2, 3)),), ONE).resize(8, 18)
    detection, = result.detections
    assert detection == Detection(0, "mug", 0.5, (6.0, 2.0, 9.0, 4.0), 36, (1, 2, 3))
    assert np.count_nonzero(result.labels == 0) == 36 and result.labels.dtype == np.uint16


PLACES = np.array([[5, 5, 0], [4, 1, 1]], np.int32)  # of a grid of 2 x 3


@pytest.mark.parametrize("tensor", [np.asarray, torch.from_numpy])
def test_places_say_which_pixel_each_one_takes_over(tensor):
    depth, sure = tensor(np.float32([[1, 2, 3], [4, 5, 6]])), tensor(np.float32([[0, 0.2, 0.4], [0.6, 0.8, 1]]))
    result = DepthMap(depth, sure).resize(2, 3, PLACES)
    np.testing.assert_array_equal(result.depth, [[6, 6, 1], [5, 2, 2]])
    np.testing.assert_array_equal(result.confidence, np.float32([[1, 1, 0], [0.8, 0.2, 0.2]]))
    normals = tensor(np.arange(18, dtype=np.float32).reshape(2, 3, 3))
    np.testing.assert_array_equal(NormalMap(normals, sure).resize(2, 3, PLACES).normals[1, 0], [12, 13, 14])
    labels = LabelMap(tensor(np.uint8([[0, 1, 2], [3, 4, 5]])), (), (), sure).resize(2, 3, PLACES).labels
    np.testing.assert_array_equal(labels, [[5, 5, 0], [4, 1, 1]])


@pytest.mark.parametrize("tensor", [np.asarray, torch.from_numpy])
def test_an_instance_of_which_nothing_is_left_is_dropped(tensor):
    """Of three the middle one goes; boxes and areas are those of the new masks."""
    labels = tensor(np.array([[0, 1, 2], [2, 0, UNLABELED_16]], np.uint16 if tensor is np.asarray else np.int32))
    things = tuple(Detection(i, "mug", 0.5, (0.0, 0.0, 9.0, 9.0), 9, (i, i, i)) for i in range(3))
    places = np.array([[2, 2, 0], [5, 2, 4]])
    result = Instances(labels, things, tensor(np.ones((2, 3), np.float32))).resize(2, 3, places)
    np.testing.assert_array_equal(result.labels, [[1, 1, 0], [UNLABELED_16, 1, 0]])
    assert result.labels.dtype == labels.dtype and isinstance(result.labels, type(labels))
    assert result.detections == (Detection(0, "mug", 0.5, (2.0, 0.0, 1.0, 2.0), 2, (0, 0, 0)),
                                 Detection(1, "mug", 0.5, (0.0, 0.0, 2.0, 2.0), 3, (2, 2, 2)))


@pytest.mark.parametrize("size", [(2, 3), (8, 12)])
def test_pictures_blend_and_stay_in_range(size):
    rgb = RNG.integers(0, 2, (4, 6, 3)).astype(np.float32)
    resized = Picture(rgb).resize(*size).rgb
    assert resized.shape == (*size, 3) and resized.dtype == np.float32
    assert 0 <= resized.min() <= resized.max() <= 1
    if size == (2, 3):
        assert np.allclose(resized, cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA))
    tensor = Picture(torch.from_numpy(rgb)).resize(*size).rgb
    assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), resized)
