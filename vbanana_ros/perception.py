"""A frame and what is asked of it in, decoded results with timings and provenance out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError
from vbanana_ros.generators.base import Generator
from vbanana_ros.results import Instances, Result
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tasks.instance import merge


@dataclass(frozen=True)
class Frame:
    """One camera image. rgb: uint8 [H, W, 3]; stamp: nanoseconds; camera: None where uncalibrated."""

    rgb: np.ndarray
    stamp: int = 0
    frame_id: str = ""
    camera: Camera | None = None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8 or not self.rgb.size:
            raise InputError(f"a frame needs a non-empty uint8 [H, W, 3] RGB image, "
                             f"not {self.rgb.dtype} {list(self.rgb.shape)}")


@dataclass(frozen=True)
class Answer:
    """One request's result, on the frame's pixel grid, and how it came about.

    painted: the generator's float32 RGB [h, w, 3] in 0..1, on the generator's grid.
    """

    request: Request
    prompt: str
    result: Result
    painted: np.ndarray


@dataclass(frozen=True)
class Perceived:
    """All answers about one frame.

    timings: milliseconds of each stage (`encode`, `generate`, `decode`), monotonic clock.
    model, weights, seed, steps: provenance; weights is the SHA-256 of the model's files, in hex.
    """

    frame: Frame
    answers: tuple[Answer, ...]
    timings: dict[str, float] = field(default_factory=dict)
    model: str = ""
    weights: str = ""
    seed: int = 0
    steps: int = 1

    def result(self, task: str) -> Result | None:
        """The result of a task, None where it was not asked; instances of several classes as one."""
        results = [a.result for a in self.answers if a.request.task == task]
        if len(results) > 1 and all(isinstance(r, Instances) for r in results):
            return merge(results)
        return results[0] if results else None

    def answer(self, task: str) -> Answer | None:
        """The first answer of a task, None where it was not asked."""
        return next((a for a in self.answers if a.request.task == task), None)


class Perception:
    """One generator that answers the same requests about frame after frame.

    Same frame, requests, model and seed: same bytes out.
    """

    def __init__(self, generator: Generator, requests: Sequence[Request], seed: int = 0,
                 steps: int | None = None) -> None:
        self.generator = generator
        self.seed = seed
        self.steps = steps or generator.capabilities.steps
        self.ask(requests)

    def ask(self, requests: Sequence[Request]) -> None:
        """Change what is asked, from the next frame on; prompts are embedded once, here."""
        prompts = [TASKS[r.task].prompt(r) for r in requests]
        embedded = self.generator.encode_prompts(prompts)
        self.requests, self.prompts, self._embedded = tuple(requests), tuple(prompts), embedded

    def __call__(self, frame: Frame) -> Perceived:
        """Answer every request about a frame, in one batch of the generator."""
        start = time.perf_counter()
        image = self.generator.encode_image(frame.rgb)
        encoded = time.perf_counter()
        painted = self.generator.generate(image, self._embedded, steps=self.steps, seed=self.seed)
        generated = time.perf_counter()
        height, width = frame.rgb.shape[:2]
        answers = tuple(
            Answer(request, prompt, TASKS[request.task].decode(rgb, request).resize(height, width), rgb)
            for request, prompt, rgb in zip(self.requests, self.prompts, painted, strict=True)
        )
        decoded = time.perf_counter()
        timings = {"encode": 1e3 * (encoded - start), "generate": 1e3 * (generated - encoded),
                   "decode": 1e3 * (decoded - generated)}
        return Perceived(frame, answers, timings, self.generator.name, self.generator.weights, self.seed, self.steps)
