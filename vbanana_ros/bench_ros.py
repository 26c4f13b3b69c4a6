"""`vbanana bench --ros`: the live node over loopback, every output read by another process."""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from vbanana_ros.bench import Figure, demo_frame, example, median
from vbanana_ros.errors import InputError
from vbanana_ros.generators.base import Capabilities, Generator
from vbanana_ros.generators.load import load_generator
from vbanana_ros.messages import TOPICS, camera_messages, messages, pack_array
from vbanana_ros.node import PerceptionNode, spin
from vbanana_ros.params import prompted
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.tasks import Request

SIZES = ((480, 640), (720, 1280))
_PATIENCE, _SOON = 30.0, 2.0  # seconds for a frame to be answered; long after it should have been
_CHECK = "check ROS_DOMAIN_ID, the network interface of the RMW, and net.core.rmem_max"


class _Painted:
    """A generator that takes no time: its pictures are made beforehand, in the order of the requests."""

    name, weights = "painted", ""

    def __init__(self, painted: list[np.ndarray]) -> None:
        self.capabilities = Capabilities(1, 1 << 30, 16, 1, 1, True, False, "Apache-2.0")
        self.painted = np.stack(painted)

    def encode_prompts(self, texts): return texts

    def encode_image(self, rgb, K=None): return rgb

    def generate(self, image, prompts, steps=1, seed=0): return self.painted[:len(prompts)]

    def warm_up(self, sizes, batches): pass


class _Timed:
    """A generator whose own time, of encoding and painting, is kept: milliseconds a frame."""

    def __init__(self, generator: Generator) -> None:
        self._generator, self.times = generator, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def encode_image(self, rgb: np.ndarray, K: np.ndarray | None = None) -> Any:
        start = time.perf_counter()
        image = self._generator.encode_image(rgb, K)
        self.times.append(1e3 * (time.perf_counter() - start))
        return image

    def generate(self, image: Any, prompts: Any, steps: int = 1, seed: int = 0) -> np.ndarray:
        start = time.perf_counter()
        painted = self._generator.generate(image, prompts, steps, seed)
        self.times[-1] += 1e3 * (time.perf_counter() - start)
        return painted


def node_figures(model: str) -> list[Figure]:
    """Publishing, the whole way without a generator, and what the node adds to the generator's own time."""
    rclpy.init()
    # Elsewhere: in a source tree Python would find the package that has no messages.
    reader = subprocess.Popen([sys.executable, "-c", f"from {__name__} import read_everything; read_everything()"],
                              cwd=tempfile.gettempdir())
    try:
        figures = []
        for height, width in SIZES:
            frame, requests, painted = example(height, width)
            with _running(_Painted(painted), requests) as (node, look):
                total = _median(look(frame) for _ in range(15))
                figures.append(Figure(f"image in, all outputs out, no generator, {width}x{height}", total))
                figures += _publish_figures(node, frame, painted, requests)
        return figures + _latency_figures(_Timed(load_generator(model, "cpu"))) + _cloud_figures()
    finally:
        reader.kill()
        reader.wait()
        rclpy.try_shutdown()


def _latency_figures(generator: _Timed) -> list[Figure]:
    """What the node adds to the generator's own time, frame by frame."""
    frame = demo_frame()
    _, requests, _ = example()
    with _running(generator, requests) as (_, look):
        looks = [(look(frame), generator.times[-1]) for _ in range(25)][5:]
    total, own = (_median(times) for times in zip(*looks, strict=True))
    share = _median(100 * (whole - part) / part for whole, part in looks)
    return [Figure(f"{generator.name}, five tasks, image in to all outputs out", total, peer="the generator alone",
                   peer_value=own, ratio=total / own),
            Figure("added by the node to the generator's time", share, "%", goal="<= 10 %", met=share <= 10)]


