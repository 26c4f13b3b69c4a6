"""Bags: every image in, every result out, whatever is broken and whenever the run is killed."""

import json
import multiprocessing
import os
import shutil
import signal
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from vbanana_ros.bags import find_topics, process_bag, read_frames
from vbanana_ros.errors import BagError, InputError
from vbanana_ros.messages import offline, stamp_of, typestore
from vbanana_ros.perception import Answer, Perceived
from vbanana_ros.results import DepthMap, LabelMap
from vbanana_ros.tasks.base import Request

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
START, STEP = 1_700_000_000_000_000_000, 100_000_000
H, W = 12, 16
IMAGE, INFO = "/camera/color/image_raw", "/camera/color/camera_info"
CLASS = {"Image": "sensor_msgs/msg/Image", "CompressedImage": "sensor_msgs/msg/CompressedImage",
         "CameraInfo": "sensor_msgs/msg/CameraInfo", "String": "std_msgs/msg/String",
         "TFMessage": "tf2_msgs/msg/TFMessage"}


class Oracle:
    """A perception whose answers follow from the image: depth is red in decimetres, label 1 where green."""

    requests = (Request("depth"), Request("semantic", ("dark", "green"), ((255, 0, 0), (0, 255, 0))))

    def __init__(self, fails_at=(), model="oracle"):
        self.seen, self.fails_at, self.model = [], fails_at, model

    def __call__(self, frame):
        self.seen.append(frame.stamp)
        if frame.stamp in self.fails_at:
            raise InputError("too dark; switch on the light")
        depth = frame.rgb[..., 0].astype(np.float32) / 10
        one = np.ones_like(depth)
        labels = (frame.rgb[..., 1] > 127).astype(np.uint8)
        asked = self.requests[1]
        results = DepthMap(depth, one), LabelMap(labels, asked.labels, asked.colors, one)
        answers = tuple(Answer(q, q.task, r, frame.rgb) for q, r in zip(self.requests, results, strict=True))
        return Perceived(frame, answers, {"generate": float(np.random.rand())}, self.model, "f00", 0, 1)


