"""What waits for the one worker: the newest image of each source, and errands that go first."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

Work = Callable[[], Any]


class Mailbox:
    """One slot a source, where the newer takes the place of the older; sources are served in turn.

    look: what is done with (source, what it sent) of the sources that wait, several at a time.
    dropped: how many times what a source sent was replaced before it was taken.
    """

    def __init__(self, look: Callable[[Sequence[tuple[str, Any]]], Any]) -> None:
        self._look = look
        self._slots: OrderedDict[str, Any] = OrderedDict()
        self._errands: deque[Work] = deque()
        self._changed = threading.Condition()
        self._open = True
        self.dropped: Counter[str] = Counter()

    def put(self, source: str, sent: Any) -> None:
        """Leave the newest of a source; what still waits of it is dropped, its place in the queue is kept."""
        with self._changed:
            self.dropped[source] += source in self._slots
            self._slots[source] = sent
            self._changed.notify()

    def errand(self, work: Work) -> None:
        """Leave work that is never dropped and goes before all others."""
        with self._changed:
            self._errands.append(work)
            self._changed.notify()

    def take(self, most: int = 1) -> Work | None:
        """The next work, waiting for it: an errand, or to look at what waits of up to `most` sources.

        None when the mailbox was closed and no errand is left.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._errands or self._slots or not self._open)
            if self._errands:
                return self._errands.popleft()
            if not self._open:
                return None
            waiting = [self._slots.popitem(last=False) for _ in range(min(most, len(self._slots)))]
            return partial(self._look, waiting)

    def close(self) -> None:
        """Take no more; what is in the slots is forgotten."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
