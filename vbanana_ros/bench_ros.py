"""`vbanana bench --ros`: the live node over loopback, every output read by another process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import CameraInfo, Image

from vbanana_ros.bench import Figure, example, median
from vbanana_ros.errors import InputError
from vbanana_ros.generators.base import Capabilities, Generator
from vbanana_ros.generators.load import load_generator
from vbanana_ros.messages import TOPICS, camera_messages, messages, pack_array
from vbanana_ros.node import PerceptionNode
from vbanana_ros.params import prompted
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.tasks import Request

SIZES = ((480, 640), (720, 1280))
_PATIENCE = 30.0  # seconds for a frame to be answered


class _Painted:
    """A generator that takes no time: its pictures are made beforehand, in the order of the requests."""

    name, weights = "painted", ""

    def __init__(self, painted: list[np.ndarray]) -> None:
        self.capabilities = Capabilities(1, 1 << 30, 16, 1, 1, True, False, "Apache-2.0")
        self.painted = np.stack(painted)

    def encode_prompts(self, texts): return texts

    def encode_image(self, rgb): return rgb

    def generate(self, image, prompts, steps=1, seed=0): return self.painted[:len(prompts)]

    def warm_up(self, sizes, batches): pass


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
                total = median(lambda f=frame: look(f), 15)
                figures.append(Figure(f"image in, all outputs out, no generator, {width}x{height}", total))
                figures += _publish_figures(node, frame, painted, requests)
        frame, requests, _ = example()
        generator = load_generator(model, "cpu")
        with _running(generator, requests) as (node, look):
            total = median(lambda: look(frame), 9)
            own = node.health.timings["encode"] + node.health.timings["generate"]
            share = 100 * (total - own) / own
            figures.append(Figure(f"{generator.name}, five tasks, image in to all outputs out", total,
                                  peer="the generator alone", peer_value=own, ratio=total / own))
            figures.append(Figure("added by the node to the generator's time", share, "%", goal="<= 10 %",
                                  met=share <= 10))
        return figures
    finally:
        reader.terminate()
        reader.wait()
        rclpy.try_shutdown()


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
def _running(generator: Generator, requests: list[Request]) -> Iterator[tuple[PerceptionNode, Callable]]:
    """An active node that is read, and a function that shows it a frame and waits until it was answered."""
    values = {"tasks": [r.task for r in requests]}
    for request in requests:
        values |= prompted(values["tasks"], request.task, classes=request.labels)
    node = PerceptionNode(lambda model, device: generator,
                          parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    camera = rclpy.create_node("bench_camera")
    executor = MultiThreadedExecutor(2)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    node.trigger_configure()
    node.trigger_activate()
    image, info = (camera.create_publisher(kind, topic, qos_profile_sensor_data)
                   for kind, topic in ((Image, "image"), (CameraInfo, "camera_info")))
    outputs = node._outputs[""].values()
    _wait(lambda: image.get_subscription_count() and info.get_subscription_count())
    _wait(lambda: all(output.get_subscription_count() for output in outputs))

    def look(frame: Frame) -> None:
        done = node.health.frames + node.health.failed
        sent, calibration = camera_messages(frame, get_message)
        info.publish(calibration)
        image.publish(sent)
        _wait(lambda: node.health.frames + node.health.failed > done)

    try:
        yield node, look
    finally:
        node.on_shutdown(None)
        executor.shutdown()
        thread.join(timeout=5)  # rclpy may miss the wake-up of an executor that is shut down
        node.destroy_node()
        camera.destroy_node()


def _wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise InputError(f"nothing came over loopback for {_PATIENCE:.0f} s; check ROS_DOMAIN_ID, the network "
                             "interface of the RMW, and net.core.rmem_max")
        time.sleep(1e-3)


def _publish_figures(node: PerceptionNode, frame: Frame, painted: list[np.ndarray],
                     requests: list[Request]) -> list[Figure]:
    """One publish call of each message that takes a tenth of a millisecond or more."""
    perceived = Perception(_Painted(painted), requests)(frame)
    height, width = frame.rgb.shape[:2]
    figures = []
    for topic, message in dict(messages(perceived, get_message, pack_array)).items():
        publisher = node._outputs[""][topic]
        ms = median(lambda p=publisher, m=message: p.publish(m), 15)
        figures.append(Figure(f"publish {topic}, {width}x{height}", ms))
    return [f for f in figures if f.value >= 0.1]
