"""A frame and what is asked of it in, decoded results with timings and provenance out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError, RequestError
from vbanana_ros.floor import floor_scale
from vbanana_ros.generators.base import Generator
from vbanana_ros.lines import Lines, lines_of
from vbanana_ros.manhattan import squared
from vbanana_ros.mirror import MEASURED, mean, reflect
from vbanana_ros.places import places_alike
from vbanana_ros.results import DepthMap, Instances, Picture, Result
from vbanana_ros.tasks import TASKS, Request, Task, dialect
from vbanana_ros.tasks.instance import merge
from vbanana_ros.votes import ballots, elect


@dataclass(frozen=True)
class Frame:
    """One camera image. rgb: uint8 [H, W, 3]; stamp: nanoseconds; camera: of this image, None where not known.

    floor: float [3], 1/metres: the floor is where floor · point = 1, in the camera's optical frame. It points down, and
    is the longer the nearer the floor: of a camera that looks level from 1.25 m above it, (0, 0.8, 0). None where it is
    not known. With a camera it sets the scale of metric depth, see `floor`.
    """

    rgb: np.ndarray
    stamp: int = 0
    frame_id: str = ""
    camera: Camera | None = None
    floor: np.ndarray | Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8 or not self.rgb.size:
            raise InputError(f"a frame needs a non-empty uint8 [H, W, 3] RGB image, "
                             f"not {self.rgb.dtype} {list(self.rgb.shape)}")
        if self.floor is not None and (np.shape(self.floor) != (3,) or not np.isfinite(self.floor).all()):
            raise InputError(f"a frame's floor is 3 finite numbers, 1/metres in the optical frame, not {self.floor}")


@dataclass(frozen=True)
class Answer:
    """One request's result, on the frame's pixel grid, and how it came about.

    painted: the generator's float32 RGB [h, w, 3] in 0..1, on the generator's grid. Of a request that was put to the
    vote, prompt and painted are those of its own legend. task: what decoded it; None: the paper's task.
    votes: legends that it was asked under, or looks that it is the mean of, see `mirror`. floor_scale: what its depth
    was multiplied with so that the floor lies where it is known to be, see `floor`; 1 for nothing. smoothing: seconds,
    of the low-pass that its scale went through, see `steady`; 0 for none.
    """

    request: Request
    prompt: str
    result: Result
    painted: np.ndarray
    task: Task | None = None
    votes: int = 1
    floor_scale: float = 1.0
    smoothing: float = 0.0


@dataclass(frozen=True)
class Perceived:
    """All answers about one frame.

    timings: milliseconds of each stage (`encode`, `generate`, `decode`), monotonic clock.
    model, weights, seed, steps: provenance; weights is the SHA-256 of the model's files, in hex; steps are those
    of measurements, pictures may take more.
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


# Prompts that are painted together: their steps, their places among all prompts, their embeddings.
_Batch = tuple[int, list[int], Any]


@dataclass(frozen=True)
class _Asked:
    """What is asked of every frame.

    ballots: the forms in which each request is asked, itself first; prompts: of all of them, one after the other.
    batches: of all prompts; mirrored: of those that are painted about the frame's mirror image too.
    """

    votes: int
    requests: tuple[Request, ...]
    ballots: tuple[tuple[Request, ...], ...]
    prompts: tuple[str, ...]
    batches: tuple[_Batch, ...]
    mirrored: tuple[_Batch, ...]


