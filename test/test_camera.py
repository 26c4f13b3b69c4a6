"""Cameras: every pixel's ray leads back to the pixel, whatever model, ROI, binning or size."""

import copy
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vbanana_ros.camera import Camera, frustum
from vbanana_ros.errors import InputError
from vbanana_ros.messages import offline

K = np.array([[520.0, 0, 318], [0, 515.0, 242], [0, 0, 1]])
WIDE_K = np.array([[50.0, 0, 319.5], [0, 50, 239.5], [0, 0, 1]])


def camera_info(width=640, height=480, k=K, d=(), model="plumb_bob", p=None, roi=(0, 0, 0, 0),
                binning=(0, 0)):
    """A rosbags CameraInfo; roi: x, y, width, height."""
    stamp = offline("builtin_interfaces/msg/Time")(sec=1, nanosec=2)
    return offline("sensor_msgs/msg/CameraInfo")(
        header=offline("std_msgs/msg/Header")(stamp=stamp, frame_id="optical"),
        height=height, width=width,
        distortion_model=model, d=np.array(d, float), k=np.array(k, float).ravel(), r=np.eye(3).ravel(),
        p=np.zeros(12) if p is None else np.array(p, float).ravel(),
        binning_x=binning[0], binning_y=binning[1],
        roi=offline("sensor_msgs/msg/RegionOfInterest")(
            x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3], do_rectify=False),
    )


def pixels(camera):
    return np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1)


def small(limit):
    return st.floats(-limit, limit)


# Ranges of real lenses: beyond them the models fold over and have no inverse.
DISTORTIONS = st.one_of(
    st.tuples(st.just("plumb_bob"), st.tuples(
        small(0.2), small(0.05), small(2e-3), small(2e-3), small(0.01))),
    st.tuples(st.just("rational_polynomial"), st.tuples(
        small(0.1), small(0.05), small(1e-3), small(1e-3), small(0.01), small(0.1), small(0.05),
        small(0.01))),
    st.tuples(st.just("equidistant"), st.tuples(small(0.05), small(0.02), small(0.01), small(0.005))),
)


@settings(max_examples=30, deadline=None)
@given(DISTORTIONS, st.floats(0.9, 2), st.floats(-3, 3))
def test_rays_project_back_to_their_pixels(distortion, focal, shift):
    model, d = distortion
    k = [[64 * focal, 0, 31 + shift], [0, 62 * focal, 24 - shift], [0, 0, 1]]
    camera = Camera.from_message(camera_info(64, 48, k, d, model))
    rays = camera.rays()
    assert rays.shape == (48, 64, 3) and rays.dtype == np.float32
    seen = ~np.isnan(rays[..., 0])
    # The middle of the image always converges; what does is exact at any depth.
    assert seen[12:36, 16:48].all()
    np.testing.assert_array_equal(rays[seen][:, 2], 1)
    np.testing.assert_allclose(camera.project(3 * rays)[seen], pixels(camera)[seen], atol=0.11)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), DISTORTIONS)
def test_roi_and_binning_look_where_the_full_image_looks(x, y, bx, by, distortion):
    model, d = distortion
    k = [[64, 0, 31], [0, 62, 24], [0, 0, 1]]
    full = Camera.from_message(camera_info(64, 48, k, d, model)).rays()
    part = Camera.from_message(camera_info(64, 48, k, d, model, roi=(x, y, 40, 24), binning=(bx, by)))
    assert (part.width, part.height) == (40 // bx, 24 // by)
    same = full[y:y + 24:by, x:x + 40:bx][:part.height, :part.width]
    seen = ~(np.isnan(same[..., 0]) | np.isnan(part.rays()[..., 0]))
    # Up to the solver's tolerance: image_geometry's folding puts binned pixels on every n-th one.
    np.testing.assert_allclose(part.rays()[seen], same[seen], atol=5e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 200), st.integers(8, 200))
@example(100, 200)
@example(51, 100)
@example(50, 102)
def test_resize_scales_rows_by_their_own_factor(height, width):
    camera = Camera(100, 50, K, P=np.hstack((K, np.ones((3, 1)))))
    if abs((width / 100) / (height / 50) - 1) > 0.02:
        with pytest.raises(InputError, match=f"100x50.*{width}x{height}"):
            camera.resized(height, width)
        return
    resized = camera.resized(height, width)
    sx, sy = width / 100, height / 50
    np.testing.assert_allclose(resized.K, [[520 * sx, 0, 318 * sx], [0, 515 * sy, 242 * sy], [0, 0, 1]])
    np.testing.assert_allclose(resized.P[:, 3], [sx, sy, 1])
    point = np.array([0.3, -0.2, 2.0])
    np.testing.assert_allclose(resized.project(point), camera.project(point) * (sx, sy))
    assert camera.resized(50, 100) is camera


