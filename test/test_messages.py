"""Messages: what a reader of each topic gets is the result, on both wires."""

import array
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.image import image_to_cvimage

from vbanana_ros.camera import Camera
from vbanana_ros.colorize import FAR, INVALID, NEAR, colorize
from vbanana_ros.errors import InputError
from vbanana_ros.messages import (
    LATCHED,
    TOPICS,
    camera_messages,
    decode_image,
    label_info,
    messages,
    offline,
    pack_array,
    pack_numpy,
    stamp_of,
    tasks_behind,
    typestore,
)
from vbanana_ros.perception import Answer, Frame, Perceived
from vbanana_ros.results import DepthMap, Detection, Instances, LabelMap, NormalMap, Picture
from vbanana_ros.tasks.base import Request

H, W = 6, 9
RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
STAMP = 1_700_000_000_123_456_789
CAMERA = Camera(W, H, np.array([[7.0, 0, 4], [0, 7, 2], [0, 0, 1]]), (0.1, 0, 0, 0, 0), frame_id="other")
DEPTH = RNG.uniform(0.5, 9, (H, W)).astype(np.float32)
DEPTH[0, :2] = np.nan, np.inf
CONFIDENCE = RNG.random((H, W)).astype(np.float32)
NORMALS = np.dstack([np.zeros((H, W)), np.zeros((H, W)), -np.ones((H, W))]).astype(np.float32)
NORMALS[2, 3] = np.nan
LABELS = RNG.integers(0, 2, (H, W)).astype(np.uint8)
LABELS[1, 1] = 255
IDS = np.full((H, W), 65535, np.uint16)
IDS[2:4, 3:6] = 0
SEMANTIC = LabelMap(LABELS, ("cup", "table"), ((255, 0, 0), (0, 255, 0)), CONFIDENCE)
REFERRING = LabelMap(1 - LABELS.clip(0, 1), ("left", "right"), ((1, 2, 3), (4, 5, 6)), CONFIDENCE)
CUPS = Instances(IDS, (Detection(0, "cup", 0.75, (3.0, 2.0, 3.0, 2.0), 6, (9, 8, 7)),), CONFIDENCE)
RESULTS = {
    "depth": DepthMap(DEPTH, CONFIDENCE), "normals": NormalMap(NORMALS, CONFIDENCE), "semantic": SEMANTIC,
    "referring": REFERRING, "instance": CUPS, "picture": Picture(np.full((H, W, 3), 0.5, np.float32)),
}


def perceived(*tasks, results=RESULTS, camera=CAMERA):
    answers = tuple(Answer(Request(task), f"draw {task}", results[task], RGB) for task in tasks)
    timings = {"encode": 1.5, "generate": 20.0, "decode": 2.5}
    return Perceived(Frame(RGB, STAMP, "optical", camera), answers, timings, "nano", "abc", -3, 2)


def built(*tasks, **options):
    return dict(messages(perceived(*tasks), offline, **options))


def pixels(message, dtype, channels=1):
    assert message.is_bigendian == 0 and message.step == message.width * channels * np.dtype(dtype).itemsize
    image = np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)
    return image[..., 0] if channels == 1 else image


def headers(message):
    """Every header in a message, at any depth."""
    if isinstance(message, list):
        return [h for item in message for h in headers(item)]
    if not is_dataclass(message):
        return []
    inner = [h for f in fields(message) for h in headers(getattr(message, f.name))]
    return [message, *inner] if type(message).__name__.endswith("Header") else inner


def test_all_tasks_give_all_topics_in_a_latched_first_order_and_survive_the_wire():
    sent = messages(perceived(*RESULTS), offline)
    names = [name for name, _ in sent]
    assert set(names) == set(TOPICS) - {"depth/relative"} and names.count("result_info") == len(RESULTS)
    for task in ("semantic", "referring"):
        assert f"{task}/label_info" in LATCHED
        assert names.index(f"{task}/label_info") < names.index(f"{task}/image")
    for name, message in sent:
        assert message.__msgtype__ == TOPICS[name]
        store = typestore()
        again = store.deserialize_cdr(store.serialize_cdr(message, TOPICS[name]), TOPICS[name])
        assert headers(again), name
        for header in headers(again):
            assert stamp_of(SimpleNamespace(header=header)) == STAMP and header.frame_id == "optical"


def test_every_message_has_a_header_of_its_own():
    found = [h for _, m in messages(perceived(*RESULTS), offline) for h in headers(m)]
    assert len({id(h) for h in found}) == len({id(h.stamp) for h in found}) == len(found) > len(TOPICS)


