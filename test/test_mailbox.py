"""The newest work of each source, in turn; errands first; nothing lost in silence."""

import threading

from vbanana_ros.mailbox import Mailbox


def works(mailbox, count):
    return [mailbox.take()() for _ in range(count)]


def test_the_newest_of_a_source_replaces_the_older_and_is_counted():
    mailbox = Mailbox()
    for i in range(5):
        mailbox.put("front", lambda i=i: i)
    assert works(mailbox, 1) == [4]
    assert mailbox.dropped == {"front": 4}


def test_sources_are_served_in_turn_however_fast_one_of_them_is():
    mailbox, served = Mailbox(), []
    mailbox.put("slow", lambda: "slow")
    for _ in range(6):
        mailbox.put("fast", lambda: "fast")
        mailbox.put("fast", lambda: "fast")
        served += works(mailbox, 1)
        if served[-1] == "slow":
            mailbox.put("slow", lambda: "slow")
    assert served == ["slow", "fast"] * 3
    assert mailbox.dropped["slow"] == 0


def test_errands_go_first_and_are_never_dropped():
    mailbox = Mailbox()
    mailbox.put("front", lambda: "frame")
    mailbox.errand(lambda: "first")
    mailbox.errand(lambda: "second")
    assert works(mailbox, 3) == ["first", "second", "frame"]


def test_closing_forgets_frames_but_no_errands():
    mailbox = Mailbox()
    mailbox.put("front", lambda: "frame")
    mailbox.errand(lambda: "errand")
    mailbox.close()
    assert works(mailbox, 1) == ["errand"]
    assert mailbox.take() is None


def test_who_waits_is_woken_by_work_and_by_the_end():
    mailbox, got = Mailbox(), []

    def work():
        while found := mailbox.take():
            got.append(found())

    worker = threading.Thread(target=work)
    worker.start()
    mailbox.errand(lambda: 1)
    mailbox.close()
    worker.join(timeout=5)
    assert not worker.is_alive() and got == [1]
