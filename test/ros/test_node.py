"""The node on real topics: one output a stamp, exact values, prompts that change, cameras that misbehave."""

import sys
import threading
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy._rclpy_pybind11 import RCLError
from rclpy.exceptions import InvalidHandle
from rclpy.parameter import Parameter
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool
from vbanana_ros.msg import TaskPrompt

from vbanana_ros.camera import Camera
from vbanana_ros.errors import ModelError
from vbanana_ros.generators.profile import Profile
from vbanana_ros.messages import TOPICS, camera_messages, pack_array, stamp_of
from vbanana_ros.node import spin
from vbanana_ros.perception import Frame
from vbanana_ros.tasks import TASKS
from vbanana_ros.votes import ballots

SECOND = 10**9
SIZE = (48, 64)


def pixels(message, dtype, channels=1):
    shape = (message.height, message.width, channels) if channels > 1 else (message.height, message.width)
    return np.frombuffer(message.data, dtype).reshape(shape)


def stamps(messages):
    return [stamp_of(m) / SECOND for m in messages]


def fields(cloud):
    dtype = np.dtype({"names": [f.name for f in cloud.fields], "offsets": [f.offset for f in cloud.fields],
                      "formats": [{7: "f4", 6: "u4"}[f.datatype] for f in cloud.fields], "itemsize": cloud.point_step})
    return np.frombuffer(cloud.data, dtype).reshape(cloud.height, cloud.width)


def test_every_output_of_a_frame_has_its_stamp_frame_and_exact_values(make_robot, truth):
    robot = make_robot()
    got = {topic: robot.read(topic, latched=topic.endswith("label_info")) for topic in TOPICS
           if topic not in ("picture/image", "depth/relative")}
    want = {t: [1.5] if "label_info" in t else [1.5, 2.5, 3.5] for t in got}
    want["result_info"] = [second for second in (1.5, 2.5, 3.5) for _ in range(5)]
    for second in (1.5, 2.5, 3.5):
        robot.look(second)
        robot.until(lambda s=second: all(stamps(m) == [w for w in want[t] if w <= s] for t, m in got.items()),
                    said=lambda: {t: stamps(m) for t, m in got.items()})
    time.sleep(0.2)  # for what should not come
    assert {t: stamps(m) for t, m in got.items()} == want
    assert all(m.header.frame_id == "optical" for messages in got.values() for m in messages)
    last = {topic: messages[-1] for topic, messages in got.items()}
    depth = pixels(last["depth/image"], np.float32)
    assert last["depth/image"].encoding == "32FC1" and np.isposinf(depth[:4, :4]).all()
    near = np.isfinite(truth.depth)
    np.testing.assert_allclose(depth[near], truth.depth[near], rtol=1e-4)
    assert last["normals/image"].encoding == "32FC3"
    np.testing.assert_allclose(pixels(last["normals/image"], np.float32, 3), truth.normals, atol=1e-3)
    assert last["semantic/image"].encoding == "mono8"
    np.testing.assert_array_equal(pixels(last["semantic/image"], np.uint8), truth.labels)
    np.testing.assert_array_equal(pixels(last["referring/image"], np.uint8), truth.near)
    assert last["instance/image"].encoding == "mono16"
    ids = pixels(last["instance/image"], np.uint16)
    assert {tuple(np.unique(ids[truth.boxes == i])) for i in (0, 1)} == {(0,), (1,)}
    assert (ids[truth.boxes == 65535] == 65535).all()
    assert [c.class_name for c in last["semantic/label_info"].class_map] == ["floor", "wall", "UNLABELED"]
    boxes = sorted((d.bbox.center.position.x, d.bbox.size_x, d.results[0].hypothesis.class_id)
                   for d in last["instance/detections"].detections)
    assert boxes == [(15.0, 10.0, "box"), (50.0, 20.0, "box")]
    for topic in ("depth/color", "normals/color", "semantic/color", "instance/color", "referring/color", "overlay"):
        assert (last[topic].encoding, last[topic].height, last[topic].width) == ("rgb8", 48, 64)
    info = last["depth/camera_info"]
    assert (info.height, info.width, info.k[0]) == (48, 64, 60.0)
    cloud = fields(last["points"])
    assert cloud.dtype.names == ("x", "y", "z", "rgb", "normal_x", "normal_y", "normal_z", "label", "instance")
    np.testing.assert_allclose(cloud["z"][near], truth.depth[near], rtol=1e-4)
    np.testing.assert_allclose(cloud["x"][10, 63], 31.5 / 60 * truth.depth[10, 63], rtol=1e-4)
    assert np.isnan(cloud["x"][:4, :4]).all() and not last["points"].is_dense
    result = last["result_info"]
    assert (result.model, result.weights, result.dropped) == ("oracle", "0" * 64, 0)
    assert list(result.stages) == ["receive", "encode", "generate", "decode"] and len(result.latencies) == 4


