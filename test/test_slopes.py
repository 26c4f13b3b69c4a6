"""Normals of a depth map are those of its surfaces, and depth takes the slopes of normals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rooms import angle, room

from vbanana_ros.camera import Camera
from vbanana_ros.slopes import _solved, sloped, slopes_of, spread

CAMERA = Camera.from_fov(48, 36, 70)
ROOM = room(CAMERA)
LOGS, RAYS = np.log(ROOM.depth.astype(np.float64)), ROOM.rays.astype(np.float64)
EVERYWHERE = np.ones(LOGS.shape, bool)


def inner(mask):
    """Pixels all of whose neighbours are of the mask too."""
    padded = np.pad(mask, 1, mode="edge")
    return np.all([padded[1 + i:padded.shape[0] - 1 + i, 1 + j:padded.shape[1] - 1 + j]
                   for i in (-1, 0, 1) for j in (-1, 0, 1)], 0)


def faces():
    """The axis whose wall each pixel shows."""
    return np.abs(ROOM.normals @ ROOM.axes.T.astype(np.float32)).argmax(-1)


def test_slopes_are_the_normals_of_the_walls():
    slopes = slopes_of(LOGS, RAYS)
    flat = np.any([inner(faces() == axis) for axis in range(3)], 0)
    assert flat.mean() > 0.7 and angle(slopes, ROOM.normals)[flat].max() < 0.02
    assert ((slopes * RAYS).sum(-1)[flat] < 0).all()


def test_slopes_do_without_what_is_not_known():
    holed = LOGS.copy()
    holed[10:12, 20:30] = np.nan
    slopes = slopes_of(holed, RAYS)
    assert np.isnan(slopes[10:12, 20:30]).all() and np.isfinite(slopes[13]).all()
    flat = np.any([inner(faces() == axis) for axis in range(3)], 0) & np.isfinite(holed)
    assert np.nanmax(angle(slopes, ROOM.normals)[flat]) < 0.05


def test_depth_that_has_its_slopes_is_left_alone():
    """But where two walls meet, whose normals tell nothing of the way between them."""
    assert np.abs(sloped(LOGS, ROOM.normals, EVERYWHERE, RAYS) - LOGS).max() < 1e-3
    assert np.allclose(sloped(LOGS, ROOM.normals, ~EVERYWHERE, RAYS), LOGS)


def test_walls_that_lean_are_set_upright():
    """Painted with a slant of a tenth from left to right, a third of it is left: depth is not forgotten for slopes."""
    slant = np.linspace(-0.05, 0.05, 48)[None]
    mended = sloped(LOGS + slant, ROOM.normals, EVERYWHERE, RAYS) - LOGS
    assert 0.025 < np.ptp(mended.mean(0)) < 0.035 and abs(mended.mean()) < 1e-3


def test_unsure_normals_do_not_count():
    nonsense = np.broadcast_to(np.array([0, 0, -1.0]), ROOM.normals.shape)
    assert np.allclose(sloped(LOGS, nonsense, ~EVERYWHERE, RAYS), LOGS)


def test_pixels_on_a_line_tell_no_slope():
    """Nor does one alone; what rounding makes of them is no normal."""
    logs = np.full(LOGS.shape, np.nan)
    logs[5, 10:20], logs[20, 30] = LOGS[5, 10:20], LOGS[20, 30]
    logs[10:30, 5], logs[[14, 15, 16], [24, 25, 26]] = LOGS[10:30, 5], LOGS[[14, 15, 16], [24, 25, 26]]
    assert np.isnan(slopes_of(logs, RAYS)).all()
    logs[6, 14] = LOGS[6, 14]
    assert np.isfinite(slopes_of(logs, RAYS)[5, 13:16]).all() and np.isnan(slopes_of(logs, RAYS)[5, 12]).all()


def test_a_thing_before_a_wall_stays_before_it():
    """A jump of a half is no slope, though both are planes across the same axis."""
    wall = Camera(48, 36, np.array([[40.0, 0, 23.5], [0, 40, 17.5], [0, 0, 1]])).rays().astype(np.float64)
    logs = np.full((36, 48), np.log(3.0))
    logs[10:26, 14:34] = np.log(1.5)
    normals = np.broadcast_to(np.array([0, 0, -1.0]), wall.shape)
    assert np.abs(sloped(logs, normals, EVERYWHERE, wall) - logs).max() < 0.02


def test_holes_stay_holes():
    holed = LOGS.copy()
    holed[5:9, 7:30] = np.nan
    mended = sloped(holed, ROOM.normals, EVERYWHERE, RAYS)
    assert np.array_equal(np.isnan(mended), np.isnan(holed))
    assert np.nanmax(np.abs(mended - LOGS)) < 1e-3


@given(st.integers(0, 1000))
def test_least_squares_as_numpy_solves_them(seed):
    """Of a grid of 2 x 3, all seven pairs of neighbours."""
    rng = np.random.default_rng(seed)
    one, other = np.array([0, 1, 3, 4, 0, 1, 2]), np.array([1, 2, 4, 5, 3, 4, 5])
    weights, steps = rng.uniform(0, 2, 7), rng.normal(size=7)
    stays, before = rng.uniform(0.01, 1, 6), rng.normal(size=6)
    rows = np.zeros((7, 6))
    rows[np.arange(7), one], rows[np.arange(7), other] = 1, -1
    matrix = np.concatenate([np.sqrt(weights)[:, None] * rows, np.diag(np.sqrt(stays))])
    right = np.concatenate([np.sqrt(weights) * steps, np.sqrt(stays) * before])
    expected = np.linalg.lstsq(matrix, right, rcond=None)[0]
    assert np.allclose(_solved(weights, steps, one, other, stays, before), expected)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_factors_spread_evenly_over_a_surface(step):
    """A factor that rises from left to right is met everywhere between the pixels of the coarse grid."""
    logs = np.zeros((12, 16))
    rising = np.broadcast_to(np.arange(16.0), logs.shape)
    fine = spread(rising[::step, ::step], logs[::step, ::step], logs, step)
    last = (15 // step) * step
    assert np.allclose(fine[:, :last + 1], rising[:, :last + 1], atol=0.01 * step)
    assert np.allclose(fine[:, last:], last, atol=0.01 * step)


def test_factors_keep_to_their_surface():
    logs = np.zeros((8, 16))
    logs[:, 6:] = np.log(2)
    factors = np.where(logs[::4, ::4] > 0, 0.3, -0.3)
    assert np.allclose(spread(factors, logs[::4, ::4], logs, 4), np.where(logs > 0, 0.3, -0.3), atol=0.01)


def test_no_factor_where_there_is_no_depth():
    logs = np.zeros((8, 8))
    logs[0] = np.nan
    coarse = logs[::4, ::4]
    assert (spread(np.where(np.isnan(coarse), np.nan, 0.5), coarse, logs, 4)[0] == 0).all()