@pytest.mark.parametrize("topic, encoding, dtype, channels, values", [
    ("depth/image", "32FC1", "<f4", 1, DEPTH), ("depth/confidence", "32FC1", "<f4", 1, CONFIDENCE),
    ("normals/image", "32FC3", "<f4", 3, NORMALS), ("semantic/image", "mono8", "u1", 1, LABELS),
    ("semantic/confidence", "32FC1", "<f4", 1, CONFIDENCE),
    ("referring/image", "mono8", "u1", 1, REFERRING.labels), ("instance/image", "mono16", "<u2", 1, IDS),
    ("picture/image", "rgb8", "u1", 3, np.full((H, W, 3), 128)),
])
def test_images_carry_the_arrays(topic, encoding, dtype, channels, values):
    message = built(*RESULTS)[topic]
    assert (message.height, message.width, message.encoding) == (H, W, encoding)
    np.testing.assert_array_equal(pixels(message, dtype, channels), values)


@pytest.mark.parametrize("task", ["depth", "normals", "semantic", "referring", "instance"])
def test_colour_topics_show_colorize(task):
    message = built(*RESULTS)[f"{task}/color"]
    assert message.encoding == "rgb8"
    np.testing.assert_array_equal(pixels(message, "u1", 3), colorize(RESULTS[task]))


def test_label_info_names_ids_and_unlabelled():
    info = built("semantic")["semantic/label_info"]
    named = [(c.class_id, c.class_name) for c in info.class_map]
    assert named == [(0, "cup"), (1, "table"), (255, "UNLABELED")]
    assert info.threshold == 0


def test_detections():
    detection, = built("instance")["instance/detections"].detections
    assert detection.id == "0"
    hypothesis = detection.results[0].hypothesis
    assert (hypothesis.class_id, hypothesis.score) == ("cup", 0.75)
    box = detection.bbox
    assert (box.center.position.x, box.center.position.y, box.size_x, box.size_y) == (4.5, 3, 3, 2)


def test_camera_info_is_the_cameras_on_the_frames_grid():
    info = built("depth")["depth/camera_info"]
    assert (info.height, info.width, info.distortion_model) == (H, W, "plumb_bob")
    assert info.k.tolist() == CAMERA.K.ravel().tolist() and info.d.tolist() == [0.1, 0, 0, 0, 0]
    # A camera without P gets that of the raw image, which is what readers of depth look at.
    assert info.p.tolist() == [7, 0, 4, 0, 0, 7, 2, 0, 0, 0, 1, 0]
    large = perceived("depth", camera=CAMERA.resized(2 * H, 2 * W))
    info = dict(messages(large, offline))["depth/camera_info"]
    assert info.k.tolist() == CAMERA.K.ravel().tolist()
    p = np.hstack((CAMERA.K, [[-1.0], [0], [0]]))
    assert dict(messages(perceived("depth", camera=replace(CAMERA, P=p)), offline))[
        "depth/camera_info"].p.tolist() == p.ravel().tolist()


def cloud_of(message):
    types = {7: "<f4", 6: "<u4"}
    fields = message.fields
    dtype = np.dtype({"names": [f.name for f in fields], "offsets": [f.offset for f in fields],
                      "formats": [types[f.datatype] for f in fields], "itemsize": message.point_step})
    assert message.row_step == message.point_step * message.width and not message.is_dense
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def test_points_carry_every_field():
    cloud = cloud_of(built(*RESULTS)["points"])
    assert cloud.shape == (H, W)
    assert cloud.dtype.names == tuple("x y z rgb normal_x normal_y normal_z label instance".split())
    finite = np.isfinite(DEPTH)
    np.testing.assert_array_equal(cloud["z"][finite], DEPTH[finite])
    assert np.isnan(cloud["x"][~finite]).all()
    np.testing.assert_array_equal(cloud["label"], LABELS)
    np.testing.assert_array_equal(cloud["instance"], IDS)
    np.testing.assert_array_equal(cloud["normal_z"], NORMALS[..., 2])
    assert cloud["label"][1, 1] == 255 and cloud["instance"][0, 0] == 65535
    assert cloud_of(built("depth")["points"]).dtype.names == ("x", "y", "z", "rgb")
    small = cloud_of(built("depth", stride=2, min_range=2, max_range=5)["points"])
    assert small.shape == (3, 5)
    z = DEPTH[::2, ::2]
    np.testing.assert_array_equal(np.isfinite(small["z"]), (z >= 2) & (z <= 5))


