"""The recorded front end: rosbag2 recordings in, rosbag2 recordings with every result out. No ROS needed."""

from __future__ import annotations

import bisect
import json
import logging
import os
import re
import shutil
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from vbanana_ros.camera import Camera
from vbanana_ros.errors import BagError, InputError, VBananaError, one_line
from vbanana_ros.floor import floor_before
from vbanana_ros.messages import (
    LATCHED,
    RELATIVE,
    TOPICS,
    decode_image,
    is_rectified,
    messages,
    offline,
    seconds,
    stamp_of,
    typestore,
)
from vbanana_ros.perception import Frame, Perceived
from vbanana_ros.steady import Seen, Steady

log = logging.getLogger(__name__)

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_TRANSFORMS, _STATIC = "tf2_msgs/msg/TFMessage", "tf_static"
_NAMESPACE = "/vbanana/"

# Encodings of depth, disparity and other numbers that are no picture.
_NO_PICTURE = re.compile(r"(8S|16U|16S|32S|32F|64F)C\d+")

# A file is finished with every sixteenth part of what is written: all that a killed run can lose, and an hour
# of video is some hundred files.
_SPLIT = 16

# As many failures are told in words; all are counted.
_TOLD = 100

# Players publish it anew to whoever comes late.
_LATCHED_QOS = Qos(QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
                   QosTime(0, 0), QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False)

# The type hash of a message type that nothing is known of; it is copied all the same.
_NO_HASH = "RIHS01_" + 64 * "0"


@dataclass(frozen=True)
class Topics:
    """What a bag has to offer: images that can be perceived, and each one's camera_info topic (or None).

    others: image topics that are no candidates (depth, ground truth, our own results).
    """

    images: dict[str, str | None]
    camera_infos: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Recorded:
    """One recorded image. Exactly as many as the bag has (every n-th), those that fail as well.

    frame: None where the image cannot be used; its camera is None where no camera_info fits.
    timestamp: when it was recorded, nanoseconds. fault: what is wrong with image or camera_info, else empty.
    image, camera_info: the messages (rosbags' classes); None where there is none or it cannot be read. Of
    camera_info that differ by nothing but their stamp, the first stands for all.
    """

    frame: Frame | None
    timestamp: int
    fault: str = ""
    image: Any = None
    camera_info: Any = None


@dataclass(frozen=True)
class BagReport:
    """What became of a bag.

    frames: results in the target; resumed: how many of them an earlier run made. failed: images without one.
    without_cloud: frames in the target whose camera is not known or not calibrated.
    failures: the first hundred faults, each naming its topic and stamp. notes: what holds of the whole bag.
    """

    target: Path
    frames: int
    resumed: int
    failed: int
    without_cloud: int
    failures: tuple[str, ...]
    notes: tuple[str, ...]


def find_topics(path: str | Path) -> Topics:
    """The topics of a bag, by type and first message. Raises BagError where it cannot be read."""
    with _open(path) as reader:
        return _topics(reader)


def read_frames(path: str | Path, image_topic: str | None = None, camera_info_topic: str | None = None,
                start: float | None = None, end: float | None = None, every: int = 1,
                floor_frame: str = "") -> Iterator[Recorded]:
    """The images of a bag in order of recording, with their cameras. One image is in memory at a time.

    path: a bag's directory, or its .mcap or .db3 file. start, end: seconds from the bag's beginning, end left
    out. every: take each n-th image. A camera_info of the image's own stamp counts, else the last one before
    it of its frame_id (of any, where camera_info_topic is given), else the first. On `.../image_rect...`
    camera_info's P counts, else K and D. floor_frame: a frame that lies on the floor, z up, to which the bag's
    transforms lead from the camera's; empty: where the floor is is not known.

    Raises BagError where the bag cannot be read or the topics are not there or not clear; an image that is
    broken raises nothing (see Recorded.fault).
    """
    with _open(path) as reader:
        source = _Source(reader, image_topic, camera_info_topic, floor_frame)
        images = (m for m in source.messages(start, end, source.connections))
        for n, (_, timestamp, raw) in enumerate(images):
            if n % every == 0:
                yield source.record(timestamp, raw)


