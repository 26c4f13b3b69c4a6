"""The live front end: camera topics in, every result out. Beside it only the simulated camera's node and
`bench --ros` know rclpy."""

from __future__ import annotations

import functools
import gc
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy._rclpy_pybind11 import RCLError
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.time import Time
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool

from vbanana_ros.action import Query
from vbanana_ros.errors import InputError, RequestError, VBananaError, one_line
from vbanana_ros.feed import Feed
from vbanana_ros.floor import floor_before
from vbanana_ros.generators.base import Generator
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.speed import Speed
from vbanana_ros.health import Health
from vbanana_ros.mailbox import Mailbox
from vbanana_ros.memory import keep_freed_memory
from vbanana_ros.messages import (
    CLOUD_TASKS,
    LATCHED,
    RELATIVE,
    TOPICS,
    check_whole,
    decode_image,
    is_rectified,
    label_info,
    messages,
    mosaic_of,
    pack_array,
    seconds,
    stamp_of,
    tasks_behind,
)
from vbanana_ros.msg import TaskPrompt
from vbanana_ros.params import DESCRIPTIONS, FIXED, NODE, RANGES, Live, Params, defaults, live, prompted, with_values
from vbanana_ros.perception import Frame, Perceived, Perception
from vbanana_ros.schedule import Schedule
from vbanana_ros.srv import SetPrompt
from vbanana_ros.steady import Steady
from vbanana_ros.tasks import TASKS, Request

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

