"""Poses from transforms as messages have them, still and moving, and frames that none lead to."""

from types import SimpleNamespace as Message

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vbanana_ros.errors import InputError
from vbanana_ros.floor import floor_before
from vbanana_ros.transforms import Transforms, pose_of

# An optical frame (x right, y down, z forward) in a body (x forward, y left, z up): REP 103.
OPTICAL = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def stamped(parent, child, position, rotation=None, stamp=0):
    """geometry_msgs/TransformStamped: where child is in parent."""
    x, y, z, w = (rotation or Rotation.identity()).as_quat()
    header = Message(frame_id=parent, stamp=Message(sec=stamp // 10**9, nanosec=stamp % 10**9))
    translation = Message(**dict(zip("xyz", position, strict=True)))
    transform = Message(translation=translation, rotation=Message(x=x, y=y, z=z, w=w))
    return Message(header=header, child_frame_id=child, transform=transform)


def test_a_level_camera():
    """1.25 m above the floor, so the floor is where 0.8 y = 1."""
    tree = Transforms([(True, stamped("base", "optical", (0.3, 0.1, 1.25), OPTICAL))])
    assert np.allclose(floor_before(tree.pose("base", "optical", 5)), [0, 0.8, 0])


@given(st.floats(-3, 3), st.floats(-1.5, 1.5), st.floats(-3, 3), st.floats(0.1, 5), st.floats(-9, 9))
def test_every_point_of_the_floor_is_on_the_plane(yaw, pitch, roll, height, x):
    rotation = Rotation.from_euler("zyx", [yaw, pitch, roll]) * OPTICAL
    tree = Transforms([(True, stamped("base", "optical", (x, -x, height), rotation))])
    floor = floor_before(tree.pose("base", "optical", 0))
    points = np.array([[0, 0, 0], [2, 0, 0], [-3, 5, 0]]) - (x, -x, height)
    assert np.allclose(rotation.inv().apply(points) @ floor, 1)
    assert np.isclose(1 / np.linalg.norm(floor), height)


@pytest.mark.parametrize("broken", [{"x": np.nan}, {"w": 0.0, "x": 0, "y": 0, "z": 0}])
def test_a_transform_that_is_none(broken):
    message = stamped("base", "optical", (0, 0, 1.0))
    for name, value in broken.items():
        setattr(message.transform.rotation, name, value)
    with pytest.raises(InputError, match="is none; mend its publisher"):
        pose_of(message.transform)
    good = stamped("base", "optical", (0, 0, 2.0), OPTICAL)
    tree = Transforms([(True, message), (True, good)])
    assert np.allclose(floor_before(tree.pose("base", "optical", 0)), [0, 0.5, 0])


def test_a_way_over_several_frames_and_names_of_ros_1():
    tree = Transforms([(False, stamped("/map", "/base_footprint", (5, 5, 0), stamp=3)),
                       (True, stamped("base_footprint", "mast", (0, 0, 1.0))),
                       (True, stamped("/mast", "optical", (0.1, 0, 0.25), OPTICAL))])
    for floor_frame in ("base_footprint", "/map"):
        assert np.allclose(floor_before(tree.pose(floor_frame, "/optical", 9)), [0, 0.8, 0])


def test_what_moves_is_interpolated_and_stays_at_its_ends():
    """A mast that rises by 1 m in 1 s while the head tilts down by 60 degrees; messages in any order."""
    down = Rotation.from_euler("y", 60, degrees=True) * OPTICAL
    first, second = 10**9, 2 * 10**9
    tree = Transforms([(False, stamped("base", "mast", (0, 0, 2.0), stamp=second)),
                       (False, stamped("base", "mast", (0, 0, 1.0), stamp=first)),
                       (False, stamped("mast", "optical", (0, 0, 0), OPTICAL, first)),
                       (False, stamped("mast", "optical", (0, 0, 0), down, second))])
    for stamp, height, angle in ((0, 1, 0), (first, 1, 0), (1_500_000_000, 1.5, 30), (second, 2, 60), (10**10, 2, 60)):
        expected = np.array([0, np.cos(np.radians(angle)), np.sin(np.radians(angle))]) / height
        assert np.allclose(floor_before(tree.pose("base", "optical", stamp)), expected, atol=1e-6)


@pytest.mark.parametrize("frames", [("base", "other"), ("nowhere", "optical"), ("odom", "optical")])
def test_frames_that_no_transforms_join(frames):
    tree = Transforms([(True, stamped("base", "optical", (0, 0, 1.0), OPTICAL)),
                       (True, stamped("odom", "other", (0, 0, 1.0)))])
    with pytest.raises(InputError, match=f"no transforms from '{frames[0]}' to '{frames[1]}'; record /tf"):
        tree.pose(*frames, 0)
    with pytest.raises(InputError, match="no transforms"):
        Transforms([]).pose(*frames, 0)
