"""A recording through the perception node: the bag's clock, the node on its time, rviz."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, RegisterEventHandler
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.event_handlers import OnStateTransition
from launch_ros.substitutions import FindPackageShare

PERCEPTION = PathJoinSubstitution([FindPackageShare("vbanana_ros"), "launch", "perception.launch.py"])


def generate_launch_description() -> LaunchDescription:
    play = ExecuteProcess(output="screen", cmd=[
        "ros2", "bag", "play", LaunchConfiguration("bag"), "--clock", "--rate", LaunchConfiguration("rate")])
    return LaunchDescription([
        DeclareLaunchArgument("bag", description="The recording's directory or file."),
        DeclareLaunchArgument("rate", default_value="1.0", description="How many times as fast as it was recorded."),
        DeclareLaunchArgument("rviz", default_value="true", description="Start rviz2 as well."),
        # What is played before the model is loaded would not be seen.
        RegisterEventHandler(OnStateTransition(goal_state="active", entities=[play], handle_once=True)),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(PERCEPTION), launch_arguments={
            "use_sim_time": "true", "rviz": LaunchConfiguration("rviz")}.items()),
    ])
