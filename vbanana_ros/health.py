"""How the node is doing, for /diagnostics: counts, times, and what is wrong with its mend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

OK, WARN, ERROR = 0, 1, 2  # diagnostic_msgs/DiagnosticStatus

# An active node that sees no frame for so long says so, seconds.
_SILENCE = 5.0
# Weight of the newest frame in a mean time.
_NEWEST = 0.1


@dataclass
class Health:
    """What became of the frames of all cameras.

    state: of the node's life cycle. faults: what holds until it is mended, by topic or part. last_fault: of the last
    frame, empty where that one was answered. timings: mean milliseconds of each stage. age: seconds, of the last
    frame when its results were published. last_frame: when the last one came. Times are seconds on a clock that never
    goes back.
    """

    state: str = "unconfigured"
    frames: int = 0
    failed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    last_fault: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    age: float = 0.0
    last_frame: float = 0.0

    def answered(self, timings: dict[str, float], age: float) -> None:
        """A frame was answered and published."""
        self.frames += 1
        self.last_fault, self.age = "", age
        self.timings = {stage: ms + (1 - _NEWEST) * (self.timings.get(stage, ms) - ms)
                        for stage, ms in timings.items()}

    def fail(self, fault: str) -> None:
        """A frame could not be answered."""
        self.failed += 1
        self.last_fault = fault

    def summary(self, now: float) -> tuple[int, str]:
        """Level and message of a DiagnosticStatus: the worst that holds."""
        if self.last_fault:
            return ERROR, self.last_fault
        if self.state != "active":
            return (ERROR, self.faults["configure"]) if "configure" in self.faults else (OK, self.state)
        if self.faults:
            return WARN, "; ".join(self.faults.values())
        if now - self.last_frame > _SILENCE:
            return WARN, f"no image for {now - self.last_frame:.0f} s; check the topics with `ros2 topic info -v`"
        return OK, "perceiving"

    def values(self) -> dict[str, str]:
        """The figures of a DiagnosticStatus."""
        return {"state": self.state, "frames": str(self.frames), "failed": str(self.failed),
                "dropped": str(sum(self.dropped.values())), "age (s)": f"{self.age:.3f}",
                **{f"{stage} (ms)": f"{ms:.1f}" for stage, ms in self.timings.items()}, **self.faults}