def test_messages_take_over_their_data_without_a_copy():
    packed = []

    def pack(values):
        packed.append(pack_array(values))
        return packed[-1]
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    image, _ = camera_messages(Frame(rgb, camera=Camera.from_fov(64, 48, 60)), get_message, pack)
    assert image.data is packed[0] and np.array_equal(pixels(image, np.uint8, 3), rgb)


def test_only_what_is_read_is_computed(make_robot):
    robot = make_robot()
    robot.look(1)
    time.sleep(0.3)
    assert ("encode_image", (48, 64, 3)) not in robot.generator.calls
    got = robot.read("depth/image")
    robot.look(2)
    robot.until(lambda: got)
    assert [c for c in robot.generator.calls if c[0] == "generate"][-1] == ("generate", 1, 1)


def test_rate_caps_hold_by_stamp_and_the_cloud_keeps_its_fields(make_robot):
    robot = make_robot(max_rate__semantic=1.0)
    depth, semantic, points = (robot.read(t) for t in ("depth/image", "semantic/image", "points"))
    for i in range(10):
        robot.look(1 + i / 5)
        robot.until(lambda i=i: len(points) == i + 1)
    robot.until(lambda: len(depth) == 10)
    assert stamps(semantic) == [1.0, 2.0]
    clouds = [fields(m) for m in points]
    assert all(c.dtype.names == clouds[0].dtype.names for c in clouds)
    assert (clouds[1]["label"] == 255).all() and set(np.unique(clouds[0]["label"])) == {0, 1}


def test_a_prompt_changes_between_frames_and_its_names_come_first(make_robot, truth):
    robot = make_robot(tasks=["semantic"])
    order = []
    labels, infos = robot.read("semantic/image"), robot.read("semantic/label_info", latched=True)
    robot.look(1)
    robot.until(lambda: labels and infos)
    reply = robot.set_prompt(task="semantic", classes=["ceiling", "ground"], colors=["#ffff00", "#00ffff"])
    assert reply.success and "ceiling" in reply.message
    robot.look(2)
    robot.until(lambda: len(labels) == 2 and len(infos) == 2)
    order = [[c.class_name for c in m.class_map] for m in infos]
    assert order == [["floor", "wall", "UNLABELED"], ["ceiling", "ground", "UNLABELED"]]
    assert stamps(infos) == [1.0, 2.0]
    np.testing.assert_array_equal(pixels(labels[1], np.uint8), truth.labels)
    assert robot.node.get_parameter("semantic.classes").value == ["ceiling", "ground"]
    late = robot.read("semantic/label_info", latched=True)
    robot.until(lambda: late)
    assert late[0].class_map[0].class_name == "ceiling"


@pytest.mark.parametrize(("words", "said"), [
    ({"task": "semantic", "classes": ["a"], "colors": ["redd"]}, "unknown colour 'redd'"),
    ({"task": "semantic", "classes": ["a", "b"], "colors": ["red"]}, "2 labels but 1 colours"),
    ({"task": "depht"}, "unknown task 'depht'"), ({"task": "depth", "text": "x"}, "no use for text"),
])
def test_a_prompt_that_is_refused_says_why_and_changes_nothing(make_robot, words, said):
    robot = make_robot(active=False)
    robot.node.trigger_configure()
    before = robot.node.perception.requests
    reply = robot.set_prompt(**words)
    assert not reply.success and said in reply.message
    assert robot.node.perception.requests == before