def header(n, frame_id="optical"):
    sec, nanosec = divmod(START + n * STEP, 10**9)
    stamp = offline("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
    return offline("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)


def rgb(n, height=H, width=W):
    return np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)


def image(n, pixels=None, encoding="rgb8", frame_id="optical", **changed):
    pixels = rgb(n) if pixels is None else pixels
    height, width = pixels.shape[:2]
    fields = dict(header=header(n, frame_id), height=height, width=width, encoding=encoding, is_bigendian=0,
                  step=pixels.nbytes // height, data=pixels.reshape(-1).view(np.uint8))
    return offline(CLASS["Image"])(**(fields | changed))


def camera_info(n, fx=20.0, frame_id="optical", height=H, width=W):
    return offline(CLASS["CameraInfo"])(
        header=header(n, frame_id), height=height, width=width, distortion_model="plumb_bob", d=np.zeros(5),
        k=np.array([fx, 0, 8, 0, fx, 6, 0, 0, 1], float), r=np.eye(3).ravel(), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=offline("sensor_msgs/msg/RegionOfInterest")(
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False))


def write_bag(path, messages, storage=StoragePlugin.MCAP, mode=None):
    """messages: (topic, class name, n for the time, message or raw bytes)."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topics = {}
        for topic, kind, n, message in messages:
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, CLASS[kind], typestore=typestore())
            raw = message if isinstance(message, bytes) else typestore().serialize_cdr(message, CLASS[kind])
            writer.write(topics[topic], START + n * STEP, raw)
    return path


def recording(n=6):
    return [m for i in range(n) for m in (
        (INFO, "CameraInfo", i, camera_info(i)), (IMAGE, "Image", i, image(i)))]


def transform(n, height, parent="base_footprint"):
    """A level camera so high above its parent's floor; quaternion of REP 103's optical frame in a body's."""
    geometry, half = "geometry_msgs/msg/", 0.5
    moved = offline(f"{geometry}Transform")(
        translation=offline(f"{geometry}Vector3")(x=0.0, y=0.0, z=height),
        rotation=offline(f"{geometry}Quaternion")(x=-half, y=half, z=-half, w=half))
    return offline("tf2_msgs/msg/TFMessage")(transforms=[offline(f"{geometry}TransformStamped")(
        header=header(n, parent), child_frame_id="optical", transform=moved)])


@pytest.fixture
def bag(tmp_path):
    return write_bag(tmp_path / "bag", recording())


def contents(path):
    """All messages of a bag: topic -> list of (time, raw bytes)."""
    found = {}
    with AnyReader([Path(path)]) as reader:
        for connection, time, raw in reader.messages():
            found.setdefault(connection.topic, []).append((time, bytes(raw)))
    return found


def read(path, topic):
    with AnyReader([Path(path)]) as reader:
        chosen = [c for c in reader.connections if c.topic == topic]
        return [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(chosen)]


def test_frames_know_the_floor_of_their_stamp(tmp_path):
    """A mast that goes from 1 to 2 m in five images; where it is is recorded once more than 0.5 m apart."""
    moves = [("/tf", "TFMessage", n, transform(n, height)) for n, height in ((0, 1.0), (4, 2.0))]
    path = write_bag(tmp_path / "bag", sorted(recording(5) + moves, key=lambda message: message[2]))
    floors = [f.frame.floor for f in read_frames(path, floor_frame="base_footprint")]
    assert np.allclose(floors, [[0, 1 / height, 0] for height in (1, 1.25, 1.5, 1.75, 2)], atol=1e-6)
    assert all(f.frame.floor is None for f in read_frames(path))


def test_a_fixed_camera_knows_the_floor_at_all_times(tmp_path):
    path = write_bag(tmp_path / "bag", [("/tf_static", "TFMessage", 9, transform(9, 1.25)),
                                        ("/tf_static", "TFMessage", 9, b"broken"), *recording(3)])
    assert np.allclose([f.frame.floor for f in read_frames(path, floor_frame="base_footprint")], [0, 0.8, 0])


def test_a_floor_that_no_transforms_lead_to_is_said_of_each_image(bag, tmp_path):
    report = process_bag(bag, tmp_path / "out", Oracle(), floor_frame="map")
    assert report.frames == 6 and report.without_cloud == 0 and len(report.failures) == 6
    assert "no transforms from 'map' to 'optical'; record /tf" in report.failures[0]


@pytest.mark.parametrize("storage, mode", [
    (StoragePlugin.MCAP, None), (StoragePlugin.MCAP, CompressionMode.STORAGE), (StoragePlugin.SQLITE3, None),
    (StoragePlugin.SQLITE3, CompressionMode.MESSAGE), (StoragePlugin.SQLITE3, CompressionMode.FILE),
    (StoragePlugin.MCAP, CompressionMode.FILE),
])
def test_frames_of_every_storage(tmp_path, storage, mode):
    path = write_bag(tmp_path / "bag", recording(3), storage, mode)
    frames = list(read_frames(path))
    assert [f.timestamp for f in frames] == [START + i * STEP for i in range(3)]
    for i, recorded in enumerate(frames):
        np.testing.assert_array_equal(recorded.frame.rgb, rgb(i))
        assert recorded.frame.stamp == stamp_of(recorded.image) == START + i * STEP
        assert recorded.frame.frame_id == "optical" and not recorded.fault
        assert recorded.frame.camera.K[0, 0] == 20 and recorded.camera_info.width == W
    if mode is not CompressionMode.FILE:
        bare, = (p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
        if mode is not CompressionMode.MESSAGE:  # which only metadata.yaml tells
            assert [f.frame.stamp for f in read_frames(bare)] == [f.frame.stamp for f in frames]


def test_encodings_and_compressed_images(tmp_path):
    jpeg = offline(CLASS["CompressedImage"])(
        header=header(0), format="rgb8; png compressed bgr8",
        data=cv2.imencode(".png", rgb(0)[..., ::-1])[1].ravel())
    path = write_bag(tmp_path / "png", [("/cam/image/compressed", "CompressedImage", 0, jpeg)])
    frame, = read_frames(path)
    np.testing.assert_array_equal(frame.frame.rgb, rgb(0))
    assert frame.frame.camera is None and not frame.fault
    path = write_bag(tmp_path / "bgr", [(IMAGE, "Image", 0, image(0, rgb(0)[..., ::-1].copy(), "bgr8"))])
    np.testing.assert_array_equal(next(read_frames(path)).frame.rgb, rgb(0))


def test_range_and_every(bag):
    def stamps(**options):
        return [(f.frame.stamp - START) // STEP for f in read_frames(bag, **options)]

    assert stamps(every=2) == [0, 2, 4]
    assert stamps(start=0.2) == [2, 3, 4, 5] and stamps(start=0.15, end=0.4) == [2, 3]
    assert stamps(start=0.1, end=0.5, every=3) == [1, 4]


def test_topics_by_type_and_content(tmp_path):
    depth = image(0, np.ones((H, W), np.uint16), "16UC1")
    path = write_bag(tmp_path / "bag", [
        *recording(1), ("/camera/depth/image", "Image", 0, depth),
        ("/camera/depth/camera_info", "CameraInfo", 0, camera_info(0)),
        ("/ground_truth/color", "Image", 0, image(0)), ("/vbanana/overlay", "Image", 0, image(0)),
        (IMAGE + "/compressed", "CompressedImage", 0, offline(CLASS["CompressedImage"])(
            header=header(0), format="jpeg", data=np.zeros(1, np.uint8))),
    ])
    topics = find_topics(path)
    assert topics.images == {IMAGE: INFO}
    assert topics.camera_infos == (INFO, "/camera/depth/camera_info")
    assert set(topics.others) == {"/camera/depth/image", "/ground_truth/color", "/vbanana/overlay",
                                  IMAGE + "/compressed"}
    # What is no candidate can still be asked for by name.
    assert len(list(read_frames(path, "/ground_truth/color"))) == 1


def test_several_cameras_ask_for_a_choice_and_infos_match_by_frame_id(tmp_path):
    path = write_bag(tmp_path / "bag", [
        ("/left/image", "Image", 0, image(0, frame_id="l")),
        ("/right/image", "Image", 0, image(1, frame_id="r")),
        ("/calibration/a", "CameraInfo", 0, camera_info(0, 10, "l")),
        ("/calibration/b", "CameraInfo", 0, camera_info(0, 30, "r"))])
    assert find_topics(path).images == {"/left/image": "/calibration/a", "/right/image": "/calibration/b"}
    with pytest.raises(BagError, match="/left/image, /right/image; choose one with --image-topic"):
        next(read_frames(path))
    assert next(read_frames(path, "/right/image")).frame.camera.K[0, 0] == 30
    assert next(read_frames(path, "/right/image", "/calibration/a")).frame.camera.K[0, 0] == 10
    with pytest.raises(BagError, match="--image-topic /up/image.*/left/image, /right/image"):
        next(read_frames(path, "/up/image"))
    with pytest.raises(BagError, match="--camera-info-topic /left/image.*/calibration/a, /calibration/b"):
        next(read_frames(path, "/left/image", "/left/image"))


def test_camera_info_of_the_stamp_else_the_last_of_the_frame(tmp_path):
    path = write_bag(tmp_path / "bag", [
        *((IMAGE, "Image", n, image(n)) for n in range(5)),
        # Recorded late, and of another frame: the stamp decides.
        (INFO, "CameraInfo", 9, camera_info(1, 11)), (INFO, "CameraInfo", 9, camera_info(3, 13)),
        (INFO, "CameraInfo", 9, camera_info(4, 14, "other"))])
    assert [f.frame.camera.K[0, 0] for f in read_frames(path)] == [11, 11, 11, 13, 14]


def test_rectified_images_use_p(tmp_path):
    info = camera_info(0)
    info.p = np.array([33.0, 0, 8, 0, 0, 33, 6, 0, 0, 0, 1, 0])
    path = write_bag(tmp_path / "bag", [("/cam/image_rect", "Image", 0, image(0)),
                                        ("/cam/camera_info", "CameraInfo", 0, info)])
    assert next(read_frames(path)).frame.camera.intrinsics[0, 0] == 33


def test_every_result_is_written_with_the_inputs_stamps(bag, tmp_path):
    oracle, calls = Oracle(), []
    report = process_bag(bag, tmp_path / "out", oracle, progress=lambda *n: calls.append(n))
    assert (report.frames, report.resumed, report.failed, report.without_cloud) == (6, 0, 0, 0)
    assert report.target == tmp_path / "out" and not report.failures and not report.notes
    assert calls == [(n, 6) for n in range(1, 7)]
    found, stamps = contents(tmp_path / "out"), [START + i * STEP for i in range(6)]
    assert set(found) == {"/vbanana/" + name for name in (
        "depth/image", "depth/camera_info", "depth/color", "depth/confidence", "semantic/label_info",
        "semantic/image", "semantic/color", "semantic/confidence", "points", "overlay", "result_info")}
    for topic, sent in found.items():
        expected = {"/vbanana/semantic/label_info": stamps[:1],
                    "/vbanana/result_info": sorted(2 * stamps)}.get(topic, stamps)
        assert [time for time, _ in sent] == expected, topic
        assert [stamp_of(m) for m in read(tmp_path / "out", topic)] == expected, topic
    for n, message in enumerate(read(tmp_path / "out", "/vbanana/depth/image")):
        np.testing.assert_array_equal(message.data.view(np.float32).reshape(H, W),
                                      rgb(n)[..., 0].astype(np.float32) / 10)
        assert message.header.frame_id == "optical"
    for n, message in enumerate(read(tmp_path / "out", "/vbanana/semantic/image")):
        np.testing.assert_array_equal(message.data.reshape(H, W), rgb(n)[..., 1] > 127)
    for info in read(tmp_path / "out", "/vbanana/result_info"):
        assert info.stages == [] and len(info.latencies) == 0 and info.age == 0 and info.model == "oracle"


def test_the_names_come_before_the_labels(bag, tmp_path):
    process_bag(bag, tmp_path / "out", Oracle())
    with Reader(tmp_path / "out") as reader:
        topics = [c.topic for c, _, _ in reader.messages()]
        qos = next(c.ext.offered_qos_profiles for c in reader.connections if c.topic.endswith("label_info"))
    assert topics.index("/vbanana/semantic/label_info") < topics.index("/vbanana/semantic/image")
    assert qos[0].durability.name == "TRANSIENT_LOCAL" and qos[0].reliability.name == "RELIABLE"


def test_keep_input_copies_everything_byte_for_byte(tmp_path):
    said = offline(CLASS["String"])(data="hello")
    sent = [("/chatter", "String", 0, said), *recording(3), ("/chatter", "String", 9, said)]
    bag = write_bag(tmp_path / "bag", sent, StoragePlugin.SQLITE3)
    process_bag(bag, tmp_path / "out", Oracle(), keep_input=True, every=2)
    before, after = contents(bag), contents(tmp_path / "out")
    assert {topic: after[topic] for topic in before} == before
    assert len(after["/vbanana/points"]) == 2
    with Reader(bag) as a, Reader(tmp_path / "out") as b:
        hashes = {c.topic: c.digest for c in b.connections}
        assert all(hashes[c.topic] == c.digest for c in a.connections)


def test_same_bag_in_same_bytes_out(bag, tmp_path):
    for name in ("a", "b"):
        process_bag(bag, tmp_path / name, Oracle(), keep_input=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_metadata_is_what_rosbag2_reads(bag, tmp_path):
    process_bag(bag, tmp_path / "out", Oracle())
    info = yaml.safe_load((tmp_path / "out" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["version"] == 9 and info["storage_identifier"] == "mcap"
    files = info["files"]
    assert info["relative_file_paths"] == [f["path"] for f in files] == sorted(
        p.name for p in (tmp_path / "out").glob("*.mcap"))
    assert sum(f["message_count"] for f in files) == info["message_count"] == sum(
        t["message_count"] for t in info["topics_with_message_count"])
    assert info["starting_time"]["nanoseconds_since_epoch"] == START
    assert info["duration"]["nanoseconds"] == 5 * STEP
    names = [t["topic_metadata"]["name"] for t in info["topics_with_message_count"]]
    assert len(names) == len(set(names))
    assert all(isinstance(v, str) for v in info["custom_data"].values())


def test_long_bags_have_few_files(tmp_path):
    bag = write_bag(tmp_path / "bag", recording(60))
    process_bag(bag, tmp_path / "out", Oracle())
    # One a frame up to 16, then one every two frames, every three ...
    assert len(list((tmp_path / "out").glob("*.mcap"))) <= 16 + 8 + 6 + 3 + 1


class Stop(Exception):
    pass


class Stopping(Oracle):
    """Is stopped at its n-th frame: by an exception, or killed without a chance to clean up."""

    def __init__(self, after, kill=False):
        super().__init__()
        self.after, self.kill = after, kill

    def __call__(self, frame):
        if len(self.seen) == self.after:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Stop
        return super().__call__(frame)


@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_a_stopped_run_is_a_bag_and_goes_on_to_the_same_bytes(bag, tmp_path, after):
    options = dict(keep_input=True)
    process_bag(bag, tmp_path / "whole", Oracle(), **options)
    target, part = tmp_path / "out", tmp_path / "out.part"
    with pytest.raises(Stop):
        process_bag(bag, target, Stopping(after), **options)
    assert not target.exists()
    assert [p for p in part.iterdir() if p.is_dir()] == []
    if after:
        assert len(contents(part)["/vbanana/points"]) == after
        with pytest.raises(BagError, match="out.part is what a stopped run left; go on with --resume"):
            process_bag(bag, target, Oracle(), **options)
    oracle = Oracle()
    report = process_bag(bag, target, oracle, resume=True, **options)
    assert (report.frames, report.resumed) == (6, after) and len(oracle.seen) == 6 - after
    assert contents(target) == contents(tmp_path / "whole") and not part.exists()


def test_smoothing_goes_on_where_a_stopped_run_was(tmp_path):
    """Depths of one view in a scale that trembles: steadier, and the same bytes with a stop as without."""
    view = np.random.default_rng(0).integers(60, 120, (H, W, 3), dtype=np.uint8)
    scales = np.random.default_rng(1).uniform(0.9, 1.1, 12)
    bag = write_bag(tmp_path / "bag", [(IMAGE, "Image", i, image(i, (view * s).astype(np.uint8)))
                                       for i, s in enumerate(scales)])
    seen = []
    process_bag(bag, tmp_path / "raw", Oracle())
    process_bag(bag, tmp_path / "whole", Oracle(), smoothing=1.0, see=seen.append)
    raw, steady = ([np.frombuffer(m.data, np.float32) for m in read(tmp_path / name, "/vbanana/depth/image")]
                   for name in ("raw", "whole"))
    changes = [np.std([np.median(np.log(b / a)) for a, b in zip(d, d[1:], strict=False)]) for d in (raw, steady)]
    assert changes[1] < 0.5 * changes[0] and (raw[0] == steady[0]).all()
    told = [{(m.task, m.smoothing) for m in read(tmp_path / name, "/vbanana/result_info")} for name in ("raw", "whole")]
    assert told == [{("depth", 0), ("semantic", 0)}, {("depth", 1), ("semantic", 0)}]
    assert [(p.result("depth").depth.ravel() == d).all() for p, d in zip(seen, steady, strict=True)] == [True] * 12
    with pytest.raises(Stop):
        process_bag(bag, tmp_path / "out", Stopping(7), smoothing=1.0)
    with pytest.raises(BagError, match="begun with another smoothing"):
        process_bag(bag, tmp_path / "out", Oracle(), smoothing=0.5, resume=True)
    process_bag(bag, tmp_path / "out", Oracle(), smoothing=1.0, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_relative_depth_is_noted_once_and_is_no_metres(bag, tmp_path):
    class Relative(Oracle):
        def __call__(self, frame):
            one = super().__call__(frame)
            depth, labels = one.answers
            result = replace(depth.result, depth=depth.result.depth / 25.5, metric=False)
            return replace(one, answers=(replace(depth, result=result), labels))

    report = process_bag(bag, tmp_path / "out", Relative())
    assert (report.frames, report.without_cloud) == (6, 6)
    assert [note for note in report.notes if "model 'oracle' paints relative depth" in note] == list(report.notes)
    found = contents(tmp_path / "out")
    assert len(found["/vbanana/depth/relative"]) == 6
    assert not {"/vbanana/depth/image", "/vbanana/depth/camera_info", "/vbanana/points"} & set(found)


def test_a_killed_run_is_a_bag_and_goes_on_to_the_same_bytes(tmp_path):
    bag = write_bag(tmp_path / "bag", recording(40))
    process_bag(bag, tmp_path / "whole", Oracle())
    target, part = tmp_path / "out", tmp_path / "out.part"
    # Killed between two frames of one file, so that an unfinished file is left as well.
    fork = multiprocessing.get_context("fork")
    run = fork.Process(target=process_bag, args=(bag, target, Stopping(35, True)))
    run.start()
    run.join(60)
    assert run.exitcode == -signal.SIGKILL and not target.exists()
    done = len(contents(part)["/vbanana/points"])
    assert 30 <= done < 35 and any(p.is_dir() for p in part.iterdir())
    report = process_bag(bag, target, oracle := Oracle(), resume=True)
    assert (report.frames, report.resumed, len(oracle.seen)) == (40, done, 40 - done)
    assert contents(target) == contents(tmp_path / "whole")
    assert not any(p.is_dir() for p in target.iterdir())


def test_a_file_moved_but_not_yet_named_is_written_anew(bag, tmp_path):
    process_bag(bag, tmp_path / "whole", Oracle())
    with pytest.raises(Stop):
        process_bag(bag, tmp_path / "out", Stopping(3))
    (tmp_path / "out.part" / "out_3.mcap").write_bytes(b"of a run that was killed between the two steps")
    process_bag(bag, tmp_path / "out", Oracle(), resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_only_the_same_run_is_resumed(bag, tmp_path):
    target = tmp_path / "out"
    with pytest.raises(Stop):
        process_bag(bag, target, Stopping(3))
    with pytest.raises(BagError, match="begun with another every;"):
        process_bag(bag, target, Oracle(), every=2, resume=True)
    other = Oracle()
    other.requests = (replace(Oracle.requests[0]), replace(Oracle.requests[1], labels=("x", "y")))
    with pytest.raises(BagError, match="another requests"):
        process_bag(bag, target, other, resume=True)
    with pytest.raises(BagError, match="begun with model.*oracle.*not.*other"):
        process_bag(bag, target, Oracle(model="other"), resume=True)
    (tmp_path / "out.part" / "metadata.yaml").write_text("nothing")
    with pytest.raises(BagError, match="cannot be resumed"):
        process_bag(bag, target, Oracle(), resume=True)


def test_an_existing_target_is_never_touched(bag, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").write_text("precious")
    for resume in (False, True):
        with pytest.raises(BagError, match="out exists; give another name or remove it"):
            process_bag(bag, target, Oracle(), resume=resume)
    assert [p.name for p in target.iterdir()] == ["mine"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match="cannot write"):
        process_bag(bag, tmp_path / "file" / "out", Oracle())


def test_frames_that_fail_are_counted_and_named(tmp_path):
    whole = bytes(typestore().serialize_cdr(image(5), CLASS["Image"]))
    broken = [(IMAGE, "Image", n, m) for n, m in (
        (1, image(1, encoding="weird")), (2, image(2, data=np.zeros(5, np.uint8))), (3, image(3, height=0)),
        (5, whole[:40]))]
    good = [(INFO, "CameraInfo", 0, camera_info(0))] + [(IMAGE, "Image", n, image(n)) for n in (0, 4, 6)]
    bag = write_bag(tmp_path / "bag", sorted(broken + good, key=lambda m: m[2]))
    assert [f.frame is None for f in read_frames(bag)] == [False, True, True, True, False, True, False]
    report = process_bag(bag, tmp_path / "out", Oracle(fails_at={START + 6 * STEP}))
    assert (report.frames, report.failed) == (2, 5)
    names = [f"{IMAGE} at 1700000000.{n}00000000" for n in (1, 2, 3, 5, 6)]
    assert [f[:len(names[0])] for f in report.failures] == names
    reasons = "unknown image encoding 'weird'", "5 bytes", "16x0", "cannot be read", "switch on the light"
    for text, reason in zip(report.failures, reasons, strict=True):
        assert reason in text and "\n" not in text
    assert [stamp_of(m) for m in read(tmp_path / "out", "/vbanana/points")] == [START, START + 4 * STEP]


def test_where_no_image_can_be_used_nothing_is_left(tmp_path):
    bag = write_bag(tmp_path / "bag", [(IMAGE, "Image", 0, image(0, encoding="weird"))])
    with pytest.raises(BagError, match="no image of .* could be used; the first: .*unknown image encoding"):
        process_bag(bag, tmp_path / "out", Oracle(), keep_input=True)
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]
    with pytest.raises(BagError, match="none in this range"):
        process_bag(bag, tmp_path / "out", Oracle(), start=5)


def test_camera_infos_that_do_not_fit_cost_their_frames_the_cloud(tmp_path):
    bag = write_bag(tmp_path / "bag", [
        (INFO, "CameraInfo", 0, camera_info(0)), (IMAGE, "Image", 0, image(0)),
        (INFO, "CameraInfo", 1, camera_info(1, height=H, width=2 * W)), (IMAGE, "Image", 1, image(1)),
        (IMAGE, "Image", 2, image(2, frame_id="elsewhere"))])
    report = process_bag(bag, tmp_path / "out", Oracle())
    assert (report.frames, report.failed, report.without_cloud) == (3, 0, 2)
    assert [stamp_of(m) for m in read(tmp_path / "out", "/vbanana/points")] == [START]
    assert len(read(tmp_path / "out", "/vbanana/depth/image")) == 3
    assert "camera_info is for 32x12, the image is 16x12" in report.failures[0]
    assert f"{IMAGE} at 1700000000.100000000" in report.failures[0]
    assert "no camera_info of frame 'elsewhere'" in report.failures[1]


def test_uncalibrated_or_missing_camera_is_noted_once(tmp_path, caplog):
    messages = [m for n in range(3) for m in (
        (INFO, "CameraInfo", n, camera_info(n, 0)), (IMAGE, "Image", n, image(n)))]
    report = process_bag(write_bag(tmp_path / "zero", messages), tmp_path / "out", Oracle())
    assert report.without_cloud == 3 and len(report.notes) == 1 and "K[0] is 0" in report.notes[0]
    assert len(caplog.records) == 1
    report = process_bag(write_bag(tmp_path / "none", messages[1::2]), tmp_path / "out2", Oracle())
    assert report.without_cloud == 3 and "no camera_info" in report.notes[0] and not report.failures


def test_what_is_no_bag_is_named_with_its_mend(tmp_path, bag):
    empty, text, cut = tmp_path / "empty", tmp_path / "notes.txt", tmp_path / "cut.mcap"
    empty.mkdir()
    text.write_text("hello")
    whole = next(bag.glob("*.mcap")).read_bytes()
    cut.write_bytes(whole[:len(whole) // 2])
    junk = tmp_path / "junk.db3"
    junk.write_bytes(b"junk" * 1000)
    metres = image(0, np.ones((H, W), np.float32), "32FC1")
    depth = write_bag(tmp_path / "depth", [("/d", "Image", 0, metres)])
    for path, wrong in ((tmp_path / "none", "no bag at"), (empty, "ros2 bag reindex"),
                        (text, "not a ROS 2 bag"), (cut, "mcap recover"), (junk, "not a ROS 2 bag"),
                        (depth, "no colour image topic .only /d.")):
        with pytest.raises(BagError, match=wrong) as error:
            process_bag(path, tmp_path / "out", Oracle())
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.glob("out*"))


def test_a_bag_damaged_in_the_middle_keeps_what_was_done(tmp_path):
    sent = [(IMAGE, "Image", n, image(n, rgb(n, 512, 768) // 64)) for n in range(6)]
    bag = write_bag(tmp_path / "bag", sent, mode=CompressionMode.STORAGE)
    path, = bag.glob("*.mcap")
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size * 3 // 5)
        file.write(bytes(200_000))
    with pytest.raises(BagError, match="damaged after 3 messages .*; mend it with `mcap recover`"):
        process_bag(bag, tmp_path / "out", Oracle())
    assert len(contents(tmp_path / "out.part")["/vbanana/depth/image"]) == 3
    assert not (tmp_path / "out").exists()


def test_camera_infos_that_cannot_be_read_are_as_good_as_none(tmp_path):
    bag = write_bag(tmp_path / "bag", [
        (INFO, "CameraInfo", 0, b"\0\1\0\0junk"), (IMAGE, "Image", 0, image(0)),
        ("/b/image", "Image", 0, b"\0\1\0\0")])
    assert find_topics(bag).images == {IMAGE: INFO, "/b/image": None}
    recorded, = read_frames(bag, IMAGE)
    assert recorded.frame.camera is None and "no camera_info of frame 'optical'" in recorded.fault


def test_all_failures_are_counted_and_a_hundred_told(tmp_path):
    bad = [(IMAGE, "Image", n, image(n, height=0)) for n in range(103)]
    bag = write_bag(tmp_path / "bag", [*bad, (IMAGE, "Image", 103, image(103))])
    report = process_bag(bag, tmp_path / "out", Oracle())
    assert (report.frames, report.failed, len(report.failures)) == (1, 103, 100)


def test_types_without_definition_are_copied_all_the_same(tmp_path):
    """As in bags of Humble: known types get their definition, unknown ones go without."""
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3)
    with writer:
        picture = typestore().serialize_cdr(image(0), CLASS["Image"])
        for topic, msgtype, raw in ((IMAGE, CLASS["Image"], picture),
                                    ("/odd", "my_msgs/msg/Odd", b"\0\1\0\0odd!")):
            connection = writer.add_connection(topic, msgtype, msgdef="", rihs01="RIHS01_" + 64 * "0")
            writer.write(connection, START, raw)
    process_bag(tmp_path / "bag", tmp_path / "out", Oracle(), keep_input=True)
    with Reader(tmp_path / "bag") as a, Reader(tmp_path / "out") as b:
        before = {c.topic: bytes(raw) for c, _, raw in a.messages()}
        after = {c.topic: bytes(raw) for c, _, raw in b.messages()}
        types = {c.topic: c.msgtype for c in b.connections}
        digests = {c.topic: c.digest for c in b.connections}
    assert {topic: after[topic] for topic in before} == before and types["/odd"] == "my_msgs/msg/Odd"
    assert digests[IMAGE] == typestore().hash_rihs01(CLASS["Image"])


def test_memory_stays_flat(tmp_path):
    def peak(n):
        sent = [(IMAGE, "Image", i, image(i, rgb(i, 480, 640))) for i in range(n)]
        bag = write_bag(tmp_path / f"bag{n}", sent)
        tracemalloc.start()
        process_bag(bag, tmp_path / f"out{n}", Oracle())
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        shutil.rmtree(bag)
        return top

    # Four times the images take no more room; the results of one are 5.5 MB.
    assert peak(24) < peak(6) + 3e6


def test_state_in_the_metadata_is_small_and_says_what_was_asked(bag, tmp_path):
    process_bag(bag, tmp_path / "out", Oracle())
    info = yaml.safe_load((tmp_path / "out" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    state = json.loads(info["custom_data"]["vbanana"])
    assert state["job"]["image"] == IMAGE and state["frames"] == 6
    assert state["made_by"] == ["oracle", "f00", 0, 1]


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
@pytest.mark.parametrize("name, frames, focal", [("redwood_ros2_bag/redwood_mcap", 5, 525.0),
                                                 ("nyu_ros2_bag/nyu_db3", 3, 518.8579)])
def test_real_bags(tmp_path, name, frames, focal):
    found = list(read_frames(DATA / name))
    assert len(found) == frames and all(f.frame.rgb.shape == (480, 640, 3) and not f.fault for f in found)
    assert found[0].frame.camera.K[0, 0] == pytest.approx(focal, abs=1e-3)
    report = process_bag(DATA / name, tmp_path / "out", Oracle(), keep_input=True)
    assert report.frames == frames and not report.without_cloud
    before, after = contents(DATA / name), contents(tmp_path / "out")
    assert {topic: after[topic] for topic in before} == before
