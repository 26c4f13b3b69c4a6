"""What /diagnostics says."""

from vbanana_ros.health import ERROR, OK, WARN, Health


def active():
    return Health(state="active", last_frame=100.0)


def test_levels_follow_what_happened_last():
    health = active()
    assert health.summary(101.0) == (OK, "perceiving")
    health.fail("image at 1.0: broken")
    assert health.summary(101.0) == (ERROR, "image at 1.0: broken")
    health.answered({"generate": 80.0}, 0.1)
    assert health.summary(102.0) == (OK, "perceiving")
    assert (health.frames, health.failed) == (1, 1)


def test_silence_and_standing_faults_are_warnings():
    health = active()
    assert health.summary(107.0) == (WARN, "no image for 7 s; check the topics with `ros2 topic info -v`")
    health.faults["image"] = "a writer of image does not match"
    assert health.summary(101.0) == (WARN, "a writer of image does not match")
    assert health.values()["image"] == "a writer of image does not match"


def test_a_node_that_is_not_active_is_well_unless_it_could_not_be_configured():
    health = Health()
    assert health.summary(1.0) == (OK, "unconfigured")
    health.faults["configure"] = "no model"
    assert health.summary(1.0) == (ERROR, "no model")


def test_times_are_means_that_lean_to_the_newest():
    health = active()
    health.answered({"generate": 100.0}, 0.1)
    health.answered({"generate": 200.0}, 0.2)
    assert health.timings == {"generate": 110.0}
    assert health.values()["generate (ms)"] == "110.0" and health.values()["age (s)"] == "0.200"
