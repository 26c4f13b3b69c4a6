"""The action: one prompt about one frame, answered beside the stream."""

import time

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from vbanana_ros.action import Query
from vbanana_ros.msg import TaskPrompt


class Client:
    def __init__(self, robot):
        self.robot, self.feedback = robot, []
        self.client = ActionClient(robot.own, Query, "/perception_node/query")
        assert self.client.wait_for_server(timeout_sec=10)

    def send(self, task="depth", stamp=0, camera="", **words):
        goal = Query.Goal(prompt=TaskPrompt(task=task, **words), camera=camera)
        goal.stamp.sec = stamp
        future = self.client.send_goal_async(goal, lambda m: self.feedback.append(m.feedback.stage))
        self.robot.until(future.done)
        return future.result()

    def result(self, handle):
        future = handle.get_result_async()
        self.robot.until(future.done)
        return future.result().status, future.result().result

    def ask(self, *args, **kwargs):
        return self.result(self.send(*args, **kwargs))


def pixels(message, dtype):
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def test_the_newest_frame_is_asked_without_disturbing_the_stream(make_robot, truth):
    robot = make_robot(tasks=["depth"])
    for second in (1, 2):
        robot.look(second)
    client = Client(robot)
    status, result = client.ask("semantic", classes=["ceiling", "ground"], colors=["#ffff00", "#00ffff"])
    assert status == GoalStatus.STATUS_SUCCEEDED and result.success
    np.testing.assert_array_equal(pixels(result.image, np.uint8), truth.labels)
    assert [c.class_name for c in result.label_info.class_map][:2] == ["ceiling", "ground"]
    assert result.image.header.stamp.sec == 2 and [i.task for i in result.infos] == ["semantic"]
    assert [r.task for r in robot.node.perception.requests] == ["depth"]
    robot.until(lambda: client.feedback == ["waiting", "perceiving"])


def test_the_frame_of_a_stamp_is_asked(make_robot, truth):
    robot = make_robot(tasks=["depth"])
    for second in (1, 2, 3):
        robot.look(second)
    client = Client(robot)
    status, result = client.ask("depth", stamp=2)
    assert result.success and result.image.header.stamp.sec == 2
    near = np.isfinite(truth.depth)
    np.testing.assert_allclose(pixels(result.image, np.float32)[near], truth.depth[near], rtol=1e-4)
    assert (result.points.height, result.points.width) == (48, 64)
    status, result = client.ask("depth", stamp=9)
    assert status == GoalStatus.STATUS_ABORTED and "no image of stamp 9.0" in result.message


def test_instances_come_with_detections(make_robot):
    robot = make_robot(tasks=["depth"])
    robot.look(1)
    _, result = Client(robot).ask("instance", classes=["box"])
    assert sorted(d.bbox.size_x for d in result.detections.detections) == [10.0, 20.0]
    assert result.image.encoding == "mono16"


@pytest.mark.parametrize(("goal", "said"), [
    ({"task": "dept"}, "unknown task"), ({"task": "semantic"}, "needs at least one"),
    ({"task": "depth", "camera": "left"}, "no camera 'left'"),
])
def test_what_cannot_be_answered_is_aborted_with_the_reason(make_robot, goal, said):
    robot = make_robot(tasks=["depth"])
    robot.look(1)
    status, result = Client(robot).ask(**goal)
    assert status == GoalStatus.STATUS_ABORTED and said in result.message


def test_before_the_first_image_it_waits_and_can_be_canceled(make_robot):
    robot = make_robot(tasks=["depth"])
    client = Client(robot)
    waits, canceled = client.send(), client.send()
    robot.until(lambda: canceled.cancel_goal_async().done() or True)
    time.sleep(0.3)
    robot.look(1)
    assert client.result(waits)[0] == GoalStatus.STATUS_SUCCEEDED
    assert client.result(canceled)[0] == GoalStatus.STATUS_CANCELED


def test_deactivation_ends_what_waits(make_robot):
    robot = make_robot(tasks=["depth"])
    client = Client(robot)
    handle = client.send()
    time.sleep(0.2)
    robot.node.trigger_deactivate()
    status, result = client.result(handle)
    assert status == GoalStatus.STATUS_ABORTED and "deactivated" in result.message
    status, result = client.ask("depth")
    assert status == GoalStatus.STATUS_ABORTED and "not active" in result.message
