"""Rooms are squared: their axes are found from lines, normals are taken for them, and depth gets their slopes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rooms import angle, apart, room
from scipy.spatial.transform import Rotation

from vbanana_ros.camera import Camera
from vbanana_ros.lines import Lines, lines_of, unit
from vbanana_ros.manhattan import axes_of, squared
from vbanana_ros.results import UNLABELED_8, DepthMap, LabelMap, NormalMap

CAMERA = Camera.from_fov(320, 240, 70)
ROOM = room(CAMERA)
LINES = lines_of(ROOM.rgb, ROOM.rays)
SURE = np.ones((240, 320), np.float32)
LEAN = Rotation.from_euler("xyz", [4, -6, 3], degrees=True).as_matrix().astype(np.float32)


def ball(normals, radius=50):
    """Normals with those of a ball in the middle of the picture; bool [H, W]: where it is."""
    y, x = np.mgrid[-120:120, -160:160] / radius
    inside = x * x + y * y < 1
    bulge = np.stack([x, y, -np.sqrt(np.maximum(1 - x * x - y * y, 0))], -1).astype(np.float32)
    return np.where(inside[..., None], bulge, normals), inside


@settings(max_examples=20, deadline=None)
@given(st.floats(-80, 80), st.floats(-25, 40), st.floats(-8, 8))
def test_axes_are_found_though_all_normals_lean(yaw, pitch, roll):
    seen = room(CAMERA, yaw, pitch, roll)
    assert apart(axes_of(lines_of(seen.rgb, seen.rays), seen.normals @ LEAN.T, 14.0), seen.axes) < 1.5


def test_axes_are_at_right_angles_and_the_same_every_time():
    axes = axes_of(LINES, ROOM.normals, 14.0)
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.array_equal(axes, axes_of(LINES, ROOM.normals, 14.0))


def test_normals_tell_which_vanishing_points_are_meant():
    """Tiles laid askew on one wall have most of the lines, but nothing faces along them."""
    turned = Rotation.from_rotvec(np.radians(35) * ROOM.axes[2]).as_matrix()
    askew = Lines(LINES.planes @ turned.T, LINES.middles @ turned.T, 1.1 * LINES.lengths)
    both = Lines(*(np.concatenate([getattr(one, name) for one in (LINES, askew)])
                   for name in ("planes", "middles", "lengths")))
    assert apart(axes_of(both, ROOM.normals, 14.0), ROOM.axes) < 1.0
    assert apart(axes_of(both, ROOM.normals @ turned.T.astype(np.float32), 14.0), ROOM.axes @ turned.T) < 1.0


@pytest.mark.parametrize("lines, normals", [
    (Lines(LINES.planes[:2], LINES.middles[:2], LINES.lengths[:2]), ROOM.normals),
    (LINES, np.full((4, 4, 3), np.nan, np.float32)),
    (Lines(*(np.repeat(getattr(LINES, name)[:1], 9, 0) for name in ("planes", "middles", "lengths"))), ROOM.normals),
], ids=["two lines", "no normals", "one line, nine times"])
def test_no_axes_of_too_little(lines, normals):
    assert axes_of(lines, normals, 14.0) is None


def test_lines_of_no_order_tell_no_axes():
    rng = np.random.default_rng(1)
    ends = np.concatenate([rng.uniform(-0.7, 0.7, (2, 100, 2)), np.ones((2, 100, 1))], -1)
    planes, middles = np.cross(*ends), ends.sum(0)
    assert axes_of(Lines(unit(planes), unit(middles), np.ones(100)), ROOM.normals, 14.0) is None


def test_walls_that_lean_are_square_again():
    result = squared(NormalMap(ROOM.normals @ LEAN.T, SURE), LINES, ROOM.rays)
    assert angle(ROOM.normals @ LEAN.T, ROOM.normals).mean() > 5
    assert angle(result.normals, ROOM.normals).max() < 0.7
    assert result.normals.dtype == np.float32 and result.confidence is SURE


def test_a_ball_stays_round():
    normals, inside = ball(ROOM.normals)
    assert np.array_equal(squared(NormalMap(normals, SURE), LINES, ROOM.rays).normals[inside], normals[inside])


def test_a_slanted_board_stays_slanted():
    slanted = ROOM.normals.copy()
    slanted[100:140, 100:200] = (ROOM.axes[1] + ROOM.axes[2]) / np.sqrt(2)
    result = squared(NormalMap(slanted, SURE), LINES, ROOM.rays)
    assert np.array_equal(result.normals[100:140, 100:200], slanted[100:140, 100:200])


def test_unknown_normals_stay_unknown():
    normals = ROOM.normals.copy()
    normals[50:60] = np.nan
    result = squared(NormalMap(normals, SURE), LINES, ROOM.rays).normals
    assert np.array_equal(np.isnan(result), np.isnan(normals))


def painted_depth():
    """The room's depth, with a slant from left to right and dents that no wall has."""
    y, x = np.mgrid[0:240, 0:320]
    return (ROOM.depth * np.exp(0.12 * (x / 320 - 0.5) + 0.03 * np.sin(y / 25) * np.cos(x / 31))).astype(np.float32)


