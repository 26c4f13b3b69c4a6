"""What waits for the one worker: the newest work of each source, and errands that go first."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

Work = Callable[[], None]


class Mailbox:
    """One slot a source, where newer work takes the place of older; sources are served in turn.

    dropped: how many times work of a source was replaced before it was taken.
    """

    def __init__(self) -> None:
        self._slots: OrderedDict[str, Work] = OrderedDict()
        self._errands: deque[Work] = deque()
        self._changed = threading.Condition()
        self._open = True
        self.dropped: Counter[str] = Counter()

    def put(self, source: str, work: Work) -> None:
        """Leave work; that of the source's which still waits is dropped, its place in the queue is kept."""
        with self._changed:
            self.dropped[source] += source in self._slots
            self._slots[source] = work
            self._changed.notify()

    def errand(self, work: Work) -> None:
        """Leave work that is never dropped and goes before all others."""
        with self._changed:
            self._errands.append(work)
            self._changed.notify()

    def take(self) -> Work | None:
        """The next work, waiting for it; None when the mailbox was closed and no errand is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._errands or self._slots or not self._open)
            if self._errands:
                return self._errands.popleft()
            return self._slots.popitem(last=False)[1] if self._open else None

    def close(self) -> None:
        """Take no more; what is in the slots is forgotten."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
