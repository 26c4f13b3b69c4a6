"""Organised clouds: each point is its pixel's ray times its depth, and carries the pixel's own properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.camera import Camera
from vbanana_ros.cloud import make_cloud, pack_rgb, unpack_rgb, write_ply
from vbanana_ros.errors import InputError

H, W = 5, 8
CAMERA = Camera(W, H, np.array([[6.0, 0, 3], [0, 7, 2], [0, 0, 1]]))
RNG = np.random.default_rng(0)
DEPTH = RNG.uniform(0.5, 9, (H, W)).astype(np.float32)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
NORMALS = RNG.normal(size=(H, W, 3)).astype(np.float32)
LABELS = RNG.integers(0, 256, (H, W)).astype(np.uint8)
INSTANCES = RNG.integers(0, 65536, (H, W)).astype(np.uint16)


def test_points_are_rays_times_depth_with_all_fields_in_order():
    cloud = make_cloud(DEPTH, CAMERA, RGB, NORMALS, LABELS, INSTANCES)
    assert cloud.shape == (H, W) and cloud.itemsize == 36
    assert cloud.dtype.names == tuple("x y z rgb normal_x normal_y normal_z label instance".split())
    assert [cloud.dtype[n].str for n in cloud.dtype.names] == 7 * ["<f4"] + 2 * ["<u4"]
    v, u = np.mgrid[:H, :W]
    np.testing.assert_allclose(cloud["x"], (u - 3) / 6 * DEPTH, rtol=1e-6)
    np.testing.assert_allclose(cloud["y"], (v - 2) / 7 * DEPTH, rtol=1e-6)
    np.testing.assert_array_equal(cloud["z"], DEPTH)
    np.testing.assert_array_equal(cloud["rgb"].copy().view(np.uint32),
                                  RGB.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32))
    np.testing.assert_array_equal(np.stack([cloud[f"normal_{a}"] for a in "xyz"], -1), NORMALS)
    np.testing.assert_array_equal(cloud["label"], LABELS)
    np.testing.assert_array_equal(cloud["instance"], INSTANCES)


@pytest.mark.parametrize("given_fields, names", [
    ({}, "x y z"), ({"rgb": RGB}, "x y z rgb"), ({"labels": LABELS}, "x y z label"),
    ({"normals": NORMALS, "instances": INSTANCES}, "x y z normal_x normal_y normal_z instance"),
])
def test_only_what_is_given_becomes_a_field(given_fields, names):
    assert make_cloud(DEPTH, CAMERA, **given_fields).dtype.names == tuple(names.split())


def test_unusable_depth_is_nan_and_keeps_its_other_fields():
    depth = np.full((H, W), 2.0, np.float32)
    depth[0, :5] = np.nan, np.inf, -np.inf, 0.5, 4.0
    cloud = make_cloud(depth, CAMERA, labels=LABELS, instances=INSTANCES, min_range=1, max_range=3)
    bad = np.zeros((H, W), bool)
    bad[0, :5] = True
    for axis in "xyz":
        np.testing.assert_array_equal(np.isnan(cloud[axis]), bad)
    np.testing.assert_array_equal(cloud["label"], LABELS)
    np.testing.assert_array_equal(cloud["instance"], INSTANCES)
    # Without limits only what is not finite or lies behind the camera goes; 0 is a valid depth (REP 118).
    depth[0, 3:5] = 0.0, -1.0
    np.testing.assert_array_equal(np.isnan(make_cloud(depth, CAMERA)["z"][0, :6]),
                                  [True, True, True, False, True, False])
    # Limits are inclusive.
    two = np.full((H, W), 2, np.float32)
    assert np.isfinite(make_cloud(two, CAMERA, min_range=2, max_range=2)["z"]).all()


def test_pixels_without_a_ray_are_nan_in_all_three():
    camera = Camera(64, 48, [[5.0, 0, 31.5], [0, 5, 23.5], [0, 0, 1]], (0.01, 0, 0, 0), "equidistant")
    cloud = make_cloud(np.ones((48, 64), np.float32), camera)
    lost = np.isnan(camera.rays()[..., 0])
    assert lost.any() and not lost.all()
    for axis in "xyz":
        np.testing.assert_array_equal(np.isnan(cloud[axis]), lost)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9))
def test_stride_takes_every_nth_point(stride):
    full = make_cloud(DEPTH, CAMERA, RGB, NORMALS, LABELS, INSTANCES)
    part = make_cloud(DEPTH, CAMERA, RGB, NORMALS, LABELS, INSTANCES, stride=stride)
    assert part.tobytes() == full[::stride, ::stride].tobytes()


def test_camera_of_another_size_is_scaled_to_the_depth():
    small = make_cloud(DEPTH, CAMERA)
    large = Camera(2 * W, 2 * H, np.diag([2.0, 2, 1]) @ CAMERA.K)
    np.testing.assert_allclose(make_cloud(DEPTH, large)["x"], small["x"], rtol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="rgb is 7x5 and depth 8x5"):
        make_cloud(DEPTH, CAMERA, RGB[:, :7])
    with pytest.raises(InputError, match="not calibrated"):
        make_cloud(DEPTH, Camera(W, H, np.zeros((3, 3))))


@settings(max_examples=20, deadline=None)
@given(st.tuples(*3 * [st.integers(0, 255)]))
def test_rgb_packs_and_unpacks(color):
    image = np.full((2, 3, 3), color, np.uint8)
    packed = pack_rgb(image)
    assert packed.dtype == np.float32
    assert packed.view(np.uint32)[1, 2] == color[0] << 16 | color[1] << 8 | color[2]
    np.testing.assert_array_equal(unpack_rgb(packed), image)


def read_ply(path):
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    types = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], types[line.split()[1]]) for line in lines if line.startswith("property")]
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    vertices = np.frombuffer(body, fields)
    assert len(vertices) == count
    return vertices


def test_ply_has_the_finite_points_with_colours_and_normals(tmp_path):
    depth = DEPTH.copy()
    depth[1, 2] = np.nan
    cloud = make_cloud(depth, CAMERA, RGB, NORMALS, LABELS)
    path = tmp_path / "cloud.ply"
    assert write_ply(path, cloud) == H * W - 1
    vertices, good = read_ply(path), np.isfinite(depth)
    for axis in "xyz":
        np.testing.assert_array_equal(vertices[axis], cloud[axis][good])
        np.testing.assert_array_equal(vertices[f"n{axis}"], cloud[f"normal_{axis}"][good])
    np.testing.assert_array_equal(np.stack([vertices[c] for c in ("red", "green", "blue")], -1), RGB[good])
    assert [p.name for p in tmp_path.iterdir()] == ["cloud.ply"]
    assert write_ply(path, make_cloud(DEPTH, CAMERA)) == H * W
    assert read_ply(path).dtype.names == ("x", "y", "z")


def test_ply_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    for target in (tmp_path / "taken", tmp_path / "none" / "cloud.ply"):
        with pytest.raises(InputError, match="cannot write"):
            write_ply(target, make_cloud(DEPTH, CAMERA))
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_ply_below_a_file_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot write"):
        write_ply(tmp_path / "file" / "cloud.ply", make_cloud(DEPTH, CAMERA))


def test_points_agree_with_open3d():
    o3d = pytest.importorskip("open3d")
    image = o3d.geometry.RGBDImage.create_from_color_and_depth(
        o3d.geometry.Image(RGB), o3d.geometry.Image(DEPTH), depth_scale=1.0, depth_trunc=100.0,
        convert_rgb_to_intensity=False)
    pinhole = o3d.camera.PinholeCameraIntrinsic(W, H, 6, 7, 3, 2)
    theirs = o3d.geometry.PointCloud.create_from_rgbd_image(image, pinhole)
    ours = make_cloud(DEPTH, CAMERA, RGB)
    points = np.stack([ours[a] for a in "xyz"], -1).reshape(-1, 3)
    np.testing.assert_allclose(points, theirs.points, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(unpack_rgb(ours["rgb"]).reshape(-1, 3) / 255, theirs.colors, atol=1e-6)
