"""Results -> ROS messages, and camera messages -> images; knows no ROS, only the fields of its messages.

Everything is built through a `get_message(name)` that returns a message class: rosidl's live
(`rosidl_runtime_py.utilities.get_message`), rosbags' offline (`offline`), so both wires carry the same.
"""

from __future__ import annotations

import array
import functools
import sys
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from rosbags.image.image import ENCODINGMAP, ImageError, convert_color

from vbanana_ros.camera import Camera
from vbanana_ros.cloud import make_cloud
from vbanana_ros.colorize import OVERLAID, blend, colorize
from vbanana_ros.errors import InputError
from vbanana_ros.perception import Frame, Perceived
from vbanana_ros.results import UNLABELED_8, UNLABELED_16, DepthMap, Detection, Instances, LabelMap, NormalMap, Result

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

    from vbanana_ros.perception import Answer

GetMessage = Callable[[str], Any]
Pack = Callable[[np.ndarray], Any]

_IMAGE, _CLOUD = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2"
_LABEL_INFO, _DETECTIONS = "vision_msgs/msg/LabelInfo", "vision_msgs/msg/Detection2DArray"

# Every output, relative to ~/ live and to /vbanana in a bag, and its type.
TOPICS = {
    "depth/image": _IMAGE, "depth/camera_info": "sensor_msgs/msg/CameraInfo", "depth/color": _IMAGE,
    "depth/confidence": _IMAGE, "depth/relative": _IMAGE, "normals/image": _IMAGE, "normals/color": _IMAGE,
    "semantic/label_info": _LABEL_INFO, "semantic/image": _IMAGE, "semantic/color": _IMAGE,
    "semantic/confidence": _IMAGE,
    "referring/label_info": _LABEL_INFO, "referring/image": _IMAGE, "referring/color": _IMAGE,
    "referring/confidence": _IMAGE,
    "instance/image": _IMAGE, "instance/detections": _DETECTIONS, "instance/color": _IMAGE,
    "points": _CLOUD, "overlay": _IMAGE, "picture/image": _IMAGE, "result_info": "vbanana_ros/msg/ResultInfo",
}
# What is said, once, of a model whose depth is not metric.
RELATIVE = "model {!r} paints relative depth: it is on depth/relative, and there are no depth/image and no points"
# Constant until the prompt changes: transient local live, written once in a bag.
LATCHED = ("semantic/label_info", "referring/label_info")

# What a cloud is made of.
CLOUD_TASKS = ("depth", "normals", "semantic", "instance")
# What a pixel of a cloud has of a task that was not asked.
_UNKNOWN = {"normals": np.full(3, np.nan, np.float32), "semantic": np.array(UNLABELED_8, np.uint8),
            "instance": np.array(UNLABELED_16, np.uint16)}

# Decoders mark a pixel as unlabelled only at confidence 0.
_THRESHOLD = 0.0

# PointField: datatype of each field of a cloud.
_DATATYPES = {"f": 7, "u": 6}  # FLOAT32, UINT32


def tasks_behind(topics: Iterable[str], asked: Collection[str]) -> set[str]:
    """Those of the asked tasks that must be answered for these topics of TOPICS.

    `result_info` and the labels' names need none of their own: they come with what else is read.
    """
    behind: set[str] = set()
    for topic in topics:
        if topic == "points":
            behind.update(CLOUD_TASKS)
        elif topic == "overlay":
            behind.update([t for t in OVERLAID if t in asked][:1])
        elif topic not in LATCHED:
            behind.add(topic.partition("/")[0])
    return behind.intersection(asked)


def pack_numpy(values: np.ndarray) -> np.ndarray:
    """Numbers as rosbags' messages have them: a flat numpy array; no copy where none is due."""
    return np.ascontiguousarray(values).reshape(-1)


def pack_array(values: np.ndarray) -> array.array:
    """Numbers as rclpy's messages take them fast: one array.array, filled at once."""
    values = np.ascontiguousarray(values)
    packed = array.array(values.dtype.char)
    packed.frombytes(memoryview(values).cast("B"))
    return packed


