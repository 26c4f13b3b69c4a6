"""Perception: every request answered on the frame's grid, in order, or nothing changed."""

from dataclasses import replace

import numpy as np
import pytest
from rooms import angle, room
from scipy.spatial.transform import Rotation

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError, RequestError
from vbanana_ros.generators.load import load_generator, shipped
from vbanana_ros.generators.profile import Profile
from vbanana_ros.params import Params
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.results import (
    UNLABELED_8,
    UNLABELED_16,
    DepthMap,
    Detection,
    Instances,
    LabelMap,
    NormalMap,
    Picture,
)
from vbanana_ros.tasks import TASKS, Request, make_request

H, W = 24, 32  # the generator's grid; frames have twice as many rows and columns
FRAME = Frame(np.zeros((2 * H, 2 * W, 3), np.uint8), stamp=7, frame_id="optical")
SURE = np.ones((H, W), np.float32)


def instances(name, where, color):
    labels = np.full((H, W), UNLABELED_16, np.uint16)
    labels[where] = 0
    return Instances(labels, (Detection(0, name, 1.0, (0, 0, 1, 1), 1, color),), SURE)


def truths():
    """Every task's request and what is true of the frame."""
    labels = np.full((H, W), UNLABELED_8, np.uint8)
    labels[:H // 2], labels[H // 2:, :W // 2] = 0, 1
    normals = np.tile(np.float32([0, 0, -1]), (H, W, 1))
    semantic, referring = make_request("semantic", ["wall", "mug"]), make_request("referring", ["the mug", "the wall"])
    return [
        (make_request("instance", ["mug"]), instances("mug", np.s_[2:10, 2:12], (200, 30, 40))),
        (make_request("depth"), DepthMap(np.linspace(0.5, 8, H * W, dtype=np.float32).reshape(H, W), SURE)),
        (semantic, LabelMap(labels, semantic.labels, semantic.colors, SURE)),
        (make_request("instance", ["box"]), instances("box", np.s_[14:22, 20:30], (20, 30, 240))),
        (make_request("normals"), NormalMap(normals, SURE)),
        (referring, LabelMap(labels, referring.labels, referring.colors, SURE)),
        (make_request("picture", text="a sunset"), Picture(np.full((H, W, 3), 0.25, np.float32))),
    ]


@pytest.fixture
def generator(oracle):
    return oracle(truths())


@pytest.fixture
def perceived(generator):
    return Perception(generator, [request for request, _ in truths()], seed=3)(FRAME)


def test_answers_keep_the_order_of_the_requests(perceived):
    assert [a.request for a in perceived.answers] == [request for request, _ in truths()]
    assert perceived.answers[6].prompt == "a sunset" and perceived.answers[0].painted.shape == (H, W, 3)


def test_results_are_the_truth_on_the_frames_grid(perceived):
    """By nearest neighbour, two pixels of the frame for one of the generator's."""
    for (request, truth), answer in zip(truths(), perceived.answers, strict=True):
        field = {"depth": "depth", "normals": "normals", "picture": "rgb"}.get(request.task, "labels")
        found, expected = getattr(answer.result, field), getattr(truth, field)
        assert found.shape[:2] == (2 * H, 2 * W)
        assert np.allclose(found, expected.repeat(2, 0).repeat(2, 1), rtol=1e-3, atol=1e-3), request.task


def test_answers_end_where_things_end_in_the_frame(generator):
    """Three frame pixels to a painted one; the wall ends after a third of the middle ones, the mug begins there."""
    rgb = np.zeros((3 * H, 3 * W, 3), np.uint8)
    rgb[3 * H // 2:, 3 * W // 2 + 1:] = 255
    rgb[:3 * H // 2] = 128
    request = truths()[2][0]
    labels = Perception(generator, [request])(Frame(rgb)).result("semantic").labels
    expected = np.full(labels.shape, UNLABELED_8)
    expected[:3 * H // 2], expected[3 * H // 2:, :3 * W // 2 + 1] = 0, 1
    np.testing.assert_array_equal(labels, expected)


def test_instances_of_several_classes_become_one(perceived):
    merged = perceived.result("instance")
    assert [(d.id, d.name) for d in merged.detections] == [(0, "mug"), (1, "box")]
    assert merged.labels[8, 8] == 0 and merged.labels[40, 50] == 1 and merged.labels[0, 0] == UNLABELED_16
    assert merged.detections[0].box == (4, 4, 20, 16)


def test_what_was_not_asked_is_none(generator):
    perceived = Perception(generator, [make_request("depth")])(FRAME)
    assert perceived.result("normals") is None and perceived.answer("normals") is None
    assert perceived.answer("depth").result is perceived.result("depth")


def test_timings_and_provenance(perceived):
    assert list(perceived.timings) == ["encode", "generate", "decode"]
    assert all(ms >= 0 for ms in perceived.timings.values())
    assert (perceived.model, perceived.weights, perceived.seed, perceived.steps) == ("oracle", "0" * 64, 3, 1)
    assert perceived.frame is FRAME


def test_one_batch_a_frame_and_prompts_embedded_once(generator):
    perception = Perception(generator, [request for request, _ in truths()[:6]])
    perception(FRAME), perception(FRAME)
    assert generator.calls == [("encode_prompts", 6), *[("encode_image", FRAME.rgb.shape), ("generate", 6, 1)] * 2]


def test_frames_of_one_size_are_answered_in_one_batch_each_as_if_it_were_alone(nano):
    """Frames of two sizes, mixed; more of them than fit one batch."""
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 256, (h, 64, 3), np.uint8), stamp=i)
              for i, h in enumerate((48, 32, 48, 48, 32, *[48] * nano.capabilities.max_images))]
    perception = Perception(nano, [make_request("depth"), make_request("semantic", ["mug"])])
    together = perception.together(frames)
    assert [p.frame.stamp for p in together] == [*range(len(frames))]
    for frame, perceived in zip(frames, together, strict=True):
        alone = perception(frame)
        assert perceived.frame is frame and [a.request for a in perceived.answers] == [*perception.requests]
        for a, b in zip(perceived.answers, alone.answers, strict=True):
            assert np.abs(a.painted - b.painted).max() < 1e-4
    assert np.abs(together[0].answers[0].painted - together[2].answers[0].painted).max() > 1e-3


class Looking:
    """What a generator is told of cameras; it sees nothing."""

    def __init__(self, oracle):
        self.told, self.oracle = [], oracle

    def __getattr__(self, name):
        return getattr(self.oracle, name)

    def encode_image(self, rgb, K=None):
        self.told.append(K)
        return self.oracle.encode_image(rgb)


def test_a_generator_is_told_the_camera_of_each_frame(oracle):
    """On the frame's own grid; NaN for one that is not there or not calibrated; what is rectified by P."""
    generator = Looking(oracle(truths(), max_images=3))
    perception = Perception(generator, [make_request("depth")])
    height, width = FRAME.rgb.shape[:2]
    k, p = np.array([[50.0, 0, 20], [0, 60, 30], [0, 0, 1]]), np.zeros((3, 4))
    p[:, :3] = np.diag([70, 70, 1])
    twice = Camera(2 * width, 2 * height, np.diag([2.0, 2, 1]) @ k)
    cameras = (Camera(width, height, k), None, twice, Camera(width, height, k, P=p, rectified=True),
               Camera(width, height, np.diag([0.0, 0, 1])))
    perception.together([replace(FRAME, camera=camera) for camera in cameras])
    perception(replace(FRAME, camera=twice))
    first, rest, one = generator.told
    assert np.array_equal(first, [k, np.full((3, 3), np.nan), k], equal_nan=True)
    assert np.array_equal(rest, [p[:, :3], np.full((3, 3), np.nan)], equal_nan=True)
    assert np.array_equal(one, k)


FLOOR = np.array([0, 0.8, 0.5])


def standing(scale):
    """A perception of a wall 3 m ahead and the floor of FLOOR before it, all of it off by a factor; and its frame."""
    camera = Camera.from_fov(2 * W, 2 * H, 60)
    depth = np.minimum(1 / np.maximum(camera.rays() @ FLOOR, 1e-6), 3).astype(np.float32)
    return replace(FRAME, rgb=np.zeros((2 * H, 2 * W, 3), np.uint8), camera=camera), depth, (
        make_request("depth"), DepthMap(scale * depth[::2, ::2], SURE))


def test_metric_depth_is_scaled_to_the_floor_that_is_known(oracle):
    """Each frame's own, and it is said by how much; without a camera or a floor nothing is changed."""
    frame, truth, pair = standing(0.8)
    normals = truths()[4]
    perception = Perception(oracle([pair, normals], max_images=4), [pair[0], normals[0]])
    told = replace(frame, floor=FLOOR)
    one, untold, blind, uncalibrated = perception.together([
        told, frame, replace(told, camera=None), replace(told, camera=Camera(2 * W, 2 * H, np.diag([0.0, 0, 1])))])
    assert one.answer("depth").floor_scale == pytest.approx(1.25, rel=0.02) and one.answer("normals").floor_scale == 1
    assert np.median(np.abs(one.result("depth").depth / truth - 1)) < 0.02
    for other in (untold, blind, uncalibrated):
        assert other.answer("depth").floor_scale == 1
        assert np.allclose(other.result("depth").depth * one.answer("depth").floor_scale, one.result("depth").depth)


def test_relative_depth_has_no_floor(oracle):
    frame, _, (request, depth) = standing(0.8)
    profile = Profile("banana", "flux2", tuple(TASKS), "Apache-2.0", 1 << 20, depth_code="inverse-gray")
    relative = DepthMap(depth.depth / depth.depth.max(), SURE, metric=False, inverse=True)
    generator = oracle([(request, relative)], profile=profile)
    answer = Perception(generator, [request])(replace(frame, floor=FLOOR)).answer("depth")
    assert not answer.result.metric and answer.floor_scale == 1


@pytest.mark.parametrize("floor", [np.zeros(4), np.array([0, np.nan, 0]), (0, np.inf, 0), 1.0])
def test_a_floor_is_three_numbers(floor):
    with pytest.raises(InputError, match="floor is 3 finite numbers"):
        replace(FRAME, floor=floor)


def test_a_camera_of_another_image_is_an_error(oracle):
    perception = Perception(oracle(truths()), [make_request("depth")])
    with pytest.raises(InputError, match="camera_info is for 7x3, the image is"):
        perception(replace(FRAME, camera=Camera(7, 3, np.eye(3))))


def test_a_batch_holds_no_more_images_than_the_generator_takes(oracle):
    generator = oracle(truths(), max_images=2)
    Perception(generator, [make_request("depth")]).together([FRAME] * 5)
    shapes = [call[1] for call in generator.calls if call[0] == "encode_image"]
    assert shapes == [(2, *FRAME.rgb.shape)] * 2 + [FRAME.rgb.shape]


def test_pictures_take_the_models_steps_for_pictures(generator):
    Perception(generator, [request for request, _ in truths()])(FRAME)
    assert generator.calls[-2:] == [("generate", 6, 1), ("generate", 1, 4)]


def test_steps_of_the_user_count_for_all(generator):
    perception = Perception(generator, [request for request, _ in truths()], steps=2)
    assert perception(FRAME).steps == 2 and generator.calls[-1] == ("generate", 7, 2)


@pytest.mark.parametrize("bad", [
    [Request("smell")], [make_request("depth"), Request("smell")], [], [make_request("picture", text="x")],
    [Request("instance")],
])
def test_a_bad_request_changes_nothing(oracle, bad):
    perception = Perception(oracle(truths(), tasks=("depth", "semantic", "instance")), [make_request("depth")])
    before = perception.requests, perception.prompts
    with pytest.raises((RequestError, ValueError)):
        perception.ask(bad)
    assert (perception.requests, perception.prompts) == before
    assert perception(FRAME).result("depth") is not None


def test_what_the_model_cannot_do_is_named(oracle):
    with pytest.raises(RequestError, match="model 'oracle' cannot do task 'normals'; use one of depth"):
        Perception(oracle(truths(), tasks=("depth",)), [make_request("normals")])


def test_a_failing_generator_leaves_the_old_requests(generator, monkeypatch):
    perception = Perception(generator, [make_request("depth")])

    def fail(texts):
        raise RequestError("too long")
    monkeypatch.setattr(generator, "encode_prompts", fail)
    with pytest.raises(RequestError):
        perception.ask([make_request("normals")])
    assert [r.task for r in perception.requests] == ["depth"] and perception(FRAME).result("normals") is None


def test_a_frame_can_be_asked_something_else_beside_what_all_are(generator):
    requests = [request for request, _ in truths()]
    perception, own = Perception(generator, requests), [requests[2], requests[0]]
    assert [a.request for a in perception(FRAME, own).answers] == own
    assert perception.requests == tuple(requests)
    with pytest.raises(RequestError, match="nothing is asked"):
        perception(FRAME, [])


def test_ask_counts_from_the_next_frame_on(generator):
    perception = Perception(generator, [make_request("depth")])
    perception.ask([make_request("normals")])
    assert [a.request.task for a in perception(FRAME).answers] == ["normals"]


@pytest.mark.parametrize(("shape", "kind"), [
    ((0, 5, 3), np.uint8), ((5, 5), np.uint8), ((5, 5, 4), np.uint8), ((5, 5, 3), np.float32),
])
def test_a_frame_is_an_rgb_image(shape, kind):
    with pytest.raises(InputError, match=r"uint8 \[H, W, 3\]"):
        Frame(np.zeros(shape, kind))


def test_same_in_same_bytes_out(nano):
    frame = Frame(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8))
    perception = Perception(nano, Params().requests())
    first, second = perception(frame), perception(frame)
    for a, b in zip(first.answers, second.answers, strict=True):
        assert a.painted.tobytes() == b.painted.tobytes()
        assert a.result.confidence.tobytes() == b.result.confidence.tobytes()
        assert a.result.confidence.shape == (40, 70)