def test_a_cloud_keeps_the_fields_of_tasks_that_this_frame_was_not_asked():
    full = cloud_of(built("depth", "normals", "semantic", "instance")["points"])
    part = cloud_of(built("depth", cloud_tasks={"depth", "normals", "semantic", "instance"})["points"])
    assert part.dtype == full.dtype
    np.testing.assert_array_equal(part["z"], full["z"])
    assert np.isnan(part["normal_x"]).all() and (part["label"] == 255).all() and (part["instance"] == 65535).all()


@pytest.mark.parametrize(("topics", "asked", "behind"), [
    (["depth/color"], ["depth", "semantic"], {"depth"}), (["depth/camera_info"], ["depth"], {"depth"}),
    (["points"], ["depth", "semantic", "referring"], {"depth", "semantic"}),
    (["overlay"], ["depth", "instance"], {"instance"}), (["overlay"], ["normals"], set()),
    (["result_info", "semantic/label_info"], ["depth", "semantic"], set()),
    (["semantic/image"], ["depth"], set()), (["picture/image", "normals/color"], list(RESULTS), {"picture", "normals"}),
])
def test_only_the_tasks_behind_what_is_read_must_be_answered(topics, asked, behind):
    assert tasks_behind(topics, asked) == behind


def test_names_of_labels_can_be_told_before_there_are_labels():
    info = label_info(Frame(RGB, STAMP, "optical"), ("cup", "table"), offline)
    assert info == built("semantic")["semantic/label_info"]


def test_a_frame_as_its_camera_would_send_it():
    image, info = camera_messages(Frame(RGB, STAMP, "optical", CAMERA), offline, pack_numpy)
    np.testing.assert_array_equal(decode_image(image), RGB)
    assert stamp_of(image) == stamp_of(info) == STAMP and info.header.frame_id == "optical"
    assert Camera.from_message(info).K[0, 0] == 7.0


@pytest.mark.parametrize("camera", [None, Camera(W, H, np.zeros((3, 3)))])
def test_no_points_without_a_calibrated_camera(camera):
    names = {name for name, _ in messages(perceived("depth", camera=camera), offline)}
    assert names == {"depth/image", "depth/color", "depth/confidence", "overlay", "result_info"}


def test_relative_depth_is_never_sent_as_metres():
    relative = {"depth": DepthMap(DEPTH, CONFIDENCE, metric=False)}
    sent = dict(messages(perceived("depth", results=relative), offline))
    assert set(sent) == {"depth/relative", "depth/color", "depth/confidence", "overlay", "result_info"}
    assert sent["depth/relative"].encoding == "32FC1"
    np.testing.assert_array_equal(pixels(sent["depth/relative"], "<f4", 1), DEPTH)


@pytest.mark.parametrize("tasks, shown", [
    (("depth", "instance", "semantic"), "semantic"), (("depth", "instance"), "instance"),
    (("depth", "referring"), "referring"), (("depth",), "depth"),
])
def test_overlay_blends_the_best_colours_there_are(tasks, shown):
    overlay = pixels(built(*tasks)["overlay"], "u1", 3).astype(int)
    assert np.abs(overlay - (RGB.astype(int) + colorize(RESULTS[shown])) / 2).max() <= 0.5
    assert "overlay" not in built("normals")


def test_result_info_tells_where_each_result_came_from():
    depth, semantic = (asked := perceived("depth", "semantic")).answers
    answers = (replace(depth, smoothing=0.5, floor_scale=1.25), replace(semantic, votes=3))
    infos = [m for name, m in messages(replace(asked, answers=answers), offline, age=0.25, dropped=7)
             if name == "result_info"]
    assert [(m.task, m.prompt) for m in infos] == [("depth", "draw depth"), ("semantic", "draw semantic")]
    info = infos[0]
    assert (info.model, info.weights, info.seed, info.steps) == ("nano", "abc", -3, 2)
    assert [(m.votes, m.floor_scale, m.smoothing) for m in infos] == [(1, 1.25, 0.5), (3, 1.0, 0.0)]
    assert info.stages == ["encode", "generate", "decode"] and info.latencies.tolist() == [1.5, 20.0, 2.5]
    assert info.age == 0.25 and info.dropped == 7
    assert info.input_stamp.sec * 10**9 + info.input_stamp.nanosec == STAMP


def test_only_what_is_wanted_is_built():
    asked = []

    def get_message(name):
        asked.append(name)
        return offline(name)

    sent = messages(perceived(*RESULTS), get_message, wanted={"semantic/image"})
    assert [name for name, _ in sent] == ["semantic/image"]
    assert "sensor_msgs/msg/PointCloud2" not in asked and len(asked) == len(set(asked))


