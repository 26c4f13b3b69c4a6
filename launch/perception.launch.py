"""The perception node on one camera or several, with rviz where it is wanted."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("vbanana_ros")
ARGUMENTS = {
    "image_topic": ("image", "Camera images; of several cameras: CAMERA/image is listened to."),
    "camera_info_topic": ("camera_info", "Calibration beside the images."),
    "image_transport": ("", "raw or compressed; empty: the parameter file's."),
    "cameras": ("", "Names of several cameras, with commas; their topics are CAMERA/image and CAMERA/camera_info."),
    "params_file": (PathJoinSubstitution([SHARE, "config", "perception.yaml"]), "Parameters of the node."),
    "model": ("", "A shipped model's name or a model directory; empty: the parameter file's."),
    "device": ("", "auto, cpu, cuda or cuda:N; empty: the parameter file's."),
    "floor_frame": ("", "A frame of TF that lies on the floor, z up; empty: the parameter file's."),
    "namespace": ("", "Namespace of the node and of its relative topics."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate at start."),
    "python": ("", "Interpreter that has torch, such as VENV/bin/python; empty: the system's."),
    "rviz": ("false", "Start rviz2 as well."),
    "fixed_frame": ("camera_optical_frame", "rviz's fixed frame: the camera's own, or any that TF leads to."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}


def generate_launch_description() -> LaunchDescription:
    declared = [DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()]
    rviz = Node(
        package="rviz2", executable="rviz2", condition=IfCondition(LaunchConfiguration("rviz")),
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "perception.rviz"]),
                   "-f", LaunchConfiguration("fixed_frame")],
        parameters=[{"use_sim_time": LaunchConfiguration("use_sim_time")}])
    return LaunchDescription([*declared, OpaqueFunction(function=_node), rviz])


def _node(context) -> list[LifecycleNode]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    given = {name: values[name] for name in ("model", "device", "image_transport", "floor_frame") if values[name]}
    given |= {name: values[name].lower() == "true" for name in ("use_sim_time", "autostart")}
    remappings = []
    if values["cameras"]:
        given["cameras"] = [name.strip() for name in values["cameras"].split(",")]
    else:
        remappings = [("image", values["image_topic"]), ("camera_info", values["camera_info_topic"])]
    return [LifecycleNode(
        package="vbanana_ros", executable="perception_node", name="perception_node", output="screen",
        namespace=values["namespace"], parameters=[values["params_file"], given], remappings=remappings,
        prefix=[values["python"]] if values["python"] else None,
        ros_arguments=["--log-level", f"perception_node:={values['log_level']}"])]
