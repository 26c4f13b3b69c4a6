"""The node scales metric depth onto the floor, where tf has it at the image's stamp."""

import sys

import numpy as np
import pytest

pytest.importorskip("tf2_ros")

from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.time import Time
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster

from vbanana_ros.messages import stamp_of
from vbanana_ros.results import DepthMap
from vbanana_ros.tasks import make_request

SECOND = 10**9


@pytest.fixture
def standing(oracle):
    """A generator that paints a wall 10 m ahead and the floor 1 m below a level camera."""
    rows = np.arange(48)[:, None] * np.ones((1, 64))
    depth = np.minimum(60 / np.maximum(rows - 23.5, 0.1), 10).astype(np.float32)
    generator = oracle([(make_request("depth"), DepthMap(depth, np.ones_like(depth)))])
    generator.depth = depth
    return generator


def transform(second, height):
    """A level camera, so high above base_footprint."""
    stamp = Time(nanoseconds=round(second * SECOND)).to_msg()
    message = TransformStamped(header=Header(stamp=stamp, frame_id="base_footprint"), child_frame_id="optical")
    message.transform.translation = Vector3(z=height)
    message.transform.rotation = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
    return message


def answer(robot, depths, infos, second):
    """What depth was multiplied with, and the depth that came of an image of this stamp."""
    robot.look(second)
    robot.until(lambda: depths and infos and all(stamp_of(m[-1]) == round(second * SECOND) for m in (depths, infos)))
    return infos[-1].floor_scale, np.frombuffer(depths[-1].data, np.float32).reshape(48, 64)


def test_depth_is_scaled_by_the_transforms_of_the_images_stamp(make_robot, standing):
    """Of a mast that rises, between two transforms; not the latest."""
    robot = make_robot(generator=standing, floor_frame="base_footprint", tasks=["depth"])
    got = robot.read("depth/image"), robot.read("result_info")
    for second, height in ((1.0, 1.0), (3.0, 1.4)):
        robot.send(TFMessage(transforms=[transform(second, height)]), "/tf")
    for second, height in ((1.5, 1.1), (2.0, 1.2)):
        scale, depth = answer(robot, *got, second)
        assert scale == pytest.approx(height, rel=1e-3)
        np.testing.assert_allclose(depth, scale * standing.depth, rtol=1e-3)
    assert "camera_info" not in robot.node.health.faults


def test_an_image_without_a_transform_is_answered_and_its_fault_is_said_while_it_holds(make_robot, standing):
    robot = make_robot(generator=standing, floor_frame="base_footprint", tasks=["depth"])
    got = robot.read("depth/image"), robot.read("result_info")
    assert answer(robot, *got, 1.0)[0] == 1
    assert "no transform from floor_frame 'base_footprint' to 'optical'" in robot.node.health.faults["camera_info"]
    broadcaster = StaticTransformBroadcaster(robot.own)
    broadcaster.sendTransform(transform(0, 1.25))
    robot.until(lambda: robot.node._buffer.can_transform("optical", "base_footprint", Time()),
                said="no static transform")
    assert answer(robot, *got, 2.0)[0] == pytest.approx(1.25, rel=1e-3)
    assert "camera_info" not in robot.node.health.faults


def test_nothing_is_scaled_and_nothing_listened_to_without_a_floor_frame(make_robot, standing):
    robot = make_robot(generator=standing, tasks=["depth"])
    assert answer(robot, robot.read("depth/image"), robot.read("result_info"), 1.0)[0] == 1
    assert not robot.node.get_subscriptions_info_by_topic("/tf")


def test_it_listens_as_long_as_it_is_active(make_robot, standing):
    robot = make_robot(generator=standing, floor_frame="base_footprint", tasks=["depth"])
    for _ in range(2):
        assert len(robot.node.get_subscriptions_info_by_topic("/tf")) == 1
        robot.node.trigger_deactivate()
        robot.until(lambda: not robot.node.get_subscriptions_info_by_topic("/tf"))
        robot.node.trigger_activate()


def test_without_tf2_it_says_what_to_install(make_robot, standing, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    robot = make_robot(False, standing, floor_frame="base_footprint")
    robot.node.trigger_configure()
    robot.node.trigger_activate()
    assert robot.node.health.state == "inactive"
    assert "install tf2_ros_py, or leave it empty" in robot.node.health.faults["activate"]
