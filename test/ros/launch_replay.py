"""A recording, played with its clock: one answer an image, with its stamp, and ages by the bag's time."""

import sys
import time
import unittest
from pathlib import Path

import launch
import launch_testing.actions
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from vbanana_ros.msg import ResultInfo

import vbanana_ros

BAG = Path(vbanana_ros.__file__).parent / "demo" / "bag"


def generate_test_description():
    share = get_package_share_directory("vbanana_ros")
    return launch.LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(f"{share}/launch/replay.launch.py"),
            launch_arguments={"bag": str(BAG), "rate": "0.4", "rviz": "false", "python": sys.executable,
                              "image_topic": "/camera/image_raw", "image_transport": "compressed",
                              "camera_info_topic": "/camera/camera_info"}.items()),
        launch_testing.actions.ReadyToTest(),
    ])


class TestReplay(unittest.TestCase):
    def test_every_image_is_answered_with_its_own_stamp(self):
        from vbanana_ros.bags import read_frames
        from vbanana_ros.messages import stamp_of

        recorded = [r.frame.stamp for r in read_frames(BAG)]
        rclpy.init()
        node = rclpy.create_node("reader")
        depth, infos = [], []
        node.create_subscription(Image, "/perception_node/depth/image", lambda m: depth.append(stamp_of(m)),
                                 QoSProfile(depth=30))
        node.create_subscription(ResultInfo, "/perception_node/result_info", infos.append, QoSProfile(depth=100))
        end = time.monotonic() + 120
        while len(depth) < len(recorded) and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
        node.destroy_node()
        rclpy.try_shutdown()
        self.assertEqual(depth, recorded)
        # By the wall clock they would be years old.
        self.assertTrue(all(-1 < info.age < 5 for info in infos), [info.age for info in infos])
