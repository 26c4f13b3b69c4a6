"""The lines of an image lie where its camera sees them."""

import cv2
import numpy as np
import pytest
from rooms import angle, room

from vbanana_ros.camera import Camera
from vbanana_ros.lines import lines_of, unit

CAMERA = Camera(480, 360, np.array([[300.0, 0, 240], [0, 300, 180], [0, 0, 1]]))


def bar(height=360, width=480):
    """White left of a step from (200, 60) to (200, 300), black right of it; nothing else."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[height // 6:height * 5 // 6, :width * 5 // 12] = 255
    return rgb


def upright(lines):
    """The line whose plane contains the camera's y axis best."""
    return int(np.argmin(np.abs(lines.planes[:, 1])))


@pytest.mark.parametrize("scale", [1, 4])
def test_a_line_is_seen_where_it_is_in_small_images_and_large(scale):
    """The step lies between the pixels 199 and 200, (199.5 - 240) / 300 to the right of the axis.

    It is 240 of 480 columns long, so 160 of 320x240, in which lines are looked for.
    """
    camera = CAMERA.resized(360 * scale, 480 * scale)
    rays = camera.rays() + np.float32([(0.5 / 300) * (1 - 1 / scale), 0, 0])  # resizing keeps whole pixels, not edges
    lines = lines_of(bar(360 * scale, 480 * scale), rays)
    one = upright(lines)
    assert lines.lengths[one] == pytest.approx(160, abs=4)
    across = np.array([1, 0, 40.5 / 300])
    assert min(angle(lines.planes[one], across), angle(lines.planes[one], -across)) < 0.15
    assert angle(lines.middles[one], np.array([-40.5, 0, 300])) < 0.3


def test_the_longest_come_first_and_the_short_are_left_out():
    rgb = bar()
    cv2.rectangle(rgb, (300, 100), (310, 110), (255, 255, 255), -1)
    lengths = lines_of(rgb, CAMERA.rays()).lengths
    assert lengths.tolist() == sorted(lengths, reverse=True) and lengths[-1] > 15


def test_no_more_than_a_hundred_are_kept():
    assert len(lines_of(room(Camera.from_fov(480, 360, 90)).rgb, Camera.from_fov(480, 360, 90).rays())) == 100


def test_an_even_image_has_none():
    lines = lines_of(np.full((360, 480, 3), 80, np.uint8), CAMERA.rays())
    assert len(lines) == 0 and lines.planes.shape == lines.middles.shape == (0, 3)


def test_what_lies_where_no_pixel_looks_is_left_out():
    rays = CAMERA.rays().copy()
    rays[:, :220] = np.nan
    assert not any(angle(plane, np.array([1, 0, 40.5 / 300])) < 1 or angle(plane, np.array([-1, 0, -40.5 / 300])) < 1
                   for plane in lines_of(bar(), rays).planes)


def test_lines_of_a_lens_that_bends_them_are_straight_where_it_is_known():
    """A step that a plumb_bob lens bends is drawn along its image; told the lens, its plane is the step's."""
    bent = Camera(480, 360, CAMERA.K, D=[-0.25, 0.05, 0, 0, 0])
    edge = bent.project(np.stack([np.full(200, -0.5), np.linspace(-0.55, 0.55, 200), np.ones(200)], -1))
    rgb = np.zeros((360, 480, 3), np.uint8)
    outline = np.concatenate([edge, [[0, 359], [0, 0]]]).round().astype(np.int32)
    cv2.fillPoly(rgb, [outline], (255, 255, 255))
    lines = lines_of(rgb, bent.rays())
    steps = [plane for plane, length in zip(lines.planes, lines.lengths, strict=True)
             if abs(plane[1]) < 0.2 and length > 30]
    across = np.array([1, 0, 0.5])
    assert len(steps) >= 2 and all(min(angle(p, across), angle(p, -across)) < 1.5 for p in steps)


def test_unit_vectors():
    assert unit(np.array([[3.0, 0, 4], [0, 2, 0]])).tolist() == [[0.6, 0, 0.8], [0, 1, 0]]
    assert np.isnan(unit(np.zeros(3))).all()
