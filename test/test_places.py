"""Places: of the four painted pixels about each of a frame, the one that looks most like it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.generators.grid import resized
from vbanana_ros.places import FARTHER, places_alike
from vbanana_ros.results import resize_nearest


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_no_other_of_the_four_is_more_alike(height, width, more, wider, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height + more, width + wider, 3), np.uint8)
    places = places_alike(rgb, height, width)
    assert places.shape == rgb.shape[:2] and places.dtype == np.int32
    small = resized(rgb, height, width).astype(float)
    for y, x in np.ndindex(places.shape):
        middle = np.array([(y + 0.5) * height / rgb.shape[0] - 0.5, (x + 0.5) * width / rgb.shape[1] - 0.5])
        four = {(int(r), int(c)): np.abs(small[r, c] - rgb[y, x]).mean() + FARTHER * ((middle - (r, c)) ** 2).sum()
                for r in np.unique([np.floor(middle[0]), np.floor(middle[0]) + 1]).clip(0, height - 1).astype(int)
                for c in np.unique([np.floor(middle[1]), np.floor(middle[1]) + 1]).clip(0, width - 1).astype(int)}
        # Levels are whole ones, distances parts of them.
        assert four[divmod(int(places[y, x]), width)] <= min(four.values()) + 1.2


def test_where_nothing_tells_it_is_the_nearest():
    grid = np.arange(7 * 9, dtype=np.int32).reshape(7, 9)
    np.testing.assert_array_equal(places_alike(np.full((16, 20, 3), 90, np.uint8), 7, 9), resize_nearest(grid, 16, 20))


def test_edges_are_where_the_frame_has_them():
    """Five frame pixels to a painted one, and an edge that cuts through it; faint noise moves nothing."""
    noise = np.random.default_rng(0).integers(0, 3, (40, 60, 3), np.uint8)
    bright = np.add.outer(np.arange(40), 2 * np.arange(60)) >= 77
    rgb = np.where(bright[..., None], 200, 40).astype(np.uint8) + noise
    painted = resized(rgb, 8, 12).mean(-1) > 120
    nearest, alike = resize_nearest(painted, 40, 60), painted.ravel()[places_alike(rgb, 8, 12)]
    assert np.count_nonzero(nearest != bright) == 56
    assert np.count_nonzero(alike != bright) == 0


@pytest.mark.parametrize("size", [(16, 20), (16, 10), (8, 20), (32, 40)])
def test_a_grid_as_fine_as_the_frame_has_no_more_to_learn_from_it(size):
    assert places_alike(np.zeros((16, 20, 3), np.uint8), *size) is None
