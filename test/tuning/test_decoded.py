"""Loss terms in decoded units, against the decoders."""

import numpy as np
import pytest
import torch

from vbanana_ros.results import DepthMap
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tuning.decoded import MOST, angle_error, log_depth_error


def painted(depth):
    rgb = torch.from_numpy(np.asarray(TASKS["depth"].encode(DepthMap(depth, depth), Request("depth"))))
    return 2 * rgb.permute(2, 0, 1)[None] - 1


def test_a_small_error_of_colour_is_what_it_is_worth_in_depth():
    """On all seven edges: the term is |log d - log d'| of what the decoder reads, to first order."""
    depth = np.array([[0.45, 1.2, 2.5, 4.0, 7.0, 12.0, 30.0]], np.float32)
    other = depth * np.float32(1.002)
    error = log_depth_error(painted(other), painted(depth), torch.from_numpy(depth)[None])
    assert error[0].numpy() == pytest.approx(np.full(depth.shape, np.log(1.002)), rel=0.02)


def test_next_to_the_camera_its_worth_is_bounded():
    depth = np.full((1, 1), 0.01, np.float32)
    rgb = painted(depth).clone()
    rgb[:, 0] += 0.2
    assert float(log_depth_error(rgb, painted(depth), torch.from_numpy(depth)[None])) == pytest.approx(0.1 * MOST)


def test_what_is_not_known_counts_nothing():
    depth = torch.tensor([[[float("nan"), float("inf"), 0.0, -1.0]]])
    error = log_depth_error(torch.rand(1, 3, 1, 4), torch.zeros(1, 3, 1, 4), depth)
    assert torch.equal(error, torch.zeros(1, 1, 4))


def test_the_angle_between_painted_normals():
    straight = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    tilted = torch.tensor([0.0, np.sin(0.3), np.cos(0.3)], dtype=torch.float32).reshape(1, 3, 1, 1)
    assert float(angle_error(0.7 * tilted, straight)) == pytest.approx(1 - np.cos(0.3), abs=1e-6)
