"""Where frames are to each other: transforms as messages have them, and all that a bag recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pytransform3d.transform_manager import NumpyTimeseriesTransform, StaticTransform, TemporalTransformManager
from pytransform3d.transformations import transform_from_pq

from vbanana_ros.errors import InputError


def pose_of(transform: Any) -> np.ndarray:
    """geometry_msgs/Transform -> float64 [4, 4]. Raises InputError where it is none."""
    return transform_from_pq(_pq(transform))


class Transforms:
    """What a recording says of where frames are to each other, at any time.

    messages: (whether it is static, geometry_msgs/TransformStamped), in any order; those that are none are left out.
    Between two stamps it is interpolated, before the first and after the last it is theirs.
    """

    def __init__(self, messages: Iterable[tuple[bool, Any]]) -> None:
        self._tree = TemporalTransformManager()
        edges: dict[tuple[str, str], dict[int, np.ndarray]] = {}
        for static, message in messages:
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            try:
                pq = _pq(message.transform)
            except InputError:
                continue
            edges.setdefault((_name(message.child_frame_id), _name(message.header.frame_id)), {})[
                0 if static else stamp] = pq
        for (child, parent), path in edges.items():
            self._tree.add_transform(child, parent, _over_time(path))

    def pose(self, source_frame: str, target_frame: str, stamp: int) -> np.ndarray:
        """What takes points of one frame to another at a stamp (nanoseconds): float64 [4, 4].

        Raises InputError where no transforms lead from one to the other.
        """
        try:
            return self._tree.get_transform_at_time(_name(source_frame), _name(target_frame), stamp / 1e9)
        except KeyError:
            raise InputError(f"no transforms from {source_frame!r} to {target_frame!r}; record /tf and /tf_static, or "
                             "name frames that they have") from None


def _pq(transform: Any) -> np.ndarray:
    """Position x, y, z and quaternion w, x, y, z."""
    t, q = transform.translation, transform.rotation
    pq = np.array([t.x, t.y, t.z, q.w, q.x, q.y, q.z])
    if not (np.isfinite(pq).all() and np.linalg.norm(pq[3:]) > 0.5):
        raise InputError(f"a transform of {pq[:3]} and quaternion {pq[3:]} (w, x, y, z) is none; mend its publisher")
    return pq


def _over_time(path: dict[int, np.ndarray]) -> StaticTransform | NumpyTimeseriesTransform:
    if len(path) == 1:
        return StaticTransform(transform_from_pq(*path.values()))
    stamps = sorted(path)
    return NumpyTimeseriesTransform(np.array(stamps) / 1e9, np.array([path[stamp] for stamp in stamps]),
                                    time_clipping=True)


def _name(frame_id: str) -> str:
    """tf of ROS 1 began names with a slash, and its bags still do."""
    return frame_id.removeprefix("/")
