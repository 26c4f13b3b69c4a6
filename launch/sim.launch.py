"""The simulated camera, the perception node and rviz: everything, without a camera."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

PERCEPTION = PathJoinSubstitution([FindPackageShare("vbanana_ros"), "launch", "perception.launch.py"])


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        DeclareLaunchArgument("seed", default_value="9000000", description="Of the first scene."),
        DeclareLaunchArgument("fps", default_value="5.0", description="Images a second."),
        DeclareLaunchArgument("python", default_value="", description="Interpreter that has torch and mujoco."),
        DeclareLaunchArgument("rviz", default_value="true", description="Start rviz2 as well."),
        Node(package="vbanana_ros", executable="sim_camera", name="sim_camera", output="screen",
             prefix=LaunchConfiguration("python"),
             parameters=[{"seed": LaunchConfiguration("seed"), "fps": LaunchConfiguration("fps")}]),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(PERCEPTION), launch_arguments={
            "rviz": LaunchConfiguration("rviz"), "python": LaunchConfiguration("python"),
            "floor_frame": "world"}.items()),
    ])