def test_torch_results_give_the_same_bytes():
    def tensors(result):
        arrays = {f.name: torch.from_numpy(v.astype(np.int32) if v.dtype == np.uint16 else v.copy())
                  for f in fields(result) if isinstance(v := getattr(result, f.name), np.ndarray)}
        return replace(result, **arrays)

    ours = messages(perceived(*RESULTS), offline)
    theirs = messages(perceived(*RESULTS, results={k: tensors(r) for k, r in RESULTS.items()}), offline)
    for (name, a), (_, b) in zip(ours, theirs, strict=True):
        ours, theirs = (bytes(typestore().serialize_cdr(m, TOPICS[name])) for m in (a, b))
        assert ours == theirs, name


def test_array_packing_is_what_rclpy_takes_fast():
    class Message:
        def __init__(self, **values):
            vars(self).update(values)

    live = dict(messages(perceived(*RESULTS), lambda name: Message, pack_array))
    recorded = built(*RESULTS)
    assert isinstance(live["points"].data, array.array) and live["points"].data.typecode == "B"
    for name in ("points", "depth/image", "normals/image", "instance/image", "overlay"):
        assert live[name].data.tobytes() == recorded[name].data.tobytes()
    assert live["depth/camera_info"].d == array.array("d", [0.1, 0, 0, 0, 0])
    assert live["result_info"].latencies.typecode == "f"


def test_depth_colours_are_monotone_fixed_and_grey_where_invalid():
    def shown(values, metric=True):
        depth = np.array([values], np.float32)
        return colorize(DepthMap(depth, np.ones_like(depth), metric))[0]

    ends = shown([np.nan, 0, NEAR, FAR, 1000, np.inf])
    assert tuple(ends[0]) == INVALID
    assert (ends[1] == ends[2]).all() and ends[1][0] > 100 > ends[1][2]  # near is red
    assert (ends[3] == ends[4]).all() and (ends[4] == ends[5]).all() and (ends[3] != ends[1]).any()
    # A colour means one depth, whatever else is in the frame.
    assert (shown([2.0])[0] == shown([9.0, 2.0, np.nan])[1]).all()
    assert len(np.unique(shown(np.geomspace(NEAR, FAR, 200)), axis=0)) >= 190
    relative = shown([np.nan, 5.0, 10.0], metric=False)
    assert tuple(relative[0]) == INVALID
    assert (relative[1] == ends[1]).all() and (relative[2] == ends[3]).all()
    assert tuple(shown([np.nan], metric=False)[0]) == INVALID


def test_normal_label_and_instance_colours():
    rgb = colorize(RESULTS["normals"])
    # Facing the camera is light blue.
    assert tuple(rgb[2, 3]) == INVALID and tuple(rgb[0, 0]) == (128, 128, 255)
    left_up = NormalMap(np.array([[[-1, 0, 0], [0, -1, 0]]], np.float32), np.ones((1, 2), np.float32))
    assert colorize(left_up)[0].tolist() == [[255, 128, 128], [128, 255, 128]]
    rgb = colorize(SEMANTIC)
    assert tuple(rgb[1, 1]) == INVALID and (rgb[LABELS == 1] == (0, 255, 0)).all()
    many = Instances(np.arange(300, dtype=np.uint16)[None], (), CONFIDENCE)
    rgb = colorize(many)[0]
    assert len(np.unique(rgb, axis=0)) == 60 and (rgb[0] == rgb[60]).all()
    assert not (rgb == INVALID).all(-1).any()
    assert (colorize(CUPS)[IDS == 65535] == INVALID).all()


def image_message(data, height, width, encoding, step=0, is_bigendian=0):
    return SimpleNamespace(height=height, width=width, encoding=encoding, step=step,
                           is_bigendian=is_bigendian, data=data)


