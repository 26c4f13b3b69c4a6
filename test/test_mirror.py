"""The mirror: a second look whose mean with the first is exact, and does not depend on which of the two came first."""

import numpy as np
import pytest

from vbanana_ros.camera import Camera, frustum
from vbanana_ros.mirror import mean, reflect
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.results import DepthMap, NormalMap
from vbanana_ros.tasks import make_request

H, W = 48, 64
K = np.array([[60.0, 2, 30], [0, 50, 20], [0, 0, 1]])
DEPTH, NORMALS = make_request("depth"), make_request("normals")


def depth(*metres, **kinds):
    return DepthMap(np.float32([metres]), np.linspace(0, 1, len(metres), dtype=np.float32)[None], **kinds)


def test_reflecting_turns_the_picture_and_its_camera_around():
    rgb = np.arange(H * W * 3, dtype=np.uint8).reshape(H, W, 3)
    mirrored, camera = reflect(rgb, K)
    assert (mirrored == rgb[:, ::-1]).all() and mirrored.flags.c_contiguous
    assert camera.tolist() == [[60, -2, W - 1 - 30], [0, 50, 20], [0, 0, 1]]
    left, top, right, bottom = frustum(K, H, W)
    assert frustum(camera, H, W) == pytest.approx([-right, top, -left, bottom])
    for array, twice in zip((rgb, K), reflect(mirrored, camera), strict=True):
        assert (array == twice).all()
    batch, cameras = reflect(np.stack([rgb, mirrored]), np.stack([K, np.full((3, 3), np.nan)]))
    assert (batch[0] == mirrored).all() and (batch[1] == rgb).all()
    assert (cameras[0] == camera).all() and np.isnan(cameras[1, 0]).all()


def test_the_mean_of_metres_is_geometric_and_what_only_one_knows_counts():
    one = depth(1, 2, np.nan, np.inf, 3, np.inf, np.nan, np.nan)
    other = depth(*[4, 8, 5, 7, np.inf, np.inf, np.inf, np.nan][::-1])
    both = mean(one, other)
    assert both.depth[0] == pytest.approx([2, 4, 5, np.inf, 3, np.inf, np.inf, np.nan], nan_ok=True)
    assert both.depth.dtype == both.confidence.dtype == np.float32
    assert both.confidence == pytest.approx(0.5)  # 0..1 to the right, and to the left


def test_relative_depth_has_an_arithmetic_mean():
    both = mean(depth(0, 0.5, np.nan, metric=False, inverse=True), depth(0.25, 1, 0.5, metric=False, inverse=True))
    assert both.depth[0] == pytest.approx([0.25, 0.75, 0.25]) and (both.metric, both.inverse) == (False, True)


def test_normals_lie_between_and_opposite_ones_are_the_firsts():
    nan = [np.nan] * 3
    one = np.float32([[[0, 0, -1], [1, 0, 0], [0, -1, 0], nan, [0, 0, -1], nan]])
    other = np.float32([[[0, 0, -1], [0, -1, 0], [0, -1, 0], nan, [1, 0, 0], nan]])[:, ::-1] * np.float32([-1, 1, 1])
    other[0, 2] = [0.6, 0, -0.8]  # the fourth from the left, which the first does not know
    other[0, 4] = [1, 0, 0]  # the second: the mirror image of the opposite
    both = mean(NormalMap(one, np.ones((1, 6), np.float32)), NormalMap(other, np.zeros((1, 6), np.float32)))
    half = 0.5**0.5
    wanted = [[0, 0, -1], [1, 0, 0], [0, -1, 0], [-0.6, 0, -0.8], [half, 0, -half], nan]
    assert both.normals[0] == pytest.approx(np.array(wanted), abs=1e-6, nan_ok=True)
    assert both.normals.dtype == np.float32 and (both.confidence == 0.5).all()


def test_measurements_put_to_the_vote_do_not_depend_on_which_way_round_the_picture_is(nano):
    rgb = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    mirrored, camera = reflect(rgb, K)
    frames = [Frame(rgb, camera=Camera(W, H, K)), Frame(mirrored, camera=Camera(W, H, camera))]
    once = [Perception(nano, [DEPTH, NORMALS])(frame) for frame in frames]
    assert np.nanmax(abs(once[0].result("depth").depth / once[1].result("depth").depth[:, ::-1] - 1)) > 1e-2
    asked = Perception(nano, [DEPTH, make_request("instance", ["mug"]), NORMALS], votes=5)
    one, other = (asked(frame) for frame in frames)
    assert [a.votes for a in one.answers] == [2, 1, 2]
    assert one.result("depth").depth == pytest.approx(other.result("depth").depth[:, ::-1], rel=1e-4, nan_ok=True)
    turned = other.result("normals").normals[:, ::-1] * [-1, 1, 1]
    assert one.result("normals").normals == pytest.approx(turned, abs=1e-4, nan_ok=True)
    wanted = mean(once[0].result("depth"), once[1].result("depth"))
    assert one.result("depth").depth == pytest.approx(wanted.depth, rel=1e-4, nan_ok=True)


def test_frames_in_one_batch_are_each_mirrored(nano):
    frames = [Frame(np.random.default_rng(i).integers(0, 256, (H, W, 3), np.uint8)) for i in range(2)]
    asked = Perception(nano, [NORMALS], votes=2)
    for alone, together in zip(map(asked, frames), asked.together(frames), strict=True):
        one, other = (perceived.result("normals").normals for perceived in (alone, together))
        assert one == pytest.approx(other, abs=1e-4, nan_ok=True)
