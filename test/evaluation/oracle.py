"""Generators that know the answers: what they paint goes through the decoders, so its score is known too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vbanana_ros.evaluation import Case, Question
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.results import Result
from vbanana_ros.tasks import TASKS


class Oracle:
    """A Generator that paints, about each picture of some cases, the true answers, changed by `spoil`."""

    name, weights = "oracle", "0" * 64
    capabilities = Capabilities(1, 1 << 30, 16, 1, 1, True, False, "Apache-2.0")

    def __init__(self, cases: Iterable[Case], spoil: Callable[[Question], Result] = lambda q: q.truth) -> None:
        self.answers = {(case.rgb.tobytes(), TASKS[q.request.task].prompt(q.request)): (q, spoil)
                        for case in cases for q in case.questions}

    def encode_prompts(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def encode_image(self, rgb: np.ndarray) -> bytes:
        return rgb.tobytes()

    def generate(self, image: bytes, prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        painted = []
        for prompt in prompts:
            question, spoil = self.answers[image, prompt]
            painted.append(TASKS[question.request.task].encode(spoil(question), question.request))
        return np.stack(painted)

    def warm_up(self, sizes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
        pass
