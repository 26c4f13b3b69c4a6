"""Metric depth is scaled onto a floor that is known, and left alone where none is seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError
from vbanana_ros.floor import LOWEST, MOST, floor_before, floor_scale

CAMERA = Camera.from_fov(160, 120, 60)
FLOOR = np.array([0.02, 0.8, 0.3])  # 1.17 m below a camera that looks down a little


@pytest.mark.parametrize("height", [LOWEST, 0, -1, np.nan])
def test_a_camera_on_or_below_the_floor(height):
    pose = np.eye(4)
    pose[2, 3] = -height
    with pytest.raises(InputError, match="above the floor; name a floor_frame that lies on it"):
        floor_before(pose)


def room(wall=4.0, table=None):
    """True depth of a floor and a wall ahead; table: (height above the floor, rows and columns) of a level board."""
    rays = CAMERA.rays()
    inverse = rays @ FLOOR
    depth = np.where(inverse > 1 / wall, 1 / np.maximum(inverse, 1e-6), wall).astype(np.float32)
    if table:
        share, where = 1 - table[0] * np.linalg.norm(FLOOR), table[1]
        depth[where] = np.minimum(depth, share / np.maximum(inverse, 1e-6))[where]
    return depth


@given(st.floats(-0.38, 0.38), st.floats(2, 8))
def test_the_floor_is_brought_to_where_it_is(factor, wall):
    scale = floor_scale(room(wall) * np.float32(np.exp(-factor)), CAMERA.rays(), FLOOR)
    assert np.isclose(np.log(scale), factor, atol=2e-3)


@pytest.mark.parametrize("height", [0.1, 0.2, 0.3])
def test_a_board_above_the_floor_is_not_taken_for_it(height):
    """It is larger in the picture than the floor that is left, and wants a larger factor."""
    depth = room(table=(height, np.s_[30:100]))
    assert np.isclose(floor_scale(depth / 1.1, CAMERA.rays(), FLOOR), 1.1, rtol=0.01)


@pytest.mark.parametrize("height", [0.35, 0.38])
def test_a_board_that_hides_the_floor_is_not_taken_for_it(height):
    """Beyond its rim a wall is seen, down to below it: no floor has anything below."""
    depth = room(wall=2.0, table=(height, np.s_[94:]))
    assert floor_scale(depth, CAMERA.rays(), FLOOR) == 1


def test_holes_noise_and_the_sky_do_not_matter():
    rng = np.random.default_rng(0)
    depth = room() * 0.9 * np.exp(rng.normal(0, 0.002, (120, 160))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.05] = np.nan
    depth[:20] = np.inf
    assert np.isclose(floor_scale(depth, CAMERA.rays(), FLOOR), 1 / 0.9, rtol=0.01)


def test_pictures_of_any_size_are_looked_at_alike():
    large = Camera.from_fov(1280, 960, 60)
    depth = np.minimum(1 / np.maximum(large.rays() @ FLOOR, 1e-6), 4).astype(np.float32)
    assert np.isclose(floor_scale(0.8 * depth, large.rays(), FLOOR), 1.25, rtol=1e-3)
    tiny = Camera.from_fov(2, 1, 60)
    assert floor_scale(np.ones((1, 2), np.float32), tiny.rays(), FLOOR) == 1


@pytest.mark.parametrize("depth", [
    np.full((120, 160), 2.0), np.full((120, 160), np.nan), np.full((120, 160), np.inf), room() * np.exp(MOST + 0.2),
    room() * np.exp(-MOST - 0.2), np.random.default_rng(0).uniform(0.5, 5, (120, 160))])
def test_without_a_floor_in_sight_nothing_is_changed(depth):
    """A wall alone, nothing, noise, and what would have to be changed by more than is believed."""
    assert floor_scale(depth.astype(np.float32), CAMERA.rays(), FLOOR) == 1


def test_a_floor_above_the_horizon_of_all_rays_is_not_seen():
    assert floor_scale(room(), CAMERA.rays(), np.array([0, -0.8, -1.0])) == 1
