"""Which tasks are due for a frame: those that somebody reads, no more often than they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Schedule:
    """Rate caps a task and camera, by the stamps of the frames, so that a replayed bag gives the same results."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], float] = {}

    def due(self, camera: str, stamp: int, tasks: Iterable[str], max_rate: Mapping[str, float]) -> set[str]:
        """Those of tasks whose turn it is at this stamp (nanoseconds), and which then count as done.

        max_rate: results a second of each task; 0 or no entry: every frame.
        """
        return {task for task in tasks if self._is_due((camera, task), stamp, max_rate.get(task, 0.0))}

    def _is_due(self, key: tuple[str, str], stamp: int, rate: float) -> bool:
        if not rate:
            self._next.pop(key, None)
            return True
        period = 1e9 / rate
        due = self._next.get(key, stamp)
        # A stamp more than a period before its turn: the bag began anew, or the clock was set back.
        if due - period <= stamp < due:
            return False
        # Turns lie a period apart, not a period after a late frame: a cap of 10 Hz lets 10 Hz of jitter through.
        self._next[key] = due + period if 0 <= stamp - due < period else stamp + period
        return True