# The encodings are rosbags-image's; what it gets wrong (padding, rounding of 16 bits, cut data) is checked below.
@pytest.mark.parametrize("encoding, channels, dtype", [
    *((name, n, "u1") for name, n in (("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4), ("mono8", 1))),
    *((name, 2, "u1") for name in ("uyvy", "yuv422", "yuyv", "yuv422_yuy2")),
    *((f"bayer_{p}8", 1, "u1") for p in ("rggb", "bggr", "gbrg", "grbg")),
    *((name, n, "<u2") for name, n in (("mono16", 1), ("rgb16", 3), ("bgr16", 3), ("bayer_rggb16", 1))),
])
def test_encodings_decode_as_rosbags_image_does(encoding, channels, dtype):
    raw = RNG.integers(0, 256, 16 * 12 * channels * np.dtype(dtype).itemsize, dtype=np.uint8)
    message = image_message(raw, 12, 16, encoding)
    ours, theirs = decode_image(message), image_to_cvimage(message, "rgb8")
    assert ours.shape == (12, 16, 3) and ours.dtype == np.uint8
    # 16 bits: ours is rounded, theirs cut off.
    assert np.abs(ours.astype(int) - theirs).max() <= (dtype == "<u2")


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_luminance_above_half_as_much_colour(encoding):
    """Grey wherever the colour planes are level, red where they say so."""
    planes = np.full((6, 4), 128, np.uint8)
    planes[4:, 2:] = (90, 240) if encoding == "nv12" else (240, 90)  # U and V take turns
    rgb = decode_image(image_message(planes, 4, 4, encoding))
    assert rgb.shape == (4, 4, 3) and np.ptp(rgb[:, :2]) == 0
    assert (rgb[:, 2:, 0] > 200).all() and (rgb[:, 2:, 1:] < 130).all()


def test_generic_encodings_are_opencvs_order():
    bgr = RNG.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(image_message(bgr.tobytes(), 2, 2, "8UC3")), bgr[..., ::-1])
    assert decode_image(image_message(bytes([7, 9]), 1, 2, "8UC1")).tolist() == [[[7] * 3, [9] * 3]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 7), st.booleans())
def test_row_padding_and_byte_order_are_honoured(height, width, padding, big):
    values = RNG.integers(0, 65536, (height, width)).astype(">u2" if big else "<u2")
    rows = [row.tobytes() + bytes([170] * padding) for row in values]
    data = b"".join(rows)
    message = image_message(data, height, width, "mono16", 2 * width + padding, int(big))
    expected = np.rint(values.astype(float) * 255 / 65535)
    np.testing.assert_array_equal(decode_image(message)[..., 0], expected)
    # The last row may lack its padding.
    message.data = array.array("B", data[:len(data) - padding])
    np.testing.assert_array_equal(decode_image(message)[..., 2], expected)


def test_rgb8_is_not_copied():
    data = np.zeros(12, np.uint8)
    assert np.shares_memory(decode_image(image_message(data, 2, 2, "rgb8", 6)), data)


@pytest.mark.parametrize("message, wrong", [
    (image_message(b"\0" * 12, 2, 2, "jpeg2000"), "unknown image encoding 'jpeg2000'"),
    (image_message(b"", 0, 0, "rgb8"), "empty or truncated"),
    (image_message(b"\0" * 11, 2, 2, "rgb8", 6), "2x2 rgb8 image with 11 bytes"),
    (image_message(b"\0" * 12, 2, 2, "rgb8", 5), "truncated"),
    (image_message(b"\0" * 6, 1, 3, "yuyv", 6), "3x1 image cannot be yuyv"),
])
def test_bad_images_are_named(message, wrong):
    with pytest.raises(InputError, match=wrong) as error:
        decode_image(message)
    assert ";" in str(error.value) and "\n" not in str(error.value)


def compressed(image, extension, form):
    return SimpleNamespace(data=array.array("B", cv2.imencode(extension, image)[1].tobytes()), format=form)


def test_compressed_images():
    bgr = RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    png = compressed(bgr, ".png", "rgb8; png compressed bgr8")
    np.testing.assert_array_equal(decode_image(png), bgr[..., ::-1])
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(decode_image(compressed(flat, ".jpg", "jpeg")).astype(int) - (50, 100, 200)).max() <= 3
    grey = np.full((16, 16), 77, np.uint8)
    assert (decode_image(compressed(grey, ".jpg", "mono8; jpeg compressed ")) == 77).all()
    mosaic = RNG.integers(0, 256, (16, 16), dtype=np.uint8)
    np.testing.assert_array_equal(
        decode_image(compressed(mosaic, ".png", "bayer_grbg8; png compressed bayer_grbg8")),
        decode_image(image_message(mosaic, 16, 16, "bayer_grbg8")))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_cut_compressed_images_are_refused(extension):
    whole = compressed(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), extension, extension)
    for data in (whole.data[:len(whole.data) // 2], whole.data[:0], array.array("B", b"nonsense")):
        with pytest.raises(InputError, match="truncated or neither jpeg"):
            decode_image(SimpleNamespace(data=data, format=whole.format))


def test_message_types_have_ros_own_hashes():
    # From /opt/ros/jazzy's sensor_msgs, as recorded bags carry them: the store hashes as ROS does.
    assert typestore().hash_rihs01("sensor_msgs/msg/Image") == (
        "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47")
    assert [f for f, _ in typestore().fielddefs["vision_msgs/msg/Detection2D"][1]] == [
        "header", "results", "bbox", "id"]
    with pytest.raises(KeyError):
        offline("vbanana_ros/msg/Nothing")