def test_votes_change_at_run_time_and_their_agreement_is_the_confidence(make_robot, oracle, truth):
    """A generator that errs under the second legend, in one half of the picture."""
    own, other = ballots(truth.pairs[2][0], 2)
    wrong = np.where(np.arange(64) < 32, truth.labels, 1 - truth.labels).astype(np.uint8)
    generator = oracle([*truth.pairs, (other, replace(truth.pairs[2][1], colors=other.colors, labels=wrong))])
    robot = make_robot(generator=generator, tasks=["depth", "semantic"])
    labels, sure, depth = (robot.read(t) for t in ("semantic/image", "semantic/confidence", "depth/image"))
    robot.look(1)
    robot.until(lambda: labels and sure and depth)
    assert (pixels(sure[0], np.float32) == 1).all()
    assert robot.node.set_parameters([Parameter("votes", value=2)])[0].successful
    assert not robot.node.set_parameters([Parameter("votes", value=0)])[0].successful
    robot.look(2)
    robot.until(lambda: len(labels) == 2 and len(sure) == 2 and len(depth) == 2)
    # Both legends and depth in one batch, then depth in the mirror.
    assert generator.calls[-2:] == [("generate", 3, 1), ("generate", 1, 1)]
    np.testing.assert_array_equal(pixels(labels[1], np.uint8), truth.labels)
    np.testing.assert_array_equal(pixels(sure[1], np.float32), np.where(np.arange(64) < 32, 1, 0.5) * np.ones((48, 1)))
    assert robot.node.perception.requests[1] == own


def test_smoothing_steadies_the_scale_of_each_camera_and_can_be_switched_off(make_robot, oracle, truth):
    robot = make_robot(cameras=["front", "rear"], tasks=["depth"], depth__smoothing=1.0)
    request, result = truth.pairs[0]
    got = {name: robot.read(f"{name}/depth/image") for name in ("front", "rear")}
    for i, scale in enumerate((1.0, 1.05, 1.05)):
        depth = replace(result, depth=result.depth * np.float32(scale))
        robot.generator.painted[TASKS["depth"].prompt(request)] = TASKS["depth"].encode(depth, request)
        if i == 2:
            assert robot.node.set_parameters([Parameter("depth.smoothing", value=0.0)])[0].successful
        for name in ("front", "rear"):
            robot.look(1 + i / 10, f"{name}/")
            robot.until(lambda name=name, i=i: len(got[name]) == i + 1)
    near = np.isfinite(truth.depth)
    for messages in got.values():
        scales = [np.median(pixels(m, np.float32)[near] / truth.depth[near]) for m in messages]
        # The second is let through by 1 - exp(-0.2) of its change.
        assert np.log(scales) == pytest.approx([0, np.log(1.05) * (1 - np.exp(-0.2)), np.log(1.05)], abs=1e-3)


def test_relative_depth_is_never_metres(make_robot, oracle, truth):
    """Its own topic and colours; no depth/image, no points, and one line that says why."""
    profile = Profile("banana", "flux2", tuple(TASKS), "Apache-2.0", 1 << 20, depth_code="inverse-gray")
    robot = make_robot(generator=oracle(truth.pairs, profile=profile), tasks=["depth"])
    topics = ("depth/relative", "depth/color", "depth/confidence", "depth/image", "depth/camera_info", "points")
    got = {topic: robot.read(topic) for topic in topics}
    for second in (1, 2):
        robot.look(second)
        robot.until(lambda second=second: all(len(got[t]) == second for t in topics[:3]))
    time.sleep(0.2)  # for what should not come
    assert not any(got[t] for t in topics[3:])
    shown = pixels(got["depth/relative"][0], np.float32)
    known = np.isfinite(truth.depth)
    assert got["depth/relative"][0].encoding == "32FC1" and 0 <= shown.min() and shown.max() <= 1
    order = np.argsort(truth.depth[known])
    assert (np.diff(shown[known][order]) >= -1e-6).all()
    assert "model 'oracle' paints relative depth" in robot.node.health.faults["depth"]
    robot.node.trigger_deactivate()
    robot.node.trigger_cleanup()
    assert "depth" not in robot.node.health.faults


def test_a_prompt_by_topic(make_robot):
    robot = make_robot(tasks=["depth"])
    robot.send(TaskPrompt(task="semantic", classes=["ceiling", "ground"], colors=["#ffff00", "#00ffff"]),
               "/perception_node/prompt")
    robot.until(lambda: [r.task for r in robot.node.perception.requests] == ["depth", "semantic"])


