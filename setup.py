"""Installs with pip what `colcon build` installs with CMake: the package, and its share of ROS files."""

from glob import glob

from setuptools import find_packages, setup

SIM = ["mujoco>=3.3"]
TUNE = ["accelerate>=1.0", "tensorboard>=2.14", "h5py>=3.8", "pycocotools>=2.0.7", *SIM]
FLUX2 = ["diffusers>=0.41", "transformers>=4.57", "peft>=0.17"]
QWEN = ["diffusers>=0.41", "transformers>=5.24", "peft>=0.17"]  # its image processor does without torchvision
BENCH = ["hilbertmap", "open3d", "torchao"]
# What building a ROS package with this Python takes; colcon wants an older setuptools, torch a newer one.
ROS = ["colcon-common-extensions", "setuptools>=77,<80", "empy==3.3.4", "lark", "catkin_pkg", "argcomplete",
       "packaging"]
TEST = ["pytest>=8", "hypothesis>=6.100", "hilbertmap", "torchmetrics", "ruff", *TUNE, *QWEN]

setup(
    name="vbanana_ros",
    version="0.1.0",
    description="One local image generator as a robot's whole perception stack, in ROS 2",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    author="The vbanana_ros maintainers",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["vbanana_ros", "vbanana_ros.*"]),
    package_data={"vbanana_ros": ["generators/profiles/*.json", "models/*/*", "models/*/*/*", "demo/*", "demo/*/*",
                                  "*.css", "*.html"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vbanana_ros"]),
        ("share/vbanana_ros", ["package.xml"]),
        ("share/vbanana_ros/msg", glob("msg/*.msg")),
        ("share/vbanana_ros/srv", glob("srv/*.srv")),
        ("share/vbanana_ros/action", glob("action/*.action")),
        ("share/vbanana_ros/launch", glob("launch/*.py")),
        ("share/vbanana_ros/config", glob("config/*")),
    ],
    install_requires=[
        "numpy>=1.26", "scipy>=1.10", "opencv-python-headless>=4.8", "torch>=2.4", "diffusers>=0.36", "safetensors",
        "pyyaml", "rosbags>=0.10", "rosbags-image>=0.10", "rich", "matplotlib", "pytransform3d>=3.5",
    ],
    extras_require={"sim": SIM, "tune": TUNE, "flux2": FLUX2, "qwen": QWEN, "bench": BENCH, "ros": ROS, "test": TEST},
    entry_points={"console_scripts": ["vbanana = vbanana_ros.cli:main"]},
)
