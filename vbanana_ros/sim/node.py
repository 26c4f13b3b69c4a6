"""The simulated camera as a ROS node: image, camera_info and tf in real time, to try everything without a camera."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from vbanana_ros.camera import Camera
from vbanana_ros.errors import SimError
from vbanana_ros.messages import camera_messages
from vbanana_ros.perception import Frame
from vbanana_ros.sim.bag import FRAME_ID, transforms
from vbanana_ros.sim.camera import SimCamera


class SimCameraNode(Node):
    """Publishes image (sensor_msgs/Image, rgb8), camera_info, and on /tf where the camera is in `world`.

    Parameters: seed (first scene), width, height (pixels), fps.
    """

    def __init__(self) -> None:
        super().__init__("sim_camera")
        seed, width, height, fps = (self.declare_parameter(name, value).value for name, value in (
            ("seed", 9_000_000), ("width", 640), ("height", 480), ("fps", 5.0)))
        self._frames = iter(SimCamera(seed, width, height, fps))
        self._image = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self._info = self.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
        self._tf = self.create_publisher(TFMessage, "/tf", 100)
        self.create_timer(1 / fps, self._publish)

    def _publish(self) -> None:
        _, frame = next(self._frames)
        height, width = frame.rgb.shape[:2]
        seen = Frame(frame.rgb, self.get_clock().now().nanoseconds, FRAME_ID, Camera(width, height, frame.K))
        image, info = camera_messages(seen, get_message)
        # The image last: whoever has it then has its camera, and where that is.
        self._tf.publish(transforms(get_message, image.header.stamp, frame.camera))
        self._info.publish(info)
        self._image.publish(image)


def main(args: Sequence[str] | None = None) -> int:
    """Publish until told to stop; 2 where there is no OpenGL to draw with."""
    rclpy.init(args=args)
    try:
        rclpy.spin(SimCameraNode())
    except SimError as error:
        print(f"sim_camera: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0