def test_a_model_whose_walls_lean_has_them_squared_where_the_camera_is_known(oracle):
    """Depth and normals; a model that does not ask for it, and one whose camera is not known, keep their lean."""
    camera = Camera.from_fov(320, 240, 70)
    seen = room(camera)
    sure, lean = np.ones((240, 320), np.float32), Rotation.from_euler("xyz", [4, -6, 3], degrees=True).as_matrix()
    leaning = (seen.normals @ lean.T).astype(np.float32)
    depth = seen.depth * np.exp(np.linspace(-0.06, 0.06, 320, dtype=np.float32))[None]
    truth = [(make_request("normals"), NormalMap(leaning, sure)), (make_request("depth"), DepthMap(depth, sure))]

    def errors(manhattan, camera):
        profile = Profile("leaning", "nano", ("depth", "normals"), "Apache-2.0", 1, manhattan=manhattan)
        perceived = Perception(oracle(truth, profile=profile), [r for r, _ in truth])(Frame(seen.rgb, camera=camera))
        normals, depths = perceived.result("normals").normals, perceived.result("depth").depth
        return np.nanmean(angle(normals, seen.normals)), np.nanstd(np.log(depths / seen.depth))

    lean_left, slant_left = errors(True, camera)
    assert lean_left < 1 and slant_left < 0.025
    for kept in (errors(False, camera), errors(True, None)):
        assert kept == pytest.approx((angle(leaning, seen.normals).mean(), 0.0348), rel=0.02)


@pytest.mark.skipif("nano" not in [p.name for p in shipped()], reason="no model is shipped with this checkout")
def test_the_shipped_model_on_the_demos_first_frame():
    """Depth within a factor of two of the truth, everything on the frame's grid."""
    from pathlib import Path

    import vbanana_ros
    from vbanana_ros.bags import read_frames
    from vbanana_ros.params import read_params

    demo = Path(vbanana_ros.__file__).parent / "demo"
    frame = next(read_frames(demo / "bag")).frame
    perception = Perception(load_generator("nano", "cpu"), read_params(demo / "perception.yaml").requests())
    perceived = perception(frame)
    shape = frame.rgb.shape[:2]
    depth, normals = perceived.result("depth").depth, perceived.result("normals").normals
    assert depth.shape == shape and np.isfinite(depth).mean() > 0.8
    assert 0.5 * 2.96 < np.median(depth[np.isfinite(depth)]) < 2 * 2.96  # the truth is 2.96 m
    assert normals.shape == (*shape, 3) and np.isfinite(normals[..., 0]).mean() > 0.8
    for task in ("semantic", "instance", "referring"):
        assert perceived.result(task).labels.shape == shape
    assert (perceived.result("semantic").labels != UNLABELED_8).mean() > 0.2