def test_pinhole_rays_are_the_textbook_ones():
    ray = Camera(640, 480, K).rays()[100, 200]
    np.testing.assert_allclose(ray, [(200 - 318) / 520, (100 - 242) / 515, 1], rtol=1e-6)


@pytest.mark.parametrize("size", [(120, 160), (224, 288), (240, 640)])
def test_rays_of_another_grid_are_those_of_its_pixels_middles(size):
    rays = Camera(640, 480, K).rays(size)
    v, u = 90 * 480 / size[0], 150 * 640 / size[1]  # of what the pixels 89 and 90, 149 and 150 have between them
    np.testing.assert_allclose(rays[89:91, 149:151].mean((0, 1)), [(u - 0.5 - 318) / 520, (v - 0.5 - 242) / 515, 1],
                               atol=1e-5)
    assert rays.shape == (*size, 3) and rays is Camera(640, 480, K).rays(size) and not rays.flags.writeable


def test_rectified_images_use_p_and_no_distortion():
    p = [[400, 0, 300, -40], [0, 410, 200, 0], [0, 0, 1, 0]]
    info = camera_info(d=(-0.3, 0.1, 0, 0, 0), p=p)
    camera = Camera.from_message(info, rectified=True)
    assert not camera.distorted
    np.testing.assert_allclose(camera.rays()[0, 0], [-300 / 400, -200 / 410, 1], rtol=1e-6)
    assert Camera.from_message(info).distorted
    # A driver that rectifies on board may leave P empty.
    np.testing.assert_array_equal(Camera.from_message(camera_info(), rectified=True).intrinsics, K)


@pytest.mark.parametrize("model, d", [
    ("equidistant", (0.01, 0, 0, 0)),  # corners beyond 180 degrees
    ("plumb_bob", (-0.5, 0.1, 0, 0, 0)),  # folds over
    ("rational_polynomial", (5.0, -2, 1e-3, 1e-3, 0.3, 5.4, -1, 1)),
])
def test_no_ray_where_undistortion_does_not_converge(model, d):
    k = WIDE_K if model == "equidistant" else [[300.0, 0, 319.5], [0, 300, 239.5], [0, 0, 1]]
    rays = Camera(640, 480, k, d, model).rays()
    lost = np.isnan(rays).any(-1)
    assert lost[0, 0] and not lost[240, 320] and 0 < lost.mean() < 1
    assert np.isnan(rays[lost]).all()
    # Rays spread with the distance from the middle: no pixel got the model's second, wrong solution.
    for line in (rays[240, 320:, 0], -rays[240, 320::-1, 0], rays[240:, 320, 1]):
        assert (np.diff(line[~np.isnan(line)]) > 0).all() and not np.isnan(line[0])
        assert (np.diff(np.isnan(line).astype(int)) >= 0).all()


def test_messages_are_not_changed_and_rays_are_shared_and_read_only():
    info = camera_info(d=(0.1, 0, 0, 0, 0), roi=(10, 10, 320, 240), binning=(2, 2))
    before = copy.deepcopy(info)
    camera = Camera.from_message(info)
    rays = camera.rays()
    assert all(np.array_equal(getattr(info, name), getattr(before, name)) for name in "kdrp")
    assert info.roi == before.roi
    again = Camera.from_message(info)
    assert again == camera and hash(again) == hash(camera) and again.rays() is rays
    assert camera != Camera(160, 120, K) and camera != "camera"
    for array in (rays, camera.K, camera.D, camera.P):
        with pytest.raises(ValueError):
            array[0] = 1


def test_uncalibrated_camera_has_no_rays():
    camera = Camera.from_message(camera_info(k=np.zeros((3, 3))))
    assert not camera.calibrated and Camera(4, 4, K).calibrated
    with pytest.raises(InputError, match="not calibrated"):
        camera.rays()