def process_bag(
    source: str | Path,
    target: str | Path,
    perception: Callable[[Frame], Perceived],
    *,
    image_topic: str | None = None,
    camera_info_topic: str | None = None,
    floor_frame: str = "",
    keep_input: bool = False,
    every: int = 1,
    start: float | None = None,
    end: float | None = None,
    resume: bool = False,
    stride: int = 1,
    min_range: float = 0.0,
    max_range: float = float("inf"),
    smoothing: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
    see: Callable[[Perceived], None] | None = None,
) -> BagReport:
    """Perceive every image of a bag and write all results, under /vbanana and with the images' stamps.

    perception: Frame -> Perceived, with `.requests`. keep_input: copy all messages of the source too, byte
    for byte. stride (pixels), min_range, max_range (metres): of the clouds. smoothing: seconds, see `steady`.
    progress: called with (images done, images in all); see: with everything that is perceived. The other arguments
    are read_frames'.

    The work grows as TARGET.part, at all times a bag of finished files, and is renamed when it is complete;
    resume goes on from there after the last finished file. The same bag in gives the same bytes out, so
    ResultInfo has neither latencies nor age. An image that fails is counted and named, and the run goes on.

    Raises BagError where source or topics are not right, the target exists, a resumed run was begun
    otherwise, or no image at all could be used.
    """
    with _open(source) as reader:
        origin = _Source(reader, image_topic, camera_info_topic, floor_frame)
        job = {"source": Path(source).name, "image": origin.image_topic, "camera_info": origin.info_topic,
               "floor_frame": floor_frame, "keep_input": keep_input, "every": every, "start": start, "end": end,
               "cloud": {"stride": stride, "min_range": min_range, "max_range": max_range},
               "requests": [repr(request) for request in perception.requests],
               "votes": getattr(perception, "votes", 1), "smoothing": smoothing}
        part = _Part(Path(target), job, resume)
        resumed = part.state.frames
        if not origin.info_topic:
            part.note(f"no camera_info for {origin.image_topic}: no clouds; "
                      "name one with --camera-info-topic")
        total = -(-sum(c.msgcount for c in origin.connections) // every)
        images = 0
        kept = [c for c in reader.connections if not c.topic.startswith(_NAMESPACE)]
        with part:
            stream = origin.messages(start, end, kept if keep_input else origin.connections)
            for position, (connection, timestamp, raw) in enumerate(stream, start=1):
                is_image = connection.topic == origin.image_topic
                images += is_image
                if position <= part.state.position:
                    continue
                if keep_input:
                    part.copy(connection, timestamp, raw)
                if is_image and (images - 1) % every == 0:
                    part.add(origin, origin.record(timestamp, raw), perception, see)
                    part.frame_done(position)
                    if progress:
                        progress(-(-images // every), total)
            return part.finish(origin.image_topic, resumed)


@contextmanager
def _open(path: str | Path) -> Iterator[Reader]:
    path = Path(path)
    try:
        reader = Reader(path)
        reader.open()
    except FileNotFoundError:
        mend = "give the bag's directory" if not path.exists() else (
            f"it has no metadata.yaml: run `ros2 bag reindex {path}` or give the .mcap or .db3 file in it")
        raise BagError(f"no bag at {path}; {mend}") from None
    except Exception as error:  # a damaged file can raise anything: sqlite's, zstd's, yaml's errors
        raise BagError(f"{path} is not a ROS 2 bag that can be read ({one_line(error)}); give a bag's "
                       "directory, .mcap or .db3 file; `mcap recover` or `ros2 bag reindex` mend a cut one"
                       ) from None
    try:
        yield reader
    finally:
        reader.close()


def _first(reader: Reader, topic: str) -> Any:
    """The first message of a topic; None where there is none or it cannot be read."""
    connections = [c for c in reader.connections if c.topic == topic]
    try:
        connection, _, raw = next(reader.messages(connections))
        return typestore().deserialize_cdr(raw, connection.msgtype)
    except Exception:  # empty or damaged: said when it is really read
        return None


def _topics(reader: Reader) -> Topics:
    types = {c.topic: c.msgtype for c in reader.connections}
    infos = tuple(sorted(t for t, msgtype in types.items() if msgtype == _CAMERA_INFO))
    every = sorted(t for t, msgtype in types.items() if msgtype in (_IMAGE, _COMPRESSED))
    images: dict[str, str | None] = {}
    for topic in every:
        # The compressed twin of a raw topic is the same camera.
        twin = topic.removesuffix("/compressed") in images
        if twin or "ground_truth" in topic or topic.startswith(_NAMESPACE):
            continue
        message = _first(reader, topic)
        kind = getattr(message, "encoding", None) or getattr(message, "format", "")
        if not _NO_PICTURE.match(kind) and "compressedDepth" not in kind + topic:
            images[topic] = _matching_info(reader, topic, message, infos)
    return Topics(images, infos, tuple(t for t in every if t not in images))


def _matching_info(reader: Reader, topic: str, message: Any, infos: Collection[str]) -> str | None:
    """The camera_info beside an image topic (image_transport's rule), else the one of its frame_id."""
    beside = topic.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"
    if beside in infos:
        return beside
    frame_id = message.header.frame_id if message else None
    same = [t for t in infos if (first := _first(reader, t)) and first.header.frame_id == frame_id]
    return same[0] if same else None


class _Source:
    """An open bag, the image topic chosen in it, and its cameras."""

    def __init__(self, reader: Reader, image_topic: str | None, info_topic: str | None, floor_frame: str) -> None:
        self.reader, self.floor_frame = reader, floor_frame
        topics = _topics(reader)
        self.image_topic = image_topic or self._only(topics)
        self.info_asked = info_topic is not None
        self.info_topic = info_topic or topics.images.get(self.image_topic)
        types = {c.topic: c.msgtype for c in reader.connections}
        for topic, allowed, option in ((self.image_topic, (_IMAGE, _COMPRESSED), "--image-topic"),
                                       (self.info_topic, (_CAMERA_INFO,), "--camera-info-topic")):
            if topic and types.get(topic) not in allowed:
                known = [t for t, msgtype in sorted(types.items()) if msgtype in allowed]
                raise BagError(f"{option} {topic} is no such topic of {reader.path}; "
                               f"it has {', '.join(known) or 'none'}")
        self.connections = [c for c in reader.connections if c.topic == self.image_topic]
        self.rectified = is_rectified(self.image_topic)
        self.cameras = _Cameras(self._raw([c for c in reader.connections if c.topic == self.info_topic]))
        if floor_frame:
            from vbanana_ros.transforms import Transforms  # here, for it takes a while

            tf = [c for c in reader.connections if c.msgtype == _TRANSFORMS]
            self.transforms = Transforms(_transforms(self._raw(tf)))

    def _only(self, topics: Topics) -> str:
        if len(topics.images) == 1:
            return next(iter(topics.images))
        if topics.images:
            raise BagError(f"{self.reader.path} has several image topics: {', '.join(topics.images)}; "
                           "choose one with --image-topic")
        others = f" (only {', '.join(topics.others)})" if topics.others else ""
        raise BagError(f"{self.reader.path} has no colour image topic{others}; record one, or name it with "
                       "--image-topic")

    def _raw(self, connections: Collection[Connection], start: int | None = None,
             end: int | None = None) -> Iterator[tuple[Connection, int, bytes]]:
        if not connections:  # which would mean all of them to rosbags
            return
        count, messages = 0, self.reader.messages(connections, start, end)
        while True:
            try:
                message = next(messages)
            except StopIteration:
                return
            except Exception as error:  # a damaged file can raise anything
                raise BagError(f"{self.reader.path} is damaged after {count} messages ({one_line(error)}); "
                               "mend it with `mcap recover`, or stop before with --end") from None
            count += 1
            yield message

    def messages(self, start: float | None, end: float | None,
                 connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        begin = self.reader.start_time
        return self._raw(connections, None if start is None else begin + round(start * 1e9),
                         None if end is None else begin + round(end * 1e9))

    def record(self, timestamp: int, raw: bytes) -> Recorded:
        """The frame of one image message, or what is wrong with it."""
        try:
            image = typestore().deserialize_cdr(raw, self.connections[0].msgtype)
        except Exception as error:  # bytes off a disk can raise anything
            fault = f"{self.name(timestamp)}: cannot be read ({one_line(error)}); record anew"
            return Recorded(None, timestamp, fault)
        name = self.name(stamp_of(image))
        try:
            frame = Frame(decode_image(image), stamp_of(image), image.header.frame_id)
        except InputError as error:
            return Recorded(None, timestamp, f"{name}: {error}", image)
        info = self.cameras.at(frame.stamp, None if self.info_asked else frame.frame_id)
        if info is None:
            fault = f"{name}: no camera_info of frame {frame.frame_id!r}" if self.info_topic else ""
            return Recorded(frame, timestamp, fault, image)
        try:
            camera = Camera.from_message(info, self.rectified).resized(*frame.rgb.shape[:2])
            frame = replace(frame, camera=camera)
            if self.floor_frame:
                pose = self.transforms.pose(self.floor_frame, frame.frame_id, frame.stamp)
                frame = replace(frame, floor=floor_before(pose))
            return Recorded(frame, timestamp, "", image, info)
        except InputError as error:
            return Recorded(frame, timestamp, f"{name}: {error}", image, info)

    def name(self, stamp: int) -> str:
        """How a report calls one image."""
        return f"{self.image_topic} at {seconds(stamp)}"


def _transforms(raws: Iterator[tuple[Connection, int, bytes]]) -> Iterator[tuple[bool, Any]]:
    """All transforms that can be read, and whether they hold at all times."""
    for connection, _, raw in raws:
        try:
            message = typestore().deserialize_cdr(raw, connection.msgtype)
        except Exception:  # a broken one is as good as none, as of camera_info
            continue
        static = connection.topic.rpartition("/")[2] == _STATIC
        yield from ((static, transform) for transform in message.transforms)


class _Cameras:
    """All camera_info messages of a topic by stamp; equal ones, as most are, are kept once."""

    def __init__(self, raws: Iterator[tuple[Connection, int, bytes]]) -> None:
        self.exact: dict[int, Any] = {}
        self.by_frame: dict[str | None, list[int]] = {}
        distinct: dict[bytes, Any] = {}
        for _, _, raw in raws:
            # CDR: four bytes, of which the second says little endian, the stamp, then everything else.
            rest = bytes(raw[12:])
            try:
                if rest not in distinct:
                    distinct[rest] = typestore().deserialize_cdr(raw, _CAMERA_INFO)
                sec, nanosec = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
            except Exception:  # a broken one is as good as none: the frames say which they miss
                continue
            stamp, info = sec * 10**9 + nanosec, distinct[rest]
            self.exact[stamp] = info
            for frame_id in (info.header.frame_id, None):
                self.by_frame.setdefault(frame_id, []).append(stamp)
        for stamps in self.by_frame.values():
            stamps.sort()

    def at(self, stamp: int, frame_id: str | None) -> Any:
        """The camera_info of a stamp, else the last before of a frame_id (None: of any), else its first."""
        if stamp in self.exact:
            return self.exact[stamp]
        stamps = self.by_frame.get(frame_id)
        return self.exact[stamps[max(0, bisect.bisect(stamps, stamp) - 1)]] if stamps else None


@dataclass
class _State:
    """How far a part has come; kept in its metadata, so that it can be resumed.

    job: what was asked. position: messages of the source that are done. made_by: model, weights, seed, steps.
    latched: topics that are written once, and are. seen: what smoothing goes on from, see `steady`.
    """

    job: dict[str, Any]
    position: int = 0
    frames: int = 0
    failed: int = 0
    without_cloud: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    latched: list[str] = field(default_factory=list)
    made_by: list[Any] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)


class _Part:
    """TARGET.part: a bag that grows by finished mcap files, and becomes TARGET."""

    def __init__(self, target: Path, job: dict[str, Any], resume: bool) -> None:
        self.target = target
        self.folder = target.with_name(target.name + ".part")
        self.writer: Writer | None = None
        self.connections: dict[tuple, Connection] = {}
        self.in_split = 0
        self.metadata: dict[str, Any] = {}
        if target.exists():
            raise BagError(f"{target} exists; give another name or remove it")
        if self.folder.exists() and not resume:
            raise BagError(f"{self.folder} is what a stopped run left; go on with --resume or remove it")
        self.state = self._load(job) or _State(job)
        self.steady = Steady()
        self.steady.seen = {name: Seen.read(plain) for name, plain in self.state.seen.items()}
        if json.loads(json.dumps(job)) != json.loads(json.dumps(self.state.job)):
            changed = [k for k in job if job[k] != self.state.job.get(k)]
            raise BagError(f"{self.folder} was begun with another {' and '.join(changed)}; "
                           "resume with the same, or remove it")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for unfinished in self.folder.iterdir():
                if unfinished.is_dir():
                    shutil.rmtree(unfinished)
        except OSError as error:
            raise BagError(f"cannot write {self.folder} ({error.strerror}); give another target") from None

    def _load(self, job: dict[str, Any]) -> _State | None:
        path = self.folder / "metadata.yaml"
        if not path.exists():  # killed before its first file was finished
            return None
        try:
            self.metadata = _read_yaml(path)
            return _State(**json.loads(self.metadata["custom_data"]["vbanana"]))
        except Exception as error:
            raise BagError(f"{self.folder} cannot be resumed ({one_line(error)}); remove it") from None

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever stopped the run: what is finished stays for --resume, what is not goes."""
        if self.writer:
            self.writer.abort()
            shutil.rmtree(self.writer.path, ignore_errors=True)

    def note(self, text: str) -> None:
        """Say something of the whole bag, once."""
        if text not in self.state.notes:
            self.state.notes.append(text)
            log.warning(text)

    def fail(self, text: str) -> None:
        if len(self.state.failures) < _TOLD:
            self.state.failures.append(text)
        log.warning(text)

    def add(self, origin: _Source, recorded: Recorded, perception: Callable[[Frame], Perceived],
            see: Callable[[Perceived], None] | None) -> None:
        """Perceive one image and write its results; all of them or, where it fails, none."""
        if recorded.fault:
            self.fail(recorded.fault)
        if recorded.frame is None:
            self.state.failed += 1
            return
        try:
            perceived = self.steady(perception(recorded.frame), self.state.job["smoothing"])
            if see:
                see(perceived)
            # Latencies differ from run to run; the bytes must not.
            perceived = replace(perceived, timings={})
            wanted = set(TOPICS).difference(self.state.latched)
            serialized = [(name, typestore().serialize_cdr(message, TOPICS[name]))
                          for name, message in messages(perceived, offline, wanted=wanted, **self.state.job["cloud"])]
        except VBananaError as error:
            self.state.failed += 1
            self.fail(f"{origin.name(recorded.frame.stamp)}: {error}")
            return
        self._check_maker([perceived.model, perceived.weights, perceived.seed, perceived.steps])
        for name, data in serialized:
            self._write(_NAMESPACE + name, TOPICS[name], recorded.timestamp, data,
                        qos=[_LATCHED_QOS] if name in LATCHED else [])
        self.state.latched += sorted({name for name, _ in serialized if name in LATCHED})
        self.state.frames += 1
        camera, depth = recorded.frame.camera, perceived.result("depth")
        relative = depth is not None and not depth.metric
        self.state.without_cloud += relative or not (camera and camera.calibrated)
        if relative:
            self.note(RELATIVE.format(perceived.model))
        if camera and not camera.calibrated:
            self.note(f"camera_info of {origin.image_topic} is not calibrated (K[0] is 0): no clouds; "
                      "calibrate it")

    def _check_maker(self, made_by: list[Any]) -> None:
        if self.state.made_by and self.state.made_by != made_by:
            raise BagError(f"{self.folder} was begun with model, weights, seed, steps {self.state.made_by} "
                           f"and not {made_by}; resume with the same, or remove it")
        self.state.made_by = made_by

    def copy(self, connection: Connection, timestamp: int, raw: bytes) -> None:
        """Write a message of the source, as it is."""
        definition, digest = connection.msgdef.data, connection.digest
        if not (definition and digest) and connection.msgtype in typestore().types:
            definition, digest = None, None  # bags of Humble and before lack them; the store makes them
        self._write(connection.topic, connection.msgtype, timestamp, raw, definition, digest,
                    connection.ext.offered_qos_profiles)

    def _write(self, topic: str, msgtype: str, timestamp: int, data: bytes | memoryview,
               definition: str | None = None, digest: str | None = None, qos: Collection[Qos] = ()) -> None:
        if self.writer is None:
            name = f"{self.target.name}_{len(self.metadata.get('files', []))}"
            self.writer = Writer(self.folder / name, version=9, storage_plugin=StoragePlugin.MCAP)
            self.writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self.writer.open()
            self.connections.clear()
        key = (topic, msgtype, repr(qos))
        if key not in self.connections:
            store = typestore() if definition is None else None
            self.connections[key] = self.writer.add_connection(
                topic, msgtype, typestore=store, msgdef=definition,
                rihs01=digest or (None if store else _NO_HASH), offered_qos_profiles=qos)
        self.writer.write(self.connections[key], timestamp, data)

    def frame_done(self, position: int) -> None:
        """All of the source up to position is written; finish the file where it is long enough."""
        self.state.position = position
        self.in_split += 1
        if self.in_split > self.state.frames // _SPLIT:
            self._finish_file()

    def _finish_file(self) -> None:
        """Close the open file, move it beside the others, and only then name it in the metadata."""
        self.in_split = 0
        if self.writer is None:
            return
        writer, self.writer = self.writer, None
        writer.close()
        new = _read_yaml(writer.path / "metadata.yaml")
        name = f"{writer.path.name}.mcap"
        os.replace(writer.path / name, self.folder / name)
        shutil.rmtree(writer.path)
        self.metadata = _joined(self.metadata, new) if self.metadata else new
        self.state.seen = {name: seen.plain() for name, seen in self.steady.seen.items()}
        self._save()

    def _save(self) -> None:
        self.metadata["custom_data"] = {"vbanana": json.dumps(vars(self.state), sort_keys=True)}
        path = self.folder / "metadata.yaml"
        unfinished = path.with_suffix(".tmp")
        text = yaml.dump({"rosbag2_bagfile_information": self.metadata}, Dumper=_Dumper, sort_keys=False)
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)

    def finish(self, topic: str, resumed: int) -> BagReport:
        """Close the last file and give the bag its name."""
        state = self.state
        if not state.frames:
            self.__exit__()
            shutil.rmtree(self.folder)
            why = f"; the first: {state.failures[0]}" if state.failures else " (there is none in this range)"
            raise BagError(f"no image of {topic} could be used{why}")
        self._finish_file()
        state.seen = {}
        self._save()
        os.replace(self.folder, self.target)
        return BagReport(self.target, state.frames, resumed, state.failed, state.without_cloud,
                         tuple(state.failures), tuple(state.notes))


# PyYAML's C half, where it is there, is ten times as fast; metadata is written often.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _read_yaml(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)["rosbag2_bagfile_information"]


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The rosbag2 metadata of the files of both."""
    begin = min(m["starting_time"]["nanoseconds_since_epoch"] for m in (old, new))
    end = max(m["starting_time"]["nanoseconds_since_epoch"] + m["duration"]["nanoseconds"]
              for m in (old, new))
    topics: dict[str, dict[str, Any]] = {}
    for topic in (*old["topics_with_message_count"], *new["topics_with_message_count"]):
        known = topics.setdefault(repr(topic["topic_metadata"]), {**topic, "message_count": 0})
        known["message_count"] += topic["message_count"]
    return {
        **new,
        "relative_file_paths": old["relative_file_paths"] + new["relative_file_paths"],
        "files": old["files"] + new["files"],
        "starting_time": {"nanoseconds_since_epoch": begin},
        "duration": {"nanoseconds": end - begin},
        "message_count": old["message_count"] + new["message_count"],
        "topics_with_message_count": list(topics.values()),
    }
