"""Processes of their own: the launch file, the simulated camera and the shipped model; the same answers as offline."""

import sys
import time
import unittest

import launch
import launch_testing.actions
import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage


def generate_test_description():
    share = get_package_share_directory("vbanana_ros")
    return launch.LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource(f"{share}/launch/sim.launch.py"),
                                 launch_arguments={
                                     "rviz": "false", "fps": "2.0", "python": sys.executable}.items()),
        launch_testing.actions.ReadyToTest(),
    ])


class TestSim(unittest.TestCase):
    def test_live_answers_are_those_of_the_same_model_offline(self):
        from vbanana_ros.camera import Camera
        from vbanana_ros.floor import floor_before
        from vbanana_ros.generators.load import load_generator
        from vbanana_ros.messages import decode_image, stamp_of
        from vbanana_ros.params import Params, with_values
        from vbanana_ros.perception import Frame, Perception
        from vbanana_ros.transforms import Transforms

        rclpy.init()
        node = rclpy.create_node("reader")
        seen = {name: {} for name in ("image", "camera_info", "tf", "depth", "semantic", "points")}

        def keep(name):
            return lambda message: seen[name].__setitem__(
                stamp_of(message.transforms[0] if name == "tf" else message), message)

        for name, kind, topic, qos in (
                ("image", Image, "/image", qos_profile_sensor_data),
                ("camera_info", CameraInfo, "/camera_info", qos_profile_sensor_data),
                ("tf", TFMessage, "/tf", QoSProfile(depth=100)),
                ("depth", Image, "/perception_node/depth/image", QoSProfile(depth=5)),
                ("semantic", Image, "/perception_node/semantic/image", QoSProfile(depth=5)),
                ("points", PointCloud2, "/perception_node/points", QoSProfile(depth=5))):
            node.create_subscription(kind, topic, keep(name), qos)
        common, end = set(), time.monotonic() + 90
        while len(common) < 3 and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
            common = set.intersection(*map(set, seen.values()))
        node.destroy_node()
        rclpy.try_shutdown()
        self.assertGreaterEqual(len(common), 3, {name: len(got) for name, got in seen.items()})
        classes = ["floor", "wall", "table", "chair", "sofa", "cabinet", "ball", "box"]
        params = with_values(Params(), {"tasks": ["depth", "semantic"], "semantic.classes": classes})
        perception = Perception(load_generator("nano", "cpu"), params.requests())
        for stamp in common:
            image, depth, semantic, points = (seen[n][stamp] for n in ("image", "depth", "semantic", "points"))
            self.assertEqual((depth.encoding, depth.header.frame_id), ("32FC1", "camera_optical_frame"))
            self.assertEqual((points.height, points.width), (240, 320))
            camera = Camera.from_message(seen["camera_info"][stamp])
            transforms = Transforms((False, transform) for transform in seen["tf"][stamp].transforms)
            floor = floor_before(transforms.pose("world", "camera_optical_frame", stamp))
            perceived = perception(Frame(decode_image(image), stamp, camera=camera, floor=floor))
            ours = np.frombuffer(depth.data, np.float32).reshape(480, 640)
            np.testing.assert_allclose(ours, perceived.result("depth").depth, rtol=1e-3, equal_nan=True)
            labels = np.frombuffer(semantic.data, np.uint8).reshape(480, 640)
            same = (labels == perceived.result("semantic").labels).mean()
            self.assertGreater(same, 0.999)