def test_unknown_models_and_broken_matrices_are_refused():
    with pytest.raises(InputError, match="'spherical' with 2 coefficients"):
        Camera.from_message(camera_info(d=(1, 2), model="spherical"))
    with pytest.raises(InputError, match="'plumb_bob' with 3"):
        Camera.from_message(camera_info(d=(1, 2, 3)))
    with pytest.raises(InputError, match="'equidistant' with 5"):
        Camera.from_message(camera_info(d=(0, 0, 0, 0, 0), model="equidistant"))
    with pytest.raises(InputError, match="K is not 3 x 3"):
        Camera(4, 4, np.zeros(4))
    with pytest.raises(InputError, match="K is not"):
        Camera(4, 4, np.full((3, 3), np.nan))
    # No distortion needs no model.
    assert not Camera.from_message(camera_info(d=(0, 0), model="")).distorted


def test_size_left_out_fits_every_image():
    camera = Camera.from_message(camera_info(0, 0)).resized(30, 50)
    assert (camera.width, camera.height) == (50, 30)
    np.testing.assert_array_equal(camera.K, K)


def test_from_fov():
    camera = Camera.from_fov(640, 480, 90)
    assert camera.K[0, 0] == pytest.approx(320) and camera.K[1, 1] == pytest.approx(320)
    assert camera.K[:2, 2].tolist() == [319.5, 239.5]
    # The outer borders of the outermost pixels are 90 degrees apart.
    np.testing.assert_allclose(camera.project([1, 0, 1]), [639.5, 239.5])
    for fov in (0, 180, -5):
        with pytest.raises(InputError, match="field of view"):
            Camera.from_fov(640, 480, fov)


CALIBRATION = """
image_width: 640
image_height: 480
camera_name: cam
camera_matrix: {rows: 3, cols: 3, data: [520, 0, 318, 0, 515, 242, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500, 0, 300, 0, 0, 501, 200, 0, 0, 0, 1, 0]}
"""


def test_from_file_reads_ros_open3d_and_plain_files(tmp_path):
    ros, open3d, plain = (tmp_path / name for name in ("a.yaml", "b.json", "c.json"))
    ros.write_text(CALIBRATION)
    camera = Camera.from_file(ros)
    assert (camera.width, camera.height, camera.model) == (640, 480, "plumb_bob")
    np.testing.assert_array_equal(camera.K, K)
    assert camera.D.tolist() == [0.1, -0.2, 0.001, 0.002, 0] and camera.P[0, 0] == 500
    open3d.write_text(json.dumps({"width": 640, "height": 480, "intrinsic_matrix": K.T.ravel().tolist()},
                                 indent="\t"))
    np.testing.assert_array_equal(Camera.from_file(open3d).K, K)
    plain.write_text('{"fx": 520, "fy": 515, "cx": 318, "cy": 242}')
    np.testing.assert_array_equal(Camera.from_file(str(plain)).resized(480, 640).K, K)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{]", "a: [", "fx: 1",
                                  '{"fx": "wide", "fy": 1, "cx": 1, "cy": 1}',
                                  '{"intrinsic_matrix": [520, 0, 318, 0, 515, 242, 0, 0, 1]}',
                                  "camera_matrix: {data: [1, 2]}", "camera_matrix: 3"])
def test_from_file_names_a_file_that_is_no_camera(tmp_path, text):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Camera.from_file(path)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="none.yaml cannot be read"):
        Camera.from_file(tmp_path / "none.yaml")


def test_a_frustum_is_where_the_edges_of_the_image_are():
    """100 pixels to the metre: 50 and 20 of them to the left and above the axis, at the pixels' own edges."""
    k = np.array([[100.0, 0, 49.5], [0, 200, 19.5], [0, 0, 1]])
    assert np.allclose(frustum(k, 60, 80), [-0.5, -0.1, 0.3, 0.2])
    assert frustum(k, 60, 80).dtype == np.float32
    assert np.isnan(frustum(np.full((3, 3), np.nan), 60, 80)).all()


@given(st.floats(30, 2000), st.floats(30, 2000), st.floats(-50, 700), st.floats(-50, 500), st.integers(1, 8))
def test_a_frustum_is_the_same_on_any_grid_and_of_all_rays(fx, fy, cx, cy, times):
    """Brought to another grid, as `area` resampling does, pixels' edges stay where they are."""
    k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    finer = np.diag([times, times, 1.0]) @ (k + half) - half
    seen = frustum(k, 6, 8)
    assert np.allclose(frustum(finer, 6 * times, 8 * times), seen, rtol=1e-5, atol=1e-5)
    rays = Camera(8, 6, k).rays()
    assert np.allclose([rays[0, 0, 0] - 0.5 / fx, rays[0, 0, 1] - 0.5 / fy, rays[-1, -1, 0] + 0.5 / fx,
                        rays[-1, -1, 1] + 0.5 / fy], seen, rtol=1e-5, atol=1e-5)
