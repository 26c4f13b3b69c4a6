"""The `steady` suite: the trembling of a scale by hand, and what smoothing makes of it."""

import numpy as np
import pytest

from vbanana_ros.evaluation.steady import SteadyScore, rows, steadiness
from vbanana_ros.perception import Answer, Perceived
from vbanana_ros.results import DepthMap
from vbanana_ros.sim import SimFrame
from vbanana_ros.tasks import make_request

TRUTH = (2 + np.add.outer(np.linspace(0, 3, 24), np.linspace(0, 2, 32))).astype(np.float32)


def test_figures_by_hand():
    score = SteadyScore()
    for i, scale in enumerate((1.0, 1.1, 1.0, 2.0, 2.0)):
        score.add(TRUTH * scale, TRUTH, cut=i in (0, 3))
    value, step = score.value(), np.log(1.1)
    assert value["flicker"] == pytest.approx(np.std([step, -step, 0]))  # the cut is no change
    assert value["scale"] == pytest.approx(np.sqrt((step**2 + 2 * np.log(2) ** 2) / 5))
    assert value["delta1"] == pytest.approx(0.6) and value["absrel"] == pytest.approx(2.1 / 5)


@pytest.mark.parametrize("floor", [None, (0, 0.8, 0)])
def test_smoothing_is_compared_on_the_same_answers(sim_frame, floor):
    """And the floor of each frame is told where that is asked for."""
    scales = np.exp(np.random.default_rng(0).normal(0, 0.02, 60))
    asked = []

    def perceive(frame):
        asked.append(frame.stamp)
        assert frame.floor is None if floor is None else np.allclose(frame.floor, floor)
        result = DepthMap((TRUTH * scales[len(asked) - 1]).astype(np.float32), np.ones_like(TRUTH))
        return Perceived(frame, (Answer(make_request("depth"), "", result, TRUTH),))

    view = SimFrame(**vars(sim_frame) | {"depth": TRUTH})
    frames = [((i + 1) * 10**8, view) for i in range(60)]
    scores = steadiness(perceive, frames, 30, floor is not None, seconds=(0.0, 0.5))
    assert asked == [stamp for stamp, _ in frames]
    off, on = (scores[s].value() for s in (0.0, 0.5))
    raw = np.concatenate([np.diff(np.log(scales[:30])), np.diff(np.log(scales[30:]))])
    assert off["flicker"] == pytest.approx(raw.std(), rel=1e-3) and on["flicker"] < 0.4 * off["flicker"]
    table = rows(scores)
    assert [row[0] for row in table] == ["off", "0.5"] and table[0][1] == f"{100 * off['flicker']:.2f}"
