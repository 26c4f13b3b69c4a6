"""Live messages of one camera become frames with the right camera."""

import numpy as np
import pytest

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError
from vbanana_ros.feed import Feed
from vbanana_ros.messages import camera_messages, offline, pack_numpy
from vbanana_ros.perception import Frame

SECOND = 10**9


def sent(stamp, fx=500.0, frame_id="optical", size=(48, 64)):
    """image and camera_info of a driver; the picture's first byte is the stamp's second."""
    height, width = size
    K = np.array([[fx, 0, width / 2], [0, fx, height / 2], [0, 0, 1]])
    rgb = np.full((height, width, 3), stamp // SECOND, np.uint8)
    return camera_messages(Frame(rgb, stamp, frame_id, Camera(width, height, K)), offline, pack_numpy)


def test_the_info_of_the_images_own_stamp_wins_over_a_newer_one():
    feed = Feed()
    first, second = sent(1 * SECOND, 500), sent(2 * SECOND, 600)
    feed.add_info(first[1])
    feed.add_info(second[1])
    frame, fault = feed.frame(first[0])
    assert frame.camera.K[0, 0] == 500 and not fault
    assert (frame.stamp, frame.frame_id, frame.rgb[0, 0, 0]) == (SECOND, "optical", 1)


def test_without_one_of_its_stamp_the_last_of_its_frame_counts():
    feed = Feed()
    feed.add_info(sent(1 * SECOND, 500)[1])
    feed.add_info(sent(2 * SECOND, 700, "other")[1])
    assert feed.frame(sent(3 * SECOND)[0])[0].camera.K[0, 0] == 500


def test_a_late_info_is_used_when_it_comes():
    feed = Feed()
    image, info = sent(1 * SECOND)
    frame, fault = feed.frame(image)
    assert frame.camera is None and "no camera_info of frame 'optical'" in fault
    feed.add_info(info)
    assert feed.frame(image)[0].camera.K[0, 0] == 500


def test_an_uncalibrated_camera_is_said_and_one_that_does_not_fit_is_none():
    feed = Feed()
    feed.add_info(sent(1 * SECOND, 0.0)[1])
    frame, fault = feed.frame(sent(1 * SECOND)[0])
    assert not frame.camera.calibrated and "not calibrated" in fault
    feed.add_info(sent(2 * SECOND, size=(64, 64))[1])
    frame, fault = feed.frame(sent(2 * SECOND)[0])
    assert frame.camera is None and "64x64" in fault


def test_a_frame_has_the_floor_of_its_stamp_where_that_is_known():
    """Without it the frame is used all the same, and what is wrong is said."""
    def floor(frame_id, stamp):
        if stamp > 2 * SECOND:
            raise InputError("no transform to 'optical'")
        return np.array([0, stamp / SECOND, 0])

    feed = Feed(floor=floor)
    feed.add_info(sent(1 * SECOND)[1])
    frame, fault = feed.frame(sent(2 * SECOND)[0])
    assert np.array_equal(frame.floor, [0, 2, 0]) and not fault
    frame, fault = feed.frame(sent(3 * SECOND)[0])
    assert frame.floor is None and frame.camera.calibrated and fault == "no transform to 'optical'"


def test_images_are_found_by_stamp_and_the_newest_by_zero():
    feed = Feed()
    assert feed.image() is None
    for second in range(1, 15):
        feed.add_image(sent(second * SECOND)[0])
    assert feed.image().header.stamp.sec == 14
    assert feed.image(7 * SECOND).header.stamp.sec == 7
    with pytest.raises(InputError, match=r"no image of stamp 2.0+; kept are the last 10 \(5.0+ to 14.0+\)"):
        feed.image(2 * SECOND)


def test_a_stamp_that_never_came_is_named_before_the_first_image_too():
    with pytest.raises(InputError, match="kept are the last 0"):
        Feed().image(SECOND)


def test_old_infos_are_forgotten():
    feed = Feed()
    feed.add_info(sent(1 * SECOND, 500)[1])
    for second in range(2, 103):
        feed.add_info(sent(second * SECOND, 600)[1])
    assert feed.frame(sent(1 * SECOND)[0])[0].camera.K[0, 0] == 600


def test_a_rectified_topic_means_p():
    feed = Feed(rectified=True)
    image, info = sent(1 * SECOND)
    info.p[0] = 450.0
    feed.add_info(info)
    assert feed.frame(image)[0].camera.intrinsics[0, 0] == 450


def test_the_given_decoder_is_used_and_its_error_comes_through():
    def broken(message):
        raise InputError("no picture")

    with pytest.raises(InputError, match="no picture"):
        Feed(decode=broken).frame(sent(SECOND)[0])