def test_parameters_are_refused_when_bad_and_change_at_run_time_when_good(make_robot):
    robot = make_robot()

    def put(**values):
        request = SetParametersAtomically.Request(parameters=[
            Parameter(n.replace("__", "."), value=v).to_parameter_msg() for n, v in values.items()])
        return robot.call(SetParametersAtomically, "/perception_node/set_parameters_atomically", request).result

    assert "read when the node is configured" in put(model="other").reason
    assert "unknown task" in put(tasks=["dept"]).reason
    assert not put(stride=99).successful and robot.node.get_parameter("stride").value == 1
    assert "max_range must be above" in put(min_range=5.0, max_range=4.0).reason
    assert put(min_range=2.0, stride=2).successful
    points = robot.read("points")
    robot.look(1)
    robot.until(lambda: points)
    assert (points[0].height, points[0].width) == (24, 32)
    assert np.nanmin(fields(points[0])["z"]) >= 2.0


def test_compressed_images(make_robot, truth):
    robot = make_robot(image_transport="compressed")
    depth = robot.read("depth/image")
    image, info = robot.frame(3)
    robot.send(info, "/camera_info")
    png = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    robot.send(CompressedImage(header=image.header, format="png", data=png), "/image/compressed")
    robot.until(lambda: depth)
    assert stamps(depth) == [3.0] and depth[0].width == 64


def test_two_cameras_share_the_model_and_keep_their_frames(make_robot):
    robot = make_robot(cameras=["front", "rear"], tasks=["depth"])
    got = {c: robot.read(f"{c}/depth/image") for c in ("front", "rear")}
    clouds = {c: robot.read(f"{c}/points") for c in ("front", "rear")}
    for second in (1, 2):
        robot.look(second, prefix="front/", frame_id="front_optical", fx=60.0)
        robot.look(second + 0.5, prefix="rear/", frame_id="rear_optical", fx=30.0)
        robot.until(lambda s=second: all(len(m) == s for m in (*got.values(), *clouds.values())))
    assert stamps(got["front"]) == [1.0, 2.0] and stamps(got["rear"]) == [1.5, 2.5]
    assert {m.header.frame_id for m in got["rear"]} == {"rear_optical"}
    wide, narrow = (fields(clouds[c][0])["x"][30, 63] for c in ("rear", "front"))
    assert wide == pytest.approx(2 * narrow)


@pytest.mark.parametrize("fails", [False, True])
def test_cameras_that_wait_are_answered_in_one_batch(make_robot, oracle, truth, fails):
    """And where the batch needs more memory than there is, each alone."""
    import torch

    held = threading.Event()

    class Held(oracle):
        def generate(self, image, prompts, steps=1, seed=0):
            held.wait(10)
            if fails and image.ndim == 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().generate(image, prompts, steps, seed)

    cameras = ["front", "left", "rear"]
    robot = make_robot(generator=Held(truth.pairs, max_images=2), cameras=cameras, tasks=["depth"])
    got = {c: robot.read(f"{c}/depth/image") for c in cameras}
    robot.look(1, prefix="front/", info=False)
    robot.until(lambda: ("encode_image", (*SIZE, 3)) in robot.generator.calls)
    for i, camera in enumerate(cameras):
        robot.look(2 + i, prefix=f"{camera}/", info=False, frame_id=camera)
    held.set()
    robot.until(lambda: sum(map(len, got.values())) == 4)
    assert {c: stamps(m) for c, m in got.items()} == {"front": [1.0, 2.0], "left": [3.0], "rear": [4.0]}
    assert all(m[-1].header.frame_id == c for c, m in got.items())
    assert ("encode_image", (2, *SIZE, 3)) in robot.generator.calls
    assert robot.node.health.failed == 0 and robot.node.health.frames == 4


def test_a_late_camera_info_gives_clouds_from_then_on(make_robot):
    robot = make_robot(tasks=["depth"])
    depth, points = robot.read("depth/image"), robot.read("points")
    robot.look(1, info=False)
    robot.until(lambda: depth)
    assert not points and "no camera_info" in robot.node.health.faults["camera_info"]
    robot.look(2)
    robot.until(lambda: points)
    assert stamps(points) == [2.0] and "camera_info" not in robot.node.health.faults


def test_an_uncalibrated_camera_gets_depth_and_no_cloud(make_robot):
    robot = make_robot(tasks=["depth"])
    depth, points, info = robot.read("depth/image"), robot.read("points"), robot.read("depth/camera_info")
    robot.look(1, fx=0.0)
    robot.until(lambda: depth)
    time.sleep(0.2)
    assert not points and not info
    assert "not calibrated" in robot.node.health.summary(time.monotonic())[1]