def off(depth):
    """Spread of the error of depth, natural logarithm: what remains once its scale is right."""
    return float(np.nanstd(np.log(depth / ROOM.depth)))


def test_walls_become_plane():
    painted = painted_depth()
    result = squared(DepthMap(painted, SURE), LINES, ROOM.rays)
    assert off(painted) > 0.035 and off(result.depth) < 0.45 * off(painted)
    assert result.depth.dtype == np.float32 and result.metric and result.confidence is SURE


def test_depth_on_another_grid_than_the_image():
    small = room(Camera.from_fov(160, 120, 70))
    slant = np.exp(np.linspace(-0.06, 0.06, 160, dtype=np.float32))[None]
    result = squared(DepthMap(small.depth * slant, SURE[:120, :160]), LINES, CAMERA.rays((120, 160)))
    assert np.std(np.log(result.depth / small.depth)) < 0.6 * np.std(np.log(slant))


def test_true_depth_is_left_alone():
    result = squared(DepthMap(ROOM.depth, SURE), LINES, ROOM.rays)
    assert np.abs(np.log(result.depth / ROOM.depth)).max() < 0.02


def test_holes_and_the_open_sky_stay():
    painted = painted_depth()
    painted[:30], painted[100:110, 50:80], painted[200, 0] = np.inf, np.nan, 0
    result = squared(DepthMap(painted, SURE), LINES, ROOM.rays).depth
    assert np.isposinf(result[:30]).all() and np.isnan(result[100:110, 50:80]).all() and result[200, 0] == 0
    assert np.isfinite(result[30:100]).all()


def test_a_lens_that_does_not_reach_the_corners():
    rays, painted = ROOM.rays.copy(), painted_depth()
    rays[:40, :60] = np.nan
    result = squared(DepthMap(painted, SURE), LINES, rays).depth
    assert np.isfinite(result).all()
    assert np.nanstd(np.log(result / ROOM.depth)[60:, 80:]) < 0.5 * np.std(np.log(painted / ROOM.depth)[60:, 80:])


def test_nothing_is_changed_without_lines():
    bare = lines_of(np.full((240, 320, 3), 90, np.uint8), ROOM.rays)
    depth, normals = DepthMap(painted_depth(), SURE), NormalMap(ROOM.normals @ LEAN.T, SURE)
    assert np.array_equal(squared(depth, bare, ROOM.rays).depth, depth.depth)
    assert squared(normals, bare, ROOM.rays) is normals


def test_what_is_not_measured_in_metres_is_not_changed():
    relative = replace(DepthMap(painted_depth() / 10, SURE), metric=False)
    labels = LabelMap(np.full((240, 320), UNLABELED_8, np.uint8), (), (), SURE)
    assert squared(relative, LINES, ROOM.rays) is relative and squared(labels, LINES, ROOM.rays) is labels


def test_a_picture_of_one_row_is_left_alone():
    depth = np.full((1, 320), 2.0, np.float32)
    assert np.array_equal(squared(DepthMap(depth, SURE[:1]), LINES, ROOM.rays[:1]).depth, depth)