# A camera's driver may be best effort or reliable, and only the newest frame counts.
_INPUT = functools.partial(QoSProfile, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# A reliable publisher serves both kinds of reader.
_OUTPUT = functools.partial(QoSProfile, depth=1, reliability=ReliabilityPolicy.RELIABLE)
_INFOS = functools.partial(QoSProfile, depth=20, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = functools.partial(_OUTPUT, durability=DurabilityPolicy.TRANSIENT_LOCAL)

# How long an image waits for the transform of its stamp, seconds: they are sent some milliseconds apart.
_TRANSFORM = 0.1

# The fields of the action's result that are named as the topics of its task.
_ANSWERS = ("image", "color", "confidence", "label_info", "detections")


@dataclass(frozen=True)
class _Look:
    """One image in the worker's hands: the frame it is, what is due of it, and what is then published of that.

    received: milliseconds that decoding it took. read: topics that somebody reads. asked: all tasks of the node.
    """

    name: str
    message: Any
    frame: Frame
    received: float
    requests: tuple[Request, ...]
    read: set[str]
    params: Params
    asked: set[str]


class PerceptionNode(LifecycleNode):
    """`perception_node`: what `vbanana bag` does to a recording, done to live topics.

    Subscribes (of each camera): image or image/compressed, camera_info; and ~/prompt (TaskPrompt), and with a
    floor_frame /tf and /tf_static.
    Publishes: every topic of messages.TOPICS under ~/ (~/CAMERA/ where there are several), and /diagnostics.
    Serves: ~/set_prompt (SetPrompt), ~/set_enabled (std_srvs/SetBool), the action ~/query (Query), and the
    services of a managed node. Parameters: config/perception.yaml.

    Images are answered in a thread of their own, those of several cameras together where the generator can; the
    executor only moves messages. Of each camera the newest image waits, older ones are dropped and counted.
    load: (model, device, speed) -> generator.
    """

    def __init__(self, load: Callable[[str, str, Speed], Generator] = load_generator, **kwargs: Any) -> None:
        super().__init__(NODE, **kwargs)
        self._load = load
        self._declare()
        self.health = Health()
        self.perception: Perception | None = None
        self._enabled = True
        self._feeds: dict[str, Feed] = {}
        self._outputs: dict[str, dict[str, Any]] = {}
        self._inputs: list[Any] = []
        self._mailbox: Mailbox | None = None
        self._worker: threading.Thread | None = None
        self._buffer: Any = None  # of transforms; one a node, for it offers a service
        self._transforms: Any = None
        self._schedule, self._steady = Schedule(), Steady()
        self._told: dict[tuple[str, str], tuple[str, ...]] = {}
        self._waiting: dict[str, list[Any]] = {}
        self._images = MutuallyExclusiveCallbackGroup()
        self.create_subscription(TaskPrompt, "~/prompt", self._on_prompt, 10)
        self.create_service(SetPrompt, "~/set_prompt", self._on_set_prompt)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        self._queries = ActionServer(
            self, Query, "~/query", execute_callback=lambda goal: None, handle_accepted_callback=self._on_query,
            cancel_callback=lambda goal: CancelResponse.ACCEPT, callback_group=ReentrantCallbackGroup())
        self._diagnose()

    # Parameters

    def _declare(self) -> None:
        self._values = {}
        for name, default in defaults().items():
            descriptor = ParameterDescriptor(description=DESCRIPTIONS[name])
            least, most = RANGES.get(name, (None, None))
            if isinstance(default, tuple):
                # An empty list has no type in ROS: it would be one of bytes, and never take a string.
                descriptor.dynamic_typing = True
                default = list(default)
            elif isinstance(default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=float(least), to_value=float(most))]
            elif least is not None:
                descriptor.integer_range = [IntegerRange(from_value=least, to_value=most)]
            self._values[name] = _plain(self.declare_parameter(name, default, descriptor))
        self.params, self.live = Params(), Live()
        self.add_on_set_parameters_callback(self._on_parameters)

    def _on_parameters(self, changed: Sequence[Parameter]) -> SetParametersResult:
        """All of a change or nothing: what is not understood is refused, with the mend."""
        new = {p.name: _plain(p) for p in changed if p.name in DESCRIPTIONS}
        fixed = [name for name in FIXED if name in new and new[name] != self._values[name]]
        if fixed and self.perception:
            return SetParametersResult(successful=False, reason=f"{fixed[0]} is read when the node is configured; "
                                       "deactivate and clean it up first")
        try:
            self._use(self._values | new)
        except RequestError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _use(self, values: dict[str, Any]) -> None:
        """Ask what these parameters say from the next frame on; raises RequestError, and then nothing changes."""
        params, own = with_values(Params(), values), live(values)
        requests = params.requests()
        if self.perception and (tuple(requests), params.votes) != (self.perception.requests, self.perception.votes):
            self.perception.ask(requests, params.votes)
        self._values, self.params, self.live = values, params, own

    # The life cycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the model, and offer all topics."""
        return self._attempt("configure", self._configure, self._release)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the cameras."""
        super().on_activate(state)
        return self._attempt("activate", self._activate, self._stop)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen no more; the model stays in memory."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model's memory back."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As deactivate and cleanup, from any state."""
        self._release()
        self.health.state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where everything can be tried again."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _attempt(self, name: str, transition: Callable[[], None], undo: Callable[[], None]) -> TransitionCallbackReturn:
        """FAILURE for what the user can mend, ERROR for a defect; both say why, as the service's reply cannot."""
        self.health.faults.pop(name, None)
        try:
            transition()
            return TransitionCallbackReturn.SUCCESS
        except (VBananaError, torch.OutOfMemoryError) as error:
            undo()
            self.health.faults[name] = one_line(error)
            self.get_logger().error(f"cannot {name}: {one_line(error)}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.health.faults[name] = one_line(error)
            self.get_logger().error(f"cannot {name}: {traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR

    def _configure(self) -> None:
        self._use(self._values)
        requests = self.params.requests()
        generator = self._load(self.params.model, self.params.device, self.params.speed())
        perception = Perception(generator, requests, self.params.seed, self.params.steps, self.params.votes)
        # Fewer prompts are asked where fewer topics are read, and each number of them is compiled for.
        batches = range(1, len(perception.prompts) + 1) if self.params.compile != "none" else [len(perception.prompts)]
        generator.warm_up([(480, 640)], batches)
        for name in self.live.cameras or ("",):
            self._outputs[name] = {topic: self._output(f"~/{name}/{topic}" if name else f"~/{topic}", topic)
                                   for topic in TOPICS}
        self.perception = perception
        self.health.state = "inactive"
        self.get_logger().info(f"{generator.name} is ready for {', '.join(self.params.tasks)}")
        if not perception.metric:
            self.health.faults["depth"] = RELATIVE.format(generator.name)
            self.get_logger().warning(self.health.faults["depth"])

    def _output(self, name: str, topic: str) -> Any:
        qos = _LATCHED() if topic in LATCHED else _INFOS() if topic == "result_info" else _OUTPUT()
        return self.create_lifecycle_publisher(
            get_message(TOPICS[topic]), name, qos,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=functools.partial(self._mismatch, name, "reader")),
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def _activate(self) -> None:
        floor = self._listen_to_transforms() if self.params.floor_frame else None
        self._mailbox = Mailbox(self._look)
        self.health.dropped, self.health.last_frame = self._mailbox.dropped, time.monotonic()
        self._schedule, self._steady, self._told = Schedule(), Steady(), {}
        decode = image_decoder()
        compressed = self.live.image_transport == "compressed"
        for name in self._outputs:
            prefix = f"{name}/" if name else ""
            topic = self.resolve_topic_name(f"{prefix}image")
            feed = self._feeds[name] = Feed(is_rectified(topic), decode, floor)
            # The compressed twin follows where image is remapped to, as image_transport's does.
            kind, topic = (CompressedImage, f"{topic}/compressed") if compressed else (Image, topic)
            self._input(kind, topic, functools.partial(self._on_image, name, feed))
            self._input(CameraInfo, f"{prefix}camera_info", feed.add_info)
        self._worker = threading.Thread(target=self._work, args=(self._mailbox,), name="perception", daemon=True)
        self._worker.start()
        self.health.state = "active"

    def _listen_to_transforms(self) -> Callable[[str, int], np.ndarray]:
        """What says where the floor is before a camera; raises RequestError where tf2_ros is not installed."""
        try:
            from tf2_ros import Buffer, TransformException, TransformListener
        except ImportError as error:
            raise RequestError(f"floor_frame needs {error.name}; install tf2_ros_py, or leave it empty") from None
        from vbanana_ros.transforms import pose_of  # here, for it takes a while

        self._buffer = self._buffer or Buffer(node=self)
        self._transforms = TransformListener(self._buffer, self)
        floor_frame, buffer = self.params.floor_frame, self._buffer

        def floor(frame_id: str, stamp: int) -> np.ndarray:
            try:
                found = buffer.lookup_transform(frame_id, floor_frame, Time(nanoseconds=stamp),
                                                Duration(seconds=_TRANSFORM))
            except TransformException as error:  # its words differ from frame to frame, and are said once
                raise InputError(f"no transform from floor_frame {floor_frame!r} to {frame_id!r} at the image's stamp "
                                 f"({type(error).__name__}); mend /tf, or leave floor_frame empty") from None
            return floor_before(pose_of(found.transform))

        return floor

    def _input(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self._inputs.append(self.create_subscription(
            kind, topic, callback, _INPUT(depth=10) if kind is CameraInfo else _INPUT(), callback_group=self._images,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=functools.partial(self._mismatch, topic, "writer")),
            qos_overriding_options=QoSOverridingOptions.with_default_policies()))

    def _mismatch(self, topic: str, who: str, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        fault = (f"a {who} of {topic} does not match in {policy}: nothing comes through; "
                 f"set qos_overrides.{self.resolve_topic_name(topic)}, or mend the {who}")
        self.health.faults[topic] = fault
        self.get_logger().warning(fault)

    def _stop(self) -> None:
        """Listen no more, and wait for the frame in work."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._mailbox:
            self._mailbox.close()
            self._worker.join()
            self._mailbox = self._worker = None
        if self._transforms:
            self._transforms.unregister()
            self._transforms = None
        self._feeds.clear()
        self.health.state = "inactive"

    def _release(self) -> None:
        """Give everything back that configure and activate took."""
        self._stop()
        for publisher in (p for outputs in self._outputs.values() for p in outputs.values()):
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        self.perception = None
        self.health.faults.pop("depth", None)
        self.health.state = "unconfigured"
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # Prompts and queries

    def _on_prompt(self, prompt: TaskPrompt) -> None:
        try:
            self._prompt(prompt)
        except RequestError as error:
            self.get_logger().warning(f"prompt refused: {error}")

    def _on_set_prompt(self, request: Any, response: Any) -> Any:
        try:
            response.message, response.success = self._prompt(request.prompt), True
        except RequestError as error:
            response.message, response.success = str(error), False
        return response

    def _prompt(self, prompt: TaskPrompt) -> str:
        """Set the parameters that a prompt means; returns what the generator is told, or raises RequestError."""
        values = prompted(self.params.tasks, prompt.task, prompt.text, prompt.classes, prompt.colors)
        if values:
            result = self.set_parameters_atomically([_parameter(name, value) for name, value in values.items()])
            if not result.successful:
                raise RequestError(result.reason)
        tasks = self.perception.tasks if self.perception else TASKS
        return "; ".join(tasks[r.task].prompt(r) for r in self.params.requests() if r.task == prompt.task)

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Whether frames are looked at; queries are answered either way."""
        self._enabled = request.data
        response.success, response.message = True, "enabled" if self._enabled else "disabled"
        return response

    def _on_query(self, goal: Any) -> None:
        mailbox = self._mailbox
        if mailbox is None:
            _finish(goal, Query.Result(message="the node is not active; activate it first"))
        else:
            goal.publish_feedback(Query.Feedback(stage="waiting"))
            mailbox.errand(functools.partial(self._answer, goal))

    # In the worker's thread

    def _on_image(self, name: str, feed: Feed, message: Any) -> None:
        """In the executor's thread: leave the image for the worker."""
        feed.add_image(message)
        self.health.last_frame = time.monotonic()
        mailbox = self._mailbox
        if mailbox and self._enabled:
            mailbox.put(name, message)
        elif mailbox and self._waiting.get(name):
            mailbox.errand(functools.partial(self._answer_waiting, name))

    def _work(self, mailbox: Mailbox) -> None:
        while work := mailbox.take(self.perception.generator.capabilities.max_images):
            work()
        for goal in (goal for goals in self._waiting.values() for goal in goals if self.context.ok()):
            _finish(goal, Query.Result(message="the node was deactivated before an image came"))
        self._waiting.clear()

    def _look(self, images: Sequence[tuple[str, Any]]) -> None:
        """Answer what is asked of every frame about the images of some cameras, together where the same is due.

        Whatever goes wrong with one, the others get their turn.
        """
        looks: dict[tuple[Request, ...], list[_Look]] = {}
        for name, message in images:
            with self._reporting(name, message):
                self._answer_waiting(name)
                if look := self._prepare(name, message):
                    looks.setdefault(look.requests, []).append(look)
        for same in looks.values():
            with self._reporting(same[0].name, same[0].message):
                self._perceive(same)

    def _answer_waiting(self, name: str) -> None:
        """Queries that came before the first image."""
        for goal in self._waiting.pop(name, []):
            self._answer(goal)

    @contextmanager
    def _reporting(self, name: str, message: Any) -> Iterator[None]:
        """What goes wrong with this image is said, and the node lives on."""
        try:
            yield
        except Exception as error:  # a generator can raise anything, out of memory above all
            fault = f"{name or 'image'} at {seconds(stamp_of(message))}: {one_line(error)}"
            self.health.fail(fault)
            self.get_logger().error(fault, throttle_duration_sec=5.0)
            self.get_logger().debug(traceback.format_exc())
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _prepare(self, name: str, message: Any) -> _Look | None:
        """The image as a frame and what is due of it, None for nothing; labels that are new are told first."""
        outputs, params, requests = self._outputs[name], self.params, self.perception.requests
        asked = {request.task for request in requests}
        read = {topic for topic, output in outputs.items() if output.get_subscription_count()}
        due = self._schedule.due(name, stamp_of(message), tasks_behind(read, asked), self.live.max_rate)
        renamed = [(f"{r.task}/label_info", r.labels) for r in requests if f"{r.task}/label_info" in outputs
                   and self._told.get((name, r.task)) != r.labels]
        if not (due or renamed):
            return None
        start = time.perf_counter()
        frame, fault = self._feeds[name].frame(message)
        received = 1e3 * (time.perf_counter() - start)
        self._camera_fault(name, fault)
        for topic, labels in renamed:
            outputs[topic].publish(label_info(frame, labels, get_message))
            self._told[name, topic.partition("/")[0]] = labels
        requests = tuple(r for r in requests if r.task in due)
        return _Look(name, message, frame, received, requests, read.difference(LATCHED), params, asked) if due else None

    def _perceive(self, looks: Sequence[_Look]) -> None:
        """Frames of which the same is due: all together or, where that fails, each alone."""
        try:
            answers = self.perception.together([look.frame for look in looks], looks[0].requests)
        except Exception:  # more memory than there is, above all
            if len(looks) == 1:
                raise
            for look in looks:
                with self._reporting(look.name, look.message):
                    self._perceive([look])
            return
        for look, perceived in zip(looks, answers, strict=True):
            with self._reporting(look.name, look.message):
                self._publish(look, replace(perceived, timings={"receive": look.received, **perceived.timings}))

    def _publish(self, look: _Look, perceived: Perceived) -> None:
        age, params = self._age(perceived), look.params
        start = time.perf_counter()
        perceived = self._steady(perceived, params.depth_smoothing, look.name)
        for topic, message in messages(
                perceived, get_message, pack_array, look.read, stride=params.stride, min_range=params.min_range,
                max_range=params.max_range, cloud_tasks=look.asked.intersection(CLOUD_TASKS), age=age,
                dropped=self.health.dropped[look.name]):
            self._outputs[look.name][topic].publish(message)
        timings = perceived.timings | {"publish": 1e3 * (time.perf_counter() - start)}
        self.health.answered(timings, age)

    def _age(self, perceived: Perceived) -> float:
        """Seconds since the image was taken, by the node's clock, which follows /clock under use_sim_time."""
        return (self.get_clock().now().nanoseconds - perceived.frame.stamp) / 1e9

    def _camera_fault(self, name: str, fault: str) -> None:
        """Say once what is wrong with a camera, and in the diagnostics for as long as it holds."""
        key = f"{name}/camera_info" if name else "camera_info"
        if fault and self.health.faults.get(key) != fault:
            self.get_logger().warning(fault)
        if fault:
            self.health.faults[key] = fault
        else:
            self.health.faults.pop(key, None)

    def _answer(self, goal: Any) -> None:
        """Answer a query, or leave it to the first image where none has come yet."""
        if goal.is_cancel_requested:
            return _finish(goal, Query.Result(message="canceled"))
        request = goal.request
        name = request.camera or next(iter(self._feeds))
        try:
            if name not in self._feeds:
                raise RequestError(f"no camera {name!r}; there are {', '.join(self._feeds)}")
            words = prompted((), request.prompt.task, request.prompt.text, request.prompt.classes,
                             request.prompt.colors)
            requests = with_values(self.params, words).requests()
            message = self._feeds[name].image(request.stamp.sec * 10**9 + request.stamp.nanosec)
            if message is None:
                self._waiting.setdefault(name, []).append(goal)
                return None
            goal.publish_feedback(Query.Feedback(stage="perceiving"))
            result = self._result(request.prompt.task, self.perception(self._feeds[name].frame(message)[0], requests))
        except Exception as error:  # as in _look
            self.get_logger().warning(f"query failed: {one_line(error)}")
            result = Query.Result(message=one_line(error))
        _finish(goal, result)

    def _result(self, task: str, perceived: Perceived) -> Any:
        params, result = self.params, Query.Result(success=True)
        if task == "depth" and not self.perception.metric:
            result.message = RELATIVE.format(perceived.model)
        wanted = {"result_info", "points", *(f"{task}/{field}" for field in _ANSWERS)}
        for topic, message in messages(
                perceived, get_message, pack_array, wanted, stride=params.stride, min_range=params.min_range,
                max_range=params.max_range, age=self._age(perceived)):
            if topic == "result_info":
                result.infos.append(message)
            else:
                setattr(result, topic.rpartition("/")[2], message)
        return result

    # Diagnostics

    def _diagnose(self) -> None:
        """By diagnostic_updater where it is installed, else directly, once a second."""
        try:
            from diagnostic_updater import Updater
        except ImportError:
            self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
            self.create_timer(1.0, self._publish_diagnostics)
            return
        self._updater = Updater(self)
        self._updater.setHardwareID("none")
        self._updater.add("perception", self._fill)

    def _fill(self, status: Any) -> Any:
        level, text, values = self._diagnosis()
        status.summary(level, text)
        for key, value in values.items():
            status.add(key, value)
        return status

    def _diagnosis(self) -> tuple[bytes, str, dict[str, str]]:
        level, text = self.health.summary(time.monotonic())
        return bytes([level]), text, self.health.values() | _gpu_memory()

    def _publish_diagnostics(self) -> None:
        level, text, values = self._diagnosis()
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticStatus(level=level, name=f"{self.get_name()}: perception", message=text,
                                  hardware_id="none", values=pairs)
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def _plain(parameter: Parameter) -> Any:
    """A parameter's value; an empty list has no type in ROS, from a file not even a value."""
    value = parameter.value
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _parameter(name: str, value: str | list[str]) -> Parameter:
    kind = Parameter.Type.STRING if isinstance(value, str) else Parameter.Type.STRING_ARRAY
    return Parameter(name, kind, value)


def _finish(goal: Any, result: Any) -> None:
    """End a goal from any thread: rclpy then sends the result in the executor's."""

    def end(goal: Any) -> Any:
        if goal.is_cancel_requested:
            goal.canceled()
        else:
            (goal.succeed if result.success else goal.abort)()
        return result

    goal.execute(end)


def _gpu_memory() -> dict[str, str]:
    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"GPU memory used (MiB)": f"{(total - free) / 2**20:.0f}", "GPU memory (MiB)": f"{total / 2**20:.0f}"}


def image_decoder() -> Callable[[Any], np.ndarray]:
    """Image message -> uint8 RGB: by cv_bridge where it imports (one of another NumPy does not), else rosbags-image.

    A cut jpeg, which OpenCV would paint grey, is refused either way; cv_bridge knows no compressed mosaics.
    """
    try:
        from cv_bridge import CvBridge
    except Exception:
        return decode_image
    bridge = CvBridge()

    def decode(message: Any) -> np.ndarray:
        form = getattr(message, "format", None)
        if form and mosaic_of(form):
            return decode_image(message)
        if form is not None:
            check_whole(np.frombuffer(message.data, np.uint8), form)
        to_cv2 = bridge.imgmsg_to_cv2 if form is None else bridge.compressed_imgmsg_to_cv2
        try:
            return to_cv2(message, "rgb8")
        except Exception as error:  # CvBridgeError, TypeError, cv2.error
            kind = f"{message.width}x{message.height} {message.encoding}" if form is None else f"compressed ({form!r})"
            raise InputError(f"a {kind} image cannot be decoded ({one_line(error)}); check the camera driver") from None

    return decode


class _Said(logging.Handler):
    """How a model is run, and where memory ran out, in the node's own log."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # Two calls: a logger of rclpy keeps the severity of each place that calls it.
        if record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


def spin(executor: Executor, node: Node) -> None:
    """Spin, whatever of its own rclpy lets out of an executor, which would end the node.

    Up to Jazzy that is a request for a transition which the state does not have (ros2/rclpy#1209; it gets no reply),
    and what was destroyed, as transitions do, just before it was waited for (ros2/rclpy#1284).
    """
    while True:
        try:
            return executor.spin()
        except InvalidHandle:
            pass
        except RCLError as error:
            if "transition" not in str(error):
                raise
            node.get_logger().error(f"a transition was refused: {one_line(error)}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop; with `autostart`, configured and active. 2 for a bad parameter file."""
    keep_freed_memory()
    rclpy.init(args=args)
    try:
        node = PerceptionNode()
    except ParameterException as error:
        print(f"{NODE}: {one_line(error)}", file=sys.stderr)
        return 2
    said = logging.getLogger("vbanana_ros.generators")
    said.handlers = [_Said(node.get_logger())]
    said.setLevel(logging.INFO)
    executor = MultiThreadedExecutor(2)
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            node.trigger_activate()
        spin(executor, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.on_shutdown(None)
        rclpy.try_shutdown()
    return 0