def messages(
    perceived: Perceived,
    get_message: GetMessage,
    pack: Pack = pack_numpy,
    wanted: Container[str] | None = None,
    *,
    stride: int = 1,
    min_range: float = 0.0,
    max_range: float = float("inf"),
    cloud_tasks: Collection[str] = (),
    age: float = 0.0,
    dropped: int = 0,
) -> list[tuple[str, Any]]:
    """Every output message about one frame, as (topic of TOPICS, message); labels' names come before labels.

    pack: `pack_numpy` for rosbags, `pack_array` for rclpy. wanted: build only these topics; None builds all.
    stride, min_range, max_range: of the cloud, see `make_cloud`. cloud_tasks: whose fields the cloud has beside those
    of the answers: NaN or unlabelled where a frame was not asked them, so that the fields never change.
    age (seconds), dropped: see ResultInfo.msg.
    `result_info` comes once a request. Each message has its own copy of the input's stamp and frame_id. Depth
    that is not metric is sent as `depth/relative` (0..1, larger is farther) and colours, never as metres or points; a
    frame without a calibrated camera gets no `depth/camera_info` and no `points`.
    """
    outputs = _Outputs(perceived, get_message, pack)
    makers = (*outputs.depth(), *outputs.normals(), *outputs.labels("semantic"), *outputs.labels("referring"),
              *outputs.instances(), *outputs.points(stride, min_range, max_range, cloud_tasks), *outputs.overlay(),
              *outputs.picture(), *outputs.infos(age, dropped))
    return [(name, make()) for name, make in makers if wanted is None or name in wanted]


def label_info(frame: Frame, names: Sequence[str], get_message: GetMessage) -> Any:
    """vision_msgs/LabelInfo with the names of a label image's values, and the frame's stamp and frame_id."""
    return _Outputs(Perceived(frame, ()), get_message, pack_array).label_info(names)


def camera_messages(frame: Frame, get_message: GetMessage, pack: Pack = pack_array) -> tuple[Any, Any]:
    """A frame with a camera as a camera driver sends it: sensor_msgs/Image (rgb8) and CameraInfo."""
    outputs = _Outputs(Perceived(frame, ()), get_message, pack)
    return outputs.image(frame.rgb, "rgb8"), outputs.camera_info(frame.camera)


_Makers = Iterator[tuple[str, Callable[[], Any]]]