def _cloud_figures() -> list[Figure]:
    """Images in to cloud out, x y z rgb of every pixel, beside depth_image_proc's C++ node where that is installed.

    Ours is given the picture and decodes depth that was painted beforehand; depth_image_proc is given the depth too.
    Both clouds come back over loopback to the process that sent the images.
    """
    frame, requests, painted = example()
    perceived = Perception(_Painted(painted[:1]), requests[:1])(frame)
    (_, depth), = messages(perceived, get_message, pack_array, {"depth/image"})
    image, info = camera_messages(frame, get_message)
    what = "images in, cloud of x y z rgb out"
    with _active(_Painted(painted[:1]), requests[:1], stride=1):
        ours = _round_trip("/perception_node/points", {"camera_info": info, "image": image})
    try:
        program = Path(get_package_prefix("depth_image_proc"), "lib/depth_image_proc/point_cloud_xyzrgb_node")
    except PackageNotFoundError:
        return [Figure(f"{what} (depth_image_proc is not installed)", ours)]
    process = subprocess.Popen([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        theirs = _round_trip("/points", {"rgb/camera_info": info, "depth_registered/image_rect": depth,
                                         "rgb/image_rect_color": image})
    finally:
        process.terminate()
        process.wait()
    return [Figure(what, ours, peer="depth_image_proc (C++)", peer_value=theirs, ratio=ours / theirs)]


def _round_trip(topic: str, sent: dict[str, Any], rounds: int = 25) -> float:
    """Median ms from sending some messages, by topic, to a cloud's coming."""
    node = rclpy.create_node("bench_camera")
    came: queue.SimpleQueue[float] = queue.SimpleQueue()
    node.create_subscription(PointCloud2, topic, lambda message: came.put(time.perf_counter()), 1, raw=True)
    publishers = {name: node.create_publisher(type(message), name, 5) for name, message in sent.items()}

    def look(patience: float) -> float:
        for message in sent.values():
            message.header.stamp.sec += 1
        start = time.perf_counter()
        for name, message in sent.items():
            publishers[name].publish(message)
        try:
            return 1e3 * (came.get(timeout=patience) - start)
        except queue.Empty:
            raise InputError(f"nothing came over loopback for {patience:.0f} s on {topic}; {_CHECK}") from None

    with _spinning(node, SingleThreadedExecutor()):
        _wait(lambda: node.count_publishers(topic) and all(p.get_subscription_count() for p in publishers.values()))
        # The first image may overtake its camera_info, and then no cloud comes of it.
        with suppress(InputError):
            look(_SOON)
        return _median(look(_PATIENCE) for _ in range(rounds))


def _median(values: Iterable[float]) -> float:
    return float(np.median([*values]))


def read_everything() -> None:
    """The other process: takes every output and does nothing with it."""
    rclpy.init()
    node = rclpy.create_node("bench_reader")
    for topic, kind in TOPICS.items():
        node.create_subscription(get_message(kind), f"/perception_node/{topic}", lambda message: None,
                                 QoSProfile(depth=1), raw=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


@contextmanager
def _active(generator: Generator, requests: list[Request], **values: Any) -> Iterator[PerceptionNode]:
    """An active node, spinning."""
    values |= {"tasks": [r.task for r in requests]}
    for request in requests:
        values |= prompted(values["tasks"], request.task, classes=request.labels)
    node = PerceptionNode(lambda *_: generator,
                          parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    with _spinning(node, MultiThreadedExecutor(2)):
        node.trigger_configure()
        node.trigger_activate()
        try:
            yield node
        finally:
            node.on_shutdown(None)


@contextmanager
def _spinning(node: Any, executor: Executor) -> Iterator[None]:
    """The node's callbacks run in a thread of their own; the node is destroyed at the end."""
    executor.add_node(node)
    thread = threading.Thread(target=spin, args=(executor, node), daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join(timeout=5)  # rclpy may miss the wake-up of an executor that is shut down
        node.destroy_node()


@contextmanager
def _running(generator: Generator, requests: list[Request]) -> Iterator[tuple[PerceptionNode, Callable]]:
    """An active node that is read, and a function that shows it a frame: ms until all of it was answered."""
    with _active(generator, requests) as node:
        camera = rclpy.create_node("bench_camera")
        try:
            yield node, _camera(camera, node)
        finally:
            camera.destroy_node()


def _camera(camera: Any, node: PerceptionNode) -> Callable[[Frame], float]:
    """What shows the node a frame, once it is connected and read."""
    image, info = (camera.create_publisher(kind, topic, qos_profile_sensor_data)
                   for kind, topic in ((Image, "image"), (CameraInfo, "camera_info")))
    outputs = node._outputs[""].values()
    _wait(lambda: image.get_subscription_count() and info.get_subscription_count())
    _wait(lambda: all(output.get_subscription_count() for output in outputs))

    ended: queue.SimpleQueue[float] = queue.SimpleQueue()  # to wait without waking up takes nothing from the node
    answered = node.health.answered

    def end(timings: dict[str, float], age: float) -> None:
        ended.put(time.perf_counter())
        answered(timings, age)

    node.health.answered = end

    def look(frame: Frame) -> float:
        sent, calibration = camera_messages(frame, get_message)
        info.publish(calibration)
        start = time.perf_counter()
        image.publish(sent)
        try:
            return 1e3 * (ended.get(timeout=_PATIENCE) - start)
        except queue.Empty:
            raise InputError(f"no answer for {_PATIENCE:.0f} s: {node.health.last_fault or _CHECK}") from None

    return look


def _wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise InputError(f"nothing came over loopback for {_PATIENCE:.0f} s; {_CHECK}")
        time.sleep(1e-3)


def _publish_figures(node: PerceptionNode, frame: Frame, painted: list[np.ndarray],
                     requests: list[Request]) -> list[Figure]:
    """One publish call of each message that takes a tenth of a millisecond or more."""
    perceived = Perception(_Painted(painted), requests)(frame)
    height, width = frame.rgb.shape[:2]
    figures = []
    for topic, message in dict(messages(perceived, get_message, pack_array, stride=node.params.stride)).items():
        publisher = node._outputs[""][topic]
        ms = median(lambda p=publisher, m=message: p.publish(m), 15)
        figures.append(Figure(f"publish {topic}, {width}x{height}", ms))
    return [f for f in figures if f.value >= 0.1]
