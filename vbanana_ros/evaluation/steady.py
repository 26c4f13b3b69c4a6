"""The `steady` suite: how much the scale of depth trembles along a camera's way, and what smoothing makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vbanana_ros.camera import Camera
from vbanana_ros.evaluation.metrics import DepthScore
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.sim.render import SimFrame
from vbanana_ros.steady import Steady

SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0)  # time constants that are compared; 0 is without smoothing
SCENES = 2
FPS = 10.0
SIZE = (256, 192)
HEAD = ("smoothing, s", "flicker, % ↓", "scale error, % ↓", "delta1 ↑", "AbsRel ↓")


@dataclass
class SteadyScore:
    """Depth of the frames of some views, and how its scale moved in each.

    scales: of each view, natural logarithm of the median of predicted over true depth, frame by frame.
    """

    depth: DepthScore = field(default_factory=DepthScore)
    scales: list[list[float]] = field(default_factory=list)

    def add(self, predicted: np.ndarray, truth: np.ndarray, cut: bool) -> None:
        """The next frame, float [H, W] each, metres; cut: of a new view."""
        self.depth.add(predicted, truth)
        both = np.isfinite(predicted) & np.isfinite(truth) & (predicted > 0) & (truth > 0)
        if cut:
            self.scales.append([])
        if both.any():
            self.scales[-1].append(float(np.log(np.median(predicted[both] / truth[both]))))

    def value(self) -> dict[str, float]:
        """`flicker`: standard deviation of the scale's change from a frame to the next; `scale`: root mean square of
        the scale's error; both natural logarithms. `delta1` and `absrel`: see DepthScore.
        """
        changes = np.concatenate([np.diff(own) for own in self.scales])
        scales = np.concatenate(self.scales)
        depth = self.depth.value()
        return {"flicker": float(changes.std()), "scale": float(np.sqrt(np.mean(scales**2))),
                "delta1": depth["delta1"], "absrel": depth["absrel"]}


def steadiness(perception: Perception, frames: Iterable[tuple[int, SimFrame]], round_: int,
               floor: bool = False, seconds: Sequence[float] = SECONDS) -> dict[float, SteadyScore]:
    """What each time constant makes of the same answers.

    frames: stamp and frame, a new view every `round_` of them. floor: tell where the floor is.
    """
    scores = {s: SteadyScore() for s in seconds}
    steady = {s: Steady() for s in seconds}
    for i, (stamp, frame) in enumerate(frames):
        height, width = frame.rgb.shape[:2]
        perceived = perception(Frame(frame.rgb, stamp, camera=Camera(width, height, frame.K),
                                     floor=frame.camera.floor if floor else None))
        for s in seconds:
            scores[s].add(steady[s](perceived, s).result("depth").depth, frame.depth, cut=i % round_ == 0)
    return scores


def rows(scores: dict[float, SteadyScore]) -> list[tuple[str, ...]]:
    """Scores as rows of five texts: those of HEAD."""
    return [(f"{s:g}" if s else "off", f"{100 * v['flicker']:.2f}", f"{100 * v['scale']:.1f}", f"{v['delta1']:.3f}",
             f"{v['absrel']:.3f}") for s, v in ((s, score.value()) for s, score in scores.items())]