def test_both_kinds_of_reader_are_served_and_a_mismatch_is_said(make_robot):
    from rclpy.qos import DurabilityPolicy, QoSProfile

    robot = make_robot(tasks=["depth"])
    reliable, best_effort = robot.read("depth/image"), robot.read("depth/image", reliable=False)
    robot.look(1)
    robot.until(lambda: reliable and best_effort)
    robot.own.create_subscription(Image, "/perception_node/depth/image", lambda m: None,
                                  QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    robot.until(lambda: any("does not match" in f for f in robot.node.health.faults.values()))
    fault = next(f for f in robot.node.health.faults.values() if "does not match" in f)
    assert "DURABILITY" in fault and "qos_overrides./perception_node/depth/image" in fault


def test_qos_can_be_overridden(make_robot):
    robot = make_robot(tasks=["depth"], **{"qos_overrides./image.subscription.reliability": "reliable"})
    info = robot.own.get_subscriptions_info_by_topic("/image")
    robot.until(lambda: robot.own.get_subscriptions_info_by_topic("/image"))
    info = robot.own.get_subscriptions_info_by_topic("/image")[0]
    assert info.qos_profile.reliability.name == "RELIABLE"


def test_the_life_cycle_goes_round_and_gives_the_memory_back(make_robot, oracle, truth):
    loaded = []

    def load(model, device, speed):
        generator = oracle(truth.pairs)
        loaded.append(weakref.ref(generator))
        return generator

    robot = make_robot(load=load, tasks=["depth"])
    for turn in range(1, 4):
        depth = robot.read("depth/image")
        robot.look(turn)
        robot.until(lambda d=depth: d)
        assert robot.node.trigger_deactivate().name == "SUCCESS"
        assert loaded[-1]() is not None  # the weights are kept
        assert robot.node.trigger_activate().name == "SUCCESS" and len(loaded) == turn
        robot.look(turn + 0.5)
        robot.until(lambda d=depth: len(d) == 2)
        robot.node.trigger_deactivate()
        robot.node.trigger_cleanup()
        assert loaded[-1]() is None and robot.node.health.state == "unconfigured"
        robot.node.trigger_configure()
        robot.node.trigger_activate()
    assert len(loaded) == 4


def test_a_transition_that_the_state_has_not_does_not_end_the_node(make_robot, monkeypatch):
    robot, said = make_robot(tasks=["depth"]), []
    depth = robot.read("depth/image")
    monkeypatch.setattr(robot.node, "get_logger", lambda: SimpleNamespace(error=said.append))
    client = robot.own.create_client(ChangeState, "/perception_node/change_state")
    assert client.wait_for_service(timeout_sec=10)
    future = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    # Whether whoever asked is told depends on rclpy.
    robot.until(lambda: said or future.done())
    assert said and "a transition was refused" in said[0] or not future.result().success
    robot.look(1)
    robot.until(lambda: depth)
    assert robot.node.health.state == "active"


def test_what_was_destroyed_before_it_is_waited_for_does_not_end_the_spin():
    raised = [RCLError("the wait set is too small"), InvalidHandle("destruction was requested")]

    def once():
        if raised:
            raise raised.pop()

    with pytest.raises(RCLError, match="too small"):
        spin(SimpleNamespace(spin=once), None)
    assert not raised
    assert spin(SimpleNamespace(spin=once), None) is None


def test_a_model_that_is_missing_fails_with_the_reason_and_can_be_mended(make_robot, oracle, truth):
    def load(model, device, speed):
        if model == "gone":
            raise ModelError("no model 'gone'; name another")
        return oracle(truth.pairs)

    robot = make_robot(active=False, load=load, model="gone")
    diagnostics = robot.read("/diagnostics")
    assert robot.node.trigger_configure().name == "FAILURE"
    robot.until(lambda: any("no model 'gone'" in s.message for m in diagnostics for s in m.status))
    assert robot.node.set_parameters([Parameter("model", value="there")])[0].successful
    assert robot.node.trigger_configure().name == "SUCCESS"


def test_diagnostics_come_without_diagnostic_updater_too(make_robot, monkeypatch):
    monkeypatch.setitem(sys.modules, "diagnostic_updater", None)
    robot = make_robot(tasks=["depth"])
    diagnostics = robot.read("/diagnostics")
    robot.until(lambda: diagnostics)
    status = diagnostics[0].status[0]
    assert (status.name, status.level, status.message) == ("perception_node: perception", b"\x00", "perceiving")
    assert {v.key: v.value for v in status.values}["state"] == "active"


def test_a_defect_in_configure_is_an_error_that_can_be_recovered_from(make_robot, oracle, truth):
    faults = [RuntimeError("a defect")]

    def load(model, device, speed):
        if faults:
            raise faults.pop()
        return oracle(truth.pairs)

    robot = make_robot(active=False, load=load)
    assert robot.node.trigger_configure().name == "ERROR"
    assert robot.node.trigger_configure().name == "SUCCESS"
    assert robot.node.trigger_activate().name == "SUCCESS"


def test_garbage_is_said_and_the_next_image_is_answered(make_robot):
    robot = make_robot(tasks=["depth"])
    depth, diagnostics = robot.read("depth/image"), robot.read("/diagnostics")
    image, _ = robot.frame(1)
    for turn, (encoding, data) in enumerate((("rgb8", b"\0" * 7), ("nonsense", b"\0" * 64 * 48 * 3)), start=1):
        bad = Image(header=image.header, height=48, width=64, encoding=encoding, step=192, data=data)
        diagnostics.clear()
        robot.send(bad, "/image")
        robot.until(lambda: robot.node.health.last_fault)
        robot.until(lambda: any(s.level == b"\x02" and s.message.startswith("image at 1.0") for m in diagnostics
                                for s in m.status))
        robot.look(2)
        robot.until(lambda n=turn: len(depth) == n and not robot.node.health.last_fault)
    assert robot.node.health.failed == 2 and stamps(depth) == [2.0, 2.0]


@pytest.mark.parametrize("error", ["RuntimeError", "OutOfMemoryError"])
def test_a_generator_that_fails_does_not_end_the_node(make_robot, oracle, truth, error):
    import torch

    class Faulty(oracle):
        faults = [getattr(torch, error, RuntimeError)("CUDA out of memory. Tried to allocate 2 GiB")]

        def generate(self, image, prompts, steps=1, seed=0):
            if self.faults:
                raise self.faults.pop()
            return super().generate(image, prompts, steps, seed)

    robot = make_robot(generator=Faulty(truth.pairs), tasks=["depth"])
    depth, diagnostics = robot.read("depth/image"), robot.read("/diagnostics")
    robot.look(1)
    robot.until(lambda: any("out of memory" in s.message for m in diagnostics for s in m.status))
    robot.look(2)
    robot.until(lambda: depth)
    assert stamps(depth) == [2.0] and robot.node.health.failed == 1


def test_a_slow_generator_gets_the_newest_frame_and_the_executor_goes_on(make_robot, oracle, truth):
    class Slow(oracle):
        def generate(self, image, prompts, steps=1, seed=0):
            time.sleep(0.5)
            return super().generate(image, prompts, steps, seed)

    robot = make_robot(generator=Slow(truth.pairs), tasks=["depth"])
    depth = robot.read("depth/image")
    for i in range(20):
        robot.look(1 + i / 100)
        if i == 5:
            start = time.monotonic()
            robot.call(SetBool, "/perception_node/set_enabled", SetBool.Request(data=True))
            assert time.monotonic() - start < 0.4
    robot.until(lambda: stamps(depth)[-1:] == [1.19])
    assert robot.node.health.dropped[""] == 20 - len(depth)


def test_disabled_it_rests(make_robot):
    robot = make_robot(tasks=["depth"])
    depth = robot.read("depth/image")
    assert robot.call(SetBool, "/perception_node/set_enabled", SetBool.Request(data=False)).success
    robot.look(1)
    time.sleep(0.3)
    assert not depth
    robot.call(SetBool, "/perception_node/set_enabled", SetBool.Request(data=True))
    robot.look(2)
    robot.until(lambda: depth)


def test_age_follows_the_simulated_clock(make_robot):
    from rosgraph_msgs.msg import Clock

    robot = make_robot(tasks=["depth"], use_sim_time=True)
    infos = robot.read("result_info")
    clock = Clock()
    clock.clock.sec, clock.clock.nanosec = 101, 500_000_000
    publisher = robot.own.create_publisher(Clock, "/clock", 1)
    robot.until(lambda: publisher.get_subscription_count())
    publisher.publish(clock)
    robot.until(lambda: robot.node.get_clock().now().nanoseconds)
    depth = robot.read("depth/image")
    robot.look(101)
    robot.until(lambda: infos and depth)
    assert infos[0].age == pytest.approx(0.5)
