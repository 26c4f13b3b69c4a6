# The node on the public ROS image:  docker build -t vbanana_ros . && docker run --rm --net=host vbanana_ros
# With a GPU: --gpus all, and TORCH=torch at build time (the CUDA build, some GB).
FROM ros:jazzy
ARG TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-venv ros-jazzy-vision-msgs ros-jazzy-diagnostic-updater ros-jazzy-rmw-cyclonedds-cpp \
      ros-jazzy-launch-testing-ament-cmake ros-jazzy-ament-cmake-pytest ros-jazzy-rosbag2 libosmesa6 \
    && rm -rf /var/lib/apt/lists/*
# torch lives in a venv that sees ROS's own Python packages.
RUN python3 -m venv --system-site-packages /venv && /venv/bin/pip install --no-cache-dir ${TORCH}
WORKDIR /ws/src/vbanana_ros
COPY . .
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt ".[sim,test]" \
    && /venv/bin/pip uninstall -y vbanana_ros \
    && cd /ws && . /opt/ros/jazzy/setup.sh \
    && colcon build --cmake-args -DPython3_EXECUTABLE=/venv/bin/python
ENV PATH=/venv/bin:$PATH RMW_IMPLEMENTATION=rmw_cyclonedds_cpp
ENTRYPOINT ["/ros_entrypoint.sh", "bash", "-c", "source /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "vbanana_ros", "perception.launch.py", "python:=/venv/bin/python"]