class Perception:
    """One generator that answers the same requests about frame after frame, in its own dialect.

    Same frame, requests, model and seed: same bytes out. steps: of every task; None or 0: the model's own, which
    are more for pictures than for measurements. votes: legends under which a semantic or referring request is asked,
    the majority being the answer and its share the confidence; with more than one, depth and normals are measured in
    the frame's mirror image too and the mean is the answer. Raises RequestError as `ask` does.

    tasks: every task by name, as the generator's profile says that it speaks it.
    """

    def __init__(self, generator: Generator, requests: Sequence[Request], seed: int = 0,
                 steps: int | None = None, votes: int = 1) -> None:
        self.generator = generator
        profile = getattr(generator, "profile", None)
        self.tasks: Mapping[str, Task] = dialect(profile)
        self._manhattan = profile is not None and profile.manhattan
        self.seed = seed
        self.steps = steps or generator.capabilities.steps
        self._picture_steps = steps or generator.capabilities.picture_steps
        self.ask(requests, votes)

    @property
    def requests(self) -> tuple[Request, ...]:
        """What is asked, in the order of the answers."""
        return self._asked.requests

    @property
    def metric(self) -> bool:
        """Whether the model's depth is in metres."""
        return self.tasks["depth"].metric

    @property
    def votes(self) -> int:
        """Under how many legends a request that has one is asked, at most."""
        return self._asked.votes

    @property
    def prompts(self) -> tuple[str, ...]:
        """The text of each request; of one that is put to the vote, one for each legend."""
        return self._asked.prompts

    def ask(self, requests: Sequence[Request], votes: int = 1) -> None:
        """Change what is asked, from the next frame on; prompts are embedded once, here.

        Raises RequestError for no request, or a task that is unknown or not the model's; then nothing changes.
        """
        # One assignment, so that a frame in another thread sees all of the old or all of the new.
        self._asked = self._prepared(requests, votes)

    def _prepared(self, requests: Sequence[Request], votes: int) -> _Asked:
        able = self.generator.capabilities.tasks or tuple(TASKS)
        if not requests:
            raise RequestError(f"nothing is asked; choose from {', '.join(able)}")
        for request in requests:
            if request.task not in TASKS or request.task not in able:
                raise RequestError(f"model {self.generator.name!r} cannot do task {request.task!r}; "
                                   f"use one of {', '.join(able)}")
        asked = tuple(tuple(ballots(request, votes)) for request in requests)
        every = [ballot for own in asked for ballot in own]
        prompts = tuple(self.tasks[r.task].prompt(r) for r in every)
        steps = [self._picture_steps if r.task == "picture" else self.steps for r in every]

        def batches(rows: Sequence[int]) -> tuple[_Batch, ...]:
            alike = {n: [i for i in rows if steps[i] == n] for n in sorted({steps[i] for i in rows})}
            return tuple((n, own, self.generator.encode_prompts([prompts[i] for i in own]))
                         for n, own in alike.items())

        mirrored = [i for i, request in enumerate(every) if votes > 1 and request.task in MEASURED]
        return _Asked(votes, tuple(requests), asked, prompts, batches(range(len(every))), batches(mirrored))

    def __call__(self, frame: Frame, requests: Sequence[Request] | None = None) -> Perceived:
        """Answer every request about a frame, in one batch of the generator (pictures in their own).

        requests: asked of this frame only, in place of what is asked of every frame.
        Raises InputError for an image that the generator cannot look at, and RequestError as `ask` does.
        """
        perceived, = self.together([frame], requests)
        return perceived

    def together(self, frames: Sequence[Frame], requests: Sequence[Request] | None = None) -> list[Perceived]:
        """The same of several frames: those of one size share batches of the generator, as far as it takes them.

        Answers are in the order of the frames; the timings of a frame are those of its batch, but for `decode`.
        """
        asked = self._asked if requests is None else self._prepared(requests, self._asked.votes)
        most = self.generator.capabilities.max_images
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, frame in enumerate(frames):
            sizes.setdefault(frame.rgb.shape, []).append(i)
        perceived: dict[int, Perceived] = {}
        for places in (own[i:i + most] for own in sizes.values() for i in range(0, len(own), most)):
            perceived |= zip(places, self._perceive([frames[i] for i in places], asked), strict=True)
        return [perceived[i] for i in range(len(frames))]

    def _perceive(self, frames: list[Frame], asked: _Asked) -> Iterator[Perceived]:
        """Frames of one size, in one batch."""
        start = time.perf_counter()
        single = len(frames) == 1
        rgb = frames[0].rgb if single else np.stack([f.rgb for f in frames])
        K = _K(frames[0]) if single else np.stack([_K(frame) for frame in frames])
        images = self.generator.encode_image(rgb, K)
        mirrored = self.generator.encode_image(*reflect(rgb, K)) if asked.mirrored else None
        encoded = time.perf_counter()
        painted = self._painted(images, asked.batches, single)
        reflected = self._painted(mirrored, asked.mirrored, single)
        generated = time.perf_counter()
        timings = {"encode": 1e3 * (encoded - start), "generate": 1e3 * (generated - encoded)}
        for i, frame in enumerate(frames):
            start = time.perf_counter()
            pictures = iter([(prompt, painted[i, j], reflected.get((i, j))) for j, prompt in enumerate(asked.prompts)])
            # Once a frame, for the tasks are painted on one grid.
            places, lines = cache(partial(places_alike, frame.rgb)), cache(partial(_lines, frame))
            with _one_thread():
                answers = tuple(self._answer(own, list(islice(pictures, len(own))), frame, places, lines)
                                for own in asked.ballots)
            yield Perceived(frame, answers, timings | {"decode": 1e3 * (time.perf_counter() - start)},
                            self.generator.name, self.generator.weights, self.seed, self.steps)

    def _painted(self, images: Any, batches: Sequence[_Batch], single: bool) -> dict[tuple[int, int], np.ndarray]:
        """What is painted about the images of frames, by frame and prompt. single: images are of one frame alone."""
        painted = {}
        for steps, rows, prompts in batches:
            rgb = self.generator.generate(images, prompts, steps=steps, seed=self.seed)
            painted |= {(i, row): one for i, own in enumerate(rgb[None] if single else rgb)
                        for row, one in zip(rows, own, strict=True)}
        return painted

    def _answer(self, asked: Sequence[Request], pictures: Sequence[tuple[str, np.ndarray, np.ndarray | None]],
                frame: Frame, places: Callable[[int, int], np.ndarray | None],
                lines: Callable[[], Lines]) -> Answer:
        """One request's answer from the prompts and pictures of all its ballots, on the frame's grid.

        pictures: the last of each about the mirror image, where there is one. places: of a painted (height, width),
        where each pixel of that grid takes its answer from. lines: of the frame.
        """
        task, shape = self.tasks[asked[0].task], frame.rgb.shape[:2]
        results = [task.decode(picture, ballot) for ballot, (_, picture, _) in zip(asked, pictures, strict=True)]
        result = elect(results) if len(results) > 1 else results[0]
        prompt, picture, mirrored = pictures[0]
        if mirrored is not None:
            result = mean(result, task.decode(mirrored, asked[0]))
        if self._manhattan and task.name in MEASURED and (camera := _camera(frame)):
            result = squared(result, lines(), camera.rays(picture.shape[:2]))
        result = (result.resize(*shape) if isinstance(result, Picture)
                  else result.resize(*shape, places(*picture.shape[:2])))
        result, scale = _on_floor(result, frame)
        return Answer(asked[0], prompt, result, picture, task, len(asked) + (mirrored is not None), scale)


def _K(frame: Frame) -> np.ndarray:
    """float64 [3, 3], pixels of the frame; NaN where its camera is not known. Of a raw image its distortion is left."""
    camera = _camera(frame)
    return np.full((3, 3), np.nan) if camera is None else camera.intrinsics


def _camera(frame: Frame) -> Camera | None:
    """The frame's camera on its own pixels, where it is known and calibrated."""
    camera = frame.camera
    return camera.resized(*frame.rgb.shape[:2]) if camera and camera.calibrated else None


def _lines(frame: Frame) -> Lines:
    """The lines of a frame whose camera is known."""
    return lines_of(frame.rgb, _camera(frame).rays())


def _on_floor(result: Result, frame: Frame) -> tuple[Result, float]:
    """Metric depth whose floor is where the frame knows it to be, and what it was multiplied with for that."""
    camera = _camera(frame)
    if frame.floor is None or camera is None or not (isinstance(result, DepthMap) and result.metric):
        return result, 1.0
    scale = floor_scale(result.depth, camera.rays(), np.asarray(frame.floor))
    return replace(result, depth=result.depth * np.float32(scale)), scale


@contextmanager
def _one_thread() -> Iterator[None]:
    """Decoders take many short steps on a CPU: waking other threads for each would cost more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
