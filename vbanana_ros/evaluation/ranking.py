"""Which frames went best and worst, by each kind of figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vbanana_ros.evaluation.scores import HEADLINES, Scores


@dataclass
class Ranking:
    """Every frame's own headline figure and its place in the suite, by kind: two numbers a frame are kept."""

    kinds: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def add(self, place: int, scores: Scores) -> None:
        """A frame's scores; a figure that is NaN says nothing and is left out."""
        for kind, values in scores.value().items():
            if not math.isnan(value := values[HEADLINES[kind]]):
                self.kinds.setdefault(kind, []).append((value, place))

    def picked(self, kind: str) -> dict[str, tuple[float, int]]:
        """The `best`, `median` and `worst` frame: figure and place, each frame once."""
        ranked = sorted(self.kinds[kind], key=lambda found: (-found[0], found[1]))
        places = {"best": 0, "worst": len(ranked) - 1, "median": (len(ranked) - 1) // 2}
        chosen = {place: name for name, place in reversed(places.items())}
        return {name: ranked[place] for place, name in sorted(chosen.items())}
