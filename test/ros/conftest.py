"""A node under test and a robot around it: real rclpy over loopback, a generator that knows the answers."""

import contextlib
import importlib.util
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

# The messages are in the installed package only, made by `colcon build` (see `make ros`).
HAVE_ROS = all(importlib.util.find_spec(name) for name in ("rclpy", "vbanana_ros.msg"))
collect_ignore_glob = [] if HAVE_ROS else ["*"]

SECOND = 10**9
SIZE = (48, 64)
PROMPTS = {"semantic.classes": ["floor", "wall"], "semantic.colors": ["red", "blue"], "semantic.background": "black",
           "instance.classes": ["box"], "referring.expressions": ["the near box"], "referring.colors": ["green"],
           "referring.background": "black", "min_range": 0.0, "max_range": 100.0, "stride": 1}


def _spin(executor, node):
    from rclpy.executors import ExternalShutdownException

    from vbanana_ros.node import spin

    with contextlib.suppress(ExternalShutdownException):  # as an executor is shut down
        spin(executor, node)


class Robot:
    """Everything around the node: a camera that publishes, readers that keep what comes, clients."""

    def __init__(self, node, executor):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.node, self.executor = node, executor
        self.own = rclpy.create_node("robot")
        self.own_executor = SingleThreadedExecutor()
        self.own_executor.add_node(self.own)
        self.threads = [threading.Thread(target=_spin, args=pair, daemon=True)
                        for pair in ((executor, node), (self.own_executor, self.own))]
        for thread in self.threads:
            thread.start()
        self.publishers = {}

    def close(self):
        for executor in (self.executor, self.own_executor):
            executor.shutdown()
        for thread in self.threads:
            thread.join(timeout=10)
        self.node.on_shutdown(None)
        self.node.destroy_node()
        self.own.destroy_node()

    def until(self, condition, timeout=20.0, said="nothing came"):
        """Wait for a condition; fails with what was said."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, said() if callable(said) else said
            time.sleep(0.005)

    def read(self, topic, reliable=True, latched=False, depth=50):
        """The list that messages of a topic of the node (or an absolute one) are added to."""
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        from rosidl_runtime_py.utilities import get_message

        from vbanana_ros.messages import TOPICS

        name = topic if topic.startswith("/") else f"/perception_node/{topic}"
        kind = "diagnostic_msgs/msg/DiagnosticArray" if topic == "/diagnostics" else (
            TOPICS[topic if topic in TOPICS else topic.partition("/")[2]])
        qos = QoSProfile(depth=depth, reliability=(
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT))
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        got = []
        self.own.create_subscription(get_message(kind), name, got.append, qos)
        if topic != "/diagnostics":
            self.until(lambda: self.own.count_publishers(name), said=f"nobody offers {name}")
            output = next(o[t] for c, o in self.node._outputs.items() for t in o
                          if f"/perception_node/{c}/{t}".replace("//", "/") == name)
            self.until(output.get_subscription_count, said=f"the node sees no reader of {name}")
        return got

    def _publisher(self, kind, topic):
        """As drivers publish: best effort for cameras, reliable for the rest."""
        from rclpy.qos import qos_profile_sensor_data

        if topic not in self.publishers:
            qos = qos_profile_sensor_data if kind.__module__.startswith("sensor_msgs") else 10
            self.publishers[topic] = self.own.create_publisher(kind, topic, qos)
            self.until(lambda: self.publishers[topic].get_subscription_count(), said=f"nobody listens to {topic}")
        return self.publishers[topic]

    def send(self, message, topic):
        self._publisher(type(message), topic).publish(message)

    def frame(self, second, fx=60.0, frame_id="optical", rgb=None, camera=""):
        """image and camera_info of a stamp, not sent."""
        from rosidl_runtime_py.utilities import get_message

        from vbanana_ros.camera import Camera
        from vbanana_ros.messages import camera_messages
        from vbanana_ros.perception import Frame

        K = np.array([[fx, 0, 31.5], [0, fx, 23.5], [0, 0, 1]])
        rgb = np.zeros((*SIZE, 3), np.uint8) if rgb is None else rgb
        return camera_messages(Frame(rgb, round(second * SECOND), frame_id, Camera(SIZE[1], SIZE[0], K)), get_message)

    def look(self, second, prefix="", info=True, **kwargs):
        """Publish one frame, the info first, as the better drivers do; wait until the node has both."""
        image, camera_info = self.frame(second, **kwargs)
        feed = self.node._feeds[prefix.rstrip("/")]
        if info:
            self.send(camera_info, f"/{prefix}camera_info")
            self.until(lambda: feed._last.get(camera_info.header.frame_id) == camera_info, said="camera_info was lost")
        self.send(image, f"/{prefix}image")
        self.until(lambda: feed.image() and feed.image().header == image.header, said="the image was lost")

    def call(self, kind, name, request, timeout=20.0):
        """The reply of a service."""
        client = self.own.create_client(kind, name)
        assert client.wait_for_service(timeout_sec=10), f"no service {name}"
        future = client.call_async(request)
        self.until(future.done, timeout, f"no reply from {name}")
        self.own.destroy_client(client)
        return future.result()

    def set_prompt(self, **words):
        from vbanana_ros.msg import TaskPrompt
        from vbanana_ros.srv import SetPrompt

        request = SetPrompt.Request(prompt=TaskPrompt(**words))
        return self.call(SetPrompt, "/perception_node/set_prompt", request)


@pytest.fixture(scope="session")
def truth():
    """What the generator paints, by task: exact results of a made-up view, and of another prompt for semantic."""
    from vbanana_ros.params import Params, with_values
    from vbanana_ros.results import UNLABELED_16, DepthMap, Detection, Instances, LabelMap, NormalMap

    rows, cols = np.mgrid[:SIZE[0], :SIZE[1]]
    sure = np.ones(SIZE, np.float32)
    depth = (1 + rows / 10 + cols / 100).astype(np.float32)
    depth[:4, :4] = np.inf
    normals = np.zeros((*SIZE, 3), np.float32)
    normals[..., 2] = -1
    labels = (rows < 24).astype(np.uint8)
    boxes = np.full(SIZE, UNLABELED_16, np.uint16)
    boxes[10:20, 10:20], boxes[30:44, 40:60] = 0, 1
    near = np.where(boxes == 1, 0, 255).astype(np.uint8)
    requests = {r.task: r for r in with_values(Params(), PROMPTS).requests()}
    other = with_values(Params(), {"tasks": ["semantic"], "semantic.classes": ["ceiling", "ground"],
                                   "semantic.colors": ["#ffff00", "#00ffff"], "semantic.background": "black"})
    detections = (Detection(0, "box", 1.0, (10, 10, 10, 10), 100, (200, 40, 40)),
                  Detection(1, "box", 1.0, (40, 30, 20, 14), 280, (40, 200, 40)))
    semantic, referring, asked = requests["semantic"], requests["referring"], other.requests()[0]
    return SimpleNamespace(
        depth=depth, normals=normals, labels=labels, boxes=boxes, near=near, pairs=[
            (requests["depth"], DepthMap(depth, sure)), (requests["normals"], NormalMap(normals, sure)),
            (semantic, LabelMap(labels, semantic.labels, semantic.colors, sure)),
            (referring, LabelMap(near, referring.labels, referring.colors, sure)),
            (requests["instance"], Instances(boxes, detections, sure)),
            (asked, LabelMap(labels, asked.labels, asked.colors, sure))])


@pytest.fixture
def ros():
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_robot(ros, oracle, truth):
    """`make_robot(active=True, generator=None, **parameters)` -> a Robot; all are closed at the end."""
    from rclpy.executors import MultiThreadedExecutor
    from rclpy.parameter import Parameter

    from vbanana_ros.node import PerceptionNode

    robots = []

    def make(active=True, generator=None, load=None, **parameters):
        generator = generator or oracle(truth.pairs)
        values = PROMPTS | {name.replace("__", "."): value for name, value in parameters.items()}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = PerceptionNode(load or (lambda *_: generator), parameter_overrides=overrides)
        executor = MultiThreadedExecutor(2)
        executor.add_node(node)
        robots.append(Robot(node, executor))
        robots[-1].generator = generator
        if active:
            node.trigger_configure()
            node.trigger_activate()
            assert node.health.state == "active", node.health.faults
        return robots[-1]

    yield make
    for robot in robots:
        robot.close()