class _Outputs:
    """Makers of all messages of one frame; what several of them need is computed once, when first needed."""

    def __init__(self, perceived: Perceived, get_message: GetMessage, pack: Pack) -> None:
        self.perceived, self.pack = perceived, pack
        self.frame = perceived.frame
        self.get = functools.cache(get_message)
        self.asked = {answer.request.task for answer in perceived.answers}
        # Plain dicts: a cached method would make a cycle, and a frame's arrays wait for the collector.
        self.results: dict[str, Any] = {}
        self.colors: dict[str, np.ndarray] = {}

    def result(self, task: str) -> Any:
        if task not in self.results:
            self.results[task] = _to_numpy(self.perceived.result(task))
        return self.results[task]

    def color(self, task: str) -> np.ndarray:
        if task not in self.colors:
            self.colors[task] = colorize(self.result(task))
        return self.colors[task]

    def depth(self) -> _Makers:
        if "depth" in self.asked:
            result: DepthMap = self.result("depth")
            if result.metric:
                yield "depth/image", lambda: self.image(result.depth, "32FC1")
                if self.camera:
                    yield "depth/camera_info", lambda: self.camera_info(self.camera)
            else:
                yield "depth/relative", lambda: self.image(result.depth, "32FC1")
            yield "depth/color", lambda: self.image(self.color("depth"), "rgb8")
            yield "depth/confidence", lambda: self.image(result.confidence, "32FC1")

    def normals(self) -> _Makers:
        if "normals" in self.asked:
            result: NormalMap = self.result("normals")
            yield "normals/image", lambda: self.image(result.normals, "32FC3")
            yield "normals/color", lambda: self.image(self.color("normals"), "rgb8")

    def labels(self, task: str) -> _Makers:
        if task in self.asked:
            result: LabelMap = self.result(task)
            yield f"{task}/label_info", lambda: self.label_info(result.names)
            yield f"{task}/image", lambda: self.image(result.labels, "mono8")
            yield f"{task}/color", lambda: self.image(self.color(task), "rgb8")
            yield f"{task}/confidence", lambda: self.image(result.confidence, "32FC1")

    def instances(self) -> _Makers:
        if "instance" in self.asked:
            result: Instances = self.result("instance")
            yield "instance/image", lambda: self.image(result.labels, "mono16")
            yield "instance/detections", lambda: self.detections(result)
            yield "instance/color", lambda: self.image(self.color("instance"), "rgb8")

    def points(self, stride: int, min_range: float, max_range: float, cloud_tasks: Collection[str]) -> _Makers:
        if "depth" in self.asked and self.camera and self.result("depth").metric:
            wanted = self.asked.union(cloud_tasks)
            yield "points", lambda: self.cloud(make_cloud(
                self.result("depth").depth, self.camera, self.frame.rgb,
                *(self.layer(task, name) if task in wanted else None for task, name in (
                    ("normals", "normals"), ("semantic", "labels"), ("instance", "labels"))),
                min_range, max_range, stride,
            ))

    def layer(self, task: str, name: str) -> np.ndarray:
        """What a task says of each pixel, or nothing at all where it was not asked."""
        if task in self.asked:
            return getattr(self.result(task), name)
        unknown = _UNKNOWN[task]
        return np.full(self.frame.rgb.shape[:2] + unknown.shape, unknown, unknown.dtype)

    def overlay(self) -> _Makers:
        task = next((t for t in OVERLAID if t in self.asked), None)
        if task:
            yield "overlay", lambda: self.image(blend(self.frame.rgb, self.color(task)), "rgb8")

    def picture(self) -> _Makers:
        if "picture" in self.asked:
            yield "picture/image", lambda: self.image(self.color("picture"), "rgb8")

    def infos(self, age: float, dropped: int) -> _Makers:
        for answer in self.perceived.answers:
            yield "result_info", functools.partial(self.result_info, answer, age, dropped)

    @property
    def camera(self) -> Camera | None:
        camera = self.frame.camera
        return camera if camera and camera.calibrated else None

    def stamp(self) -> Any:
        sec, nanosec = divmod(self.frame.stamp, 10**9)
        return self.get("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)

    def header(self) -> Any:
        return self.get("std_msgs/msg/Header")(stamp=self.stamp(), frame_id=self.frame.frame_id)

    def filled(self, kind: str, values: np.ndarray, **fields: Any) -> Any:
        """A message whose data are the bytes of an array."""
        made = self.get(kind)
        # rclpy's messages copy the data they are made of, and, but for those that check them, the data they are given.
        checks = {"check_fields": True} if "_check_fields" in getattr(made, "__slots__", ()) else {}
        message = made(header=self.header(), **fields, data=(), **checks)
        message.data = self.pack(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
        return message

    def image(self, values: np.ndarray, encoding: str) -> Any:
        height, width = values.shape[:2]
        return self.filled(_IMAGE, values, height=height, width=width, encoding=encoding,
                           is_bigendian=int(sys.byteorder == "big"), step=values.nbytes // height)

    def camera_info(self, camera: Camera) -> Any:
        height, width = self.frame.rgb.shape[:2]
        camera = camera.resized(height, width)
        # A reader of a depth image (depth_image_proc) looks at P; a camera from a file may have none.
        projection = camera.P if camera.P[0, 0] else np.hstack((camera.K, np.zeros((3, 1))))
        return self.get("sensor_msgs/msg/CameraInfo")(
            header=self.header(), height=height, width=width, distortion_model=camera.model,
            d=self.pack(camera.D), k=camera.K.flatten(), r=camera.R.flatten(), p=projection.flatten(),
            binning_x=0, binning_y=0,
            roi=self.get("sensor_msgs/msg/RegionOfInterest")(
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        )

    def cloud(self, cloud: np.ndarray) -> Any:
        point_field = self.get("sensor_msgs/msg/PointField")
        height, width = cloud.shape
        return self.filled(
            _CLOUD, cloud, height=height, width=width,
            fields=[point_field(name=name, offset=offset, datatype=_DATATYPES[dtype.kind], count=1)
                    for name, (dtype, offset) in cloud.dtype.fields.items()],
            is_bigendian=sys.byteorder == "big", point_step=cloud.itemsize, row_step=cloud.itemsize * width,
            is_dense=False,
        )

    def label_info(self, names: Sequence[str]) -> Any:
        vision_class = self.get("vision_msgs/msg/VisionClass")
        named = [*enumerate(names), (UNLABELED_8, "UNLABELED")]
        return self.get(_LABEL_INFO)(
            header=self.header(), class_map=[vision_class(class_id=i, class_name=name) for i, name in named],
            threshold=_THRESHOLD,
        )

    def detections(self, result: Instances) -> Any:
        detections = [self.detection(d) for d in result.detections]
        return self.get(_DETECTIONS)(header=self.header(), detections=detections)

    def detection(self, detection: Detection) -> Any:
        x, y, width, height = (float(v) for v in detection.box)
        vision = {name: self.get(f"vision_msgs/msg/{name}") for name in (
            "Detection2D", "ObjectHypothesisWithPose", "ObjectHypothesis", "BoundingBox2D", "Pose2D",
            "Point2D")}
        center = vision["Pose2D"](position=vision["Point2D"](x=x + width / 2, y=y + height / 2), theta=0.0)
        hypothesis = vision["ObjectHypothesis"](class_id=detection.name, score=float(detection.score))
        return vision["Detection2D"](
            header=self.header(), id=str(detection.id),
            results=[vision["ObjectHypothesisWithPose"](hypothesis=hypothesis, pose=self.no_pose())],
            bbox=vision["BoundingBox2D"](center=center, size_x=width, size_y=height),
        )

    def no_pose(self) -> Any:
        """A mask says nothing of a 3D pose: identity."""
        geometry = {name: self.get(f"geometry_msgs/msg/{name}")
                    for name in ("PoseWithCovariance", "Pose", "Point", "Quaternion")}
        pose = geometry["Pose"](position=geometry["Point"](x=0.0, y=0.0, z=0.0),
                                orientation=geometry["Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0))
        return geometry["PoseWithCovariance"](pose=pose, covariance=np.zeros(36))

    def result_info(self, answer: Answer, age: float, dropped: int) -> Any:
        p = self.perceived
        return self.get(TOPICS["result_info"])(
            header=self.header(), task=answer.request.task, prompt=answer.prompt, model=p.model,
            weights=p.weights, seed=p.seed, steps=p.steps, votes=answer.votes,
            floor_scale=float(answer.floor_scale), smoothing=float(answer.smoothing), stages=list(p.timings),
            latencies=self.pack(np.array(list(p.timings.values()), np.float32)), input_stamp=self.stamp(),
            age=float(age), dropped=dropped,
        )


def _to_numpy(result: Result) -> Result:
    """The result with numpy arrays of the messages' own types, on the CPU."""
    types = {"labels": np.uint16 if isinstance(result, Instances) else np.uint8}
    arrays = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, (np.ndarray, torch.Tensor)):
            value = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
            arrays[field.name] = value.astype(types.get(field.name, np.float32), copy=False)
    return replace(result, **arrays)


def stamp_of(message: Any) -> int:
    """The header's stamp, nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def seconds(stamp: int) -> str:
    """A stamp in nanoseconds as people read it: seconds, all digits."""
    return f"{stamp // 10**9}.{stamp % 10**9:09d}"


def is_rectified(image_topic: str) -> bool:
    """Whether a topic's images are rectified ones, by image_proc's names: `.../image_rect...`, compressed or not."""
    return "rect" in image_topic.removesuffix("/compressed").rpartition("/")[2]


# OpenCV's own names say nothing of colour; cv_bridge writes images of its order under them.
_GENERIC = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}


def decode_image(message: Any) -> np.ndarray:
    """sensor_msgs/Image or CompressedImage (jpeg, png) -> uint8 RGB [H, W, 3].

    The encodings are those of rosbags-image. 16-bit images are scaled to 8 bits over their full range. Row padding
    and byte order are honoured. rgb8 is not copied. Raises InputError for an unknown encoding and for data that is
    empty, truncated or corrupt.
    """
    if hasattr(message, "format"):
        return _decode_compressed(np.frombuffer(message.data, np.uint8), message.format)
    m, encoding = message, _GENERIC.get(message.encoding, message.encoding)
    if encoding not in ENCODINGMAP:
        raise InputError(f"unknown image encoding {m.encoding!r}; publish one of {', '.join(ENCODINGMAP)}")
    _, _, kind, channels = ENCODINGMAP[encoding]
    dtype = np.dtype(kind).newbyteorder(">" if m.is_bigendian else "<")
    row = m.width * channels * dtype.itemsize
    rows = m.height * 3 // 2 if encoding.startswith("nv") else m.height  # below the luminance half as much colour
    data = np.frombuffer(m.data, np.uint8)
    step = m.step or row
    # A last row may come without its padding.
    if not (m.width and m.height) or step < row or data.size < step * (rows - 1) + row:
        raise InputError(f"a {m.width}x{m.height} {m.encoding} image with {data.size} bytes and step "
                         f"{m.step} is empty or truncated; check the camera driver")
    lines = np.lib.stride_tricks.as_strided(data, (rows, row), (step, 1))
    shape = (rows, m.width) if channels == 1 else (rows, m.width, channels)
    pixels = np.ascontiguousarray(lines).view(dtype).reshape(shape)
    return _to_rgb(pixels.astype(kind, copy=False), encoding)


def _to_rgb(pixels: np.ndarray, encoding: str) -> np.ndarray:
    try:
        rgb = convert_color(pixels, encoding, "rgb8" if pixels.dtype == np.uint8 else "rgb16")
    except (cv2.error, ImageError):
        height, width = pixels.shape[:2]
        raise InputError(f"a {width}x{height} image cannot be {encoding}; check the camera driver") from None
    return rgb if rgb.dtype == np.uint8 else cv2.convertScaleAbs(rgb, alpha=255 / 65535)


def _decode_compressed(data: np.ndarray, form: str) -> np.ndarray:
    check_whole(data, form)
    mosaic = mosaic_of(form)
    colour = cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(data, colour | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise _not_whole(data, form)
    return _to_rgb(pixels, mosaic or "bgr8")


def mosaic_of(form: str) -> str:
    """The encoding of a mosaic that was compressed as a grey image ("bayer_rggb8; jpeg compressed ..."), or ""."""
    encoding = form.split(";")[0].strip()
    return encoding if encoding.startswith("bayer_") and encoding in ENCODINGMAP else ""


def check_whole(data: np.ndarray, form: str) -> None:
    """Raise InputError for a jpeg or png that was cut: OpenCV paints the missing rows grey and says nothing."""
    tail = data[-4096:].tobytes()
    cut = (data[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" not in tail) or (
        data[:4].tobytes() == b"\x89PNG" and b"IEND" not in tail)
    if cut or not data.size:
        raise _not_whole(data, form)


def _not_whole(data: np.ndarray, form: str) -> InputError:
    return InputError(f"a compressed image ({form!r}, {data.size} bytes) is truncated or neither jpeg nor png; "
                      "check the camera driver")


# vision_msgs 4.1 (ROS 2 Jazzy), without its comments: rosbags' store of Jazzy does not have it.
_VISION_MSGS = {
    "Point2D": "float64 x\nfloat64 y\n",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "ObjectHypothesis": "string class_id\nfloat64 score\n",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n",
    "Detection2D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\n"
                   "string id\n",
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections\n",
    "VisionClass": "uint16 class_id\nstring class_name\n",
    "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
}


@functools.cache
def typestore() -> Typestore:
    """rosbags' store of ROS 2 Jazzy with vision_msgs and this package's messages. No ROS is needed."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, text in _VISION_MSGS.items():
        types |= get_types_from_msg(text, f"vision_msgs/msg/{name}")
    for path in sorted(_msg_folder().glob("*.msg")):
        types |= get_types_from_msg(path.read_text(encoding="utf-8"), f"vbanana_ros/msg/{path.stem}")
    store.register(types)
    return store


def offline(name: str) -> Any:
    """rosbags' class of a message, such as `sensor_msgs/msg/Image`: the `get_message` without ROS."""
    return typestore().types[name]


def _msg_folder() -> Path:
    """Beside the package in a source tree, else share/vbanana_ros/msg of the prefix it is installed in."""
    package = Path(__file__).resolve().parent
    prefixes = [*package.parents, Path(sys.prefix)]
    folders = [package.parent / "msg", *(p / "share" / "vbanana_ros" / "msg" for p in prefixes)]
    for folder in folders:
        if (folder / "ResultInfo.msg").is_file():
            return folder
    raise InputError(f"ResultInfo.msg is neither in {folders[0]} nor in {folders[-1]}; "
                     "install vbanana_ros again")

