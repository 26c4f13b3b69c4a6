"""The newest work of each source, in turn; errands first; nothing lost in silence."""

import threading

from vbanana_ros.mailbox import Mailbox


def works(mailbox, count):
    return [mailbox.take()() for _ in range(count)]


def box():
    """A mailbox of which each work gives back what it is about."""
    return Mailbox(lambda sent: [item for _, item in sent])


def test_the_newest_of_a_source_replaces_the_older_and_is_counted():
    mailbox = box()
    for i in range(5):
        mailbox.put("front", i)
    assert works(mailbox, 1) == [[4]]
    assert mailbox.dropped == {"front": 4}


def test_sources_are_served_in_turn_however_fast_one_of_them_is():
    mailbox, served = box(), []
    mailbox.put("slow", "slow")
    for _ in range(6):
        mailbox.put("fast", "fast")
        mailbox.put("fast", "fast")
        served += works(mailbox, 1)[0]
        if served[-1] == "slow":
            mailbox.put("slow", "slow")
    assert served == ["slow", "fast"] * 3
    assert mailbox.dropped["slow"] == 0


def test_several_that_wait_are_taken_together_the_longest_waiting_first():
    mailbox = Mailbox(list)
    for source in ("front", "left", "rear"):
        mailbox.put(source, source[0])
    mailbox.put("front", "newer")
    assert mailbox.take(2)() == [("front", "newer"), ("left", "l")]
    assert mailbox.take(2)() == [("rear", "r")]


def test_errands_go_first_and_are_never_dropped():
    mailbox = box()
    mailbox.put("front", "frame")
    mailbox.errand(lambda: "first")
    mailbox.errand(lambda: "second")
    assert works(mailbox, 3) == ["first", "second", ["frame"]]


def test_closing_forgets_frames_but_no_errands():
    mailbox = box()
    mailbox.put("front", "frame")
    mailbox.errand(lambda: "errand")
    mailbox.close()
    assert works(mailbox, 1) == ["errand"]
    assert mailbox.take() is None


def test_who_waits_is_woken_by_work_and_by_the_end():
    mailbox, got = box(), []

    def work():
        while found := mailbox.take():
            got.append(found())

    worker = threading.Thread(target=work)
    worker.start()
    mailbox.errand(lambda: 1)
    mailbox.close()
    worker.join(timeout=5)
    assert not worker.is_alive() and got == [1]
