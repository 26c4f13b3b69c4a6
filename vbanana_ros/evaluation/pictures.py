"""The `pictures` suite: pictures painted from text alone, in which the model looks for what it was asked to paint.

Each of 100 prompts, the same ones for ever, names one to three objects of the simulator's classes and colours: "A photo
of a red mug and a blue chair". The model paints it from noise, in the steps of its profile, and then is asked for a
semantic segmentation of its own picture: the classes of the prompt among ABSENT others, in random order and colours. An
object is found where its class covers at least FOUND_SHARE of the picture. Figures: the share of the pictures whose
objects are all found (the goal is 70 %), and the share of the objects.

A model that finds anything anywhere would score well, so each picture is also searched for the objects of another
prompt, none of which it was to show, in a request of the same make: how many are found all the same stands beside.
The colours of the objects are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vbanana_ros.colors import random_palette
from vbanana_ros.errors import InputError
from vbanana_ros.evaluation.suite import Case, Question, Wish
from vbanana_ros.generators.base import Generator
from vbanana_ros.sim.furniture import CLASSES, STUFF
from vbanana_ros.sim.looks import COLOURS
from vbanana_ros.tasks import dialect, make_request
from vbanana_ros.tuning.examples import listed

PROMPTS = 100
MOST_OBJECTS = 3
ABSENT = 3  # classes in a request that its picture was not to show
OBJECTS = CLASSES[len(STUFF):]
SEED = 9_000_000


@dataclass(frozen=True)
class Prompt:
    """A prompt and the classes of its objects."""

    text: str
    classes: tuple[str, ...]


def prompts() -> list[Prompt]:
    """The prompts, each another, the same ones at every call."""
    rng, found = np.random.default_rng(SEED), {}
    while len(found) < PROMPTS:
        prompt = _prompt(rng)
        found[prompt.text] = prompt
    return [*found.values()]


def _prompt(rng: np.random.Generator) -> Prompt:
    classes = tuple(str(name) for name in rng.choice(OBJECTS, int(rng.integers(1, MOST_OBJECTS + 1)), replace=False))
    colours = ["green" if name == "plant" else str(rng.choice([*COLOURS])) for name in classes]
    phrases = [f"{colour} {name}" for colour, name in zip(colours, classes, strict=True)]
    return Prompt("A photo of " + listed(phrases), classes)


@dataclass(frozen=True)
class PictureCases(Sequence[Case]):
    """The pictures as cases, painted when they are asked for, and the same each time.

    count: so many of the prompts, the first. Raises InputError for a generator that cannot paint, or not segment.
    """

    generator: Generator
    count: int = PROMPTS

    def __post_init__(self) -> None:
        able = self.generator.capabilities.tasks
        for task in ("picture", "semantic"):
            if able and task not in able:
                raise InputError(f"model {self.generator.name!r} cannot do task {task!r}, so its pictures cannot be "
                                 "judged; name another model")

    def __len__(self) -> int:
        return min(self.count, PROMPTS)

    def __getitem__(self, place: int) -> Case:
        if not 0 <= place < len(self):
            raise IndexError(place)
        every = prompts()
        own, rng = every[place], np.random.default_rng((SEED, place))
        following = every[place + 1:] + every[:place]
        other = next(prompt for prompt in following if not {*prompt.classes} & {*own.classes})
        questions = (_question(own, own, rng), _question(other, own, rng))
        return Case(self._painted(own.text, place), questions, own.text)

    def _painted(self, text: str, seed: int) -> np.ndarray:
        """A picture from text alone, uint8 [h, w, 3]."""
        task = dialect(getattr(self.generator, "profile", None))["picture"]
        embedded = self.generator.encode_prompts([task.prompt(make_request("picture", text=text))])
        rgb = self.generator.generate(None, embedded, steps=self.generator.capabilities.picture_steps, seed=seed)[0]
        return (rgb.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _question(asked: Prompt, shown: Prompt, rng: np.random.Generator) -> Question:
    """Where the objects of one prompt are in a picture of its own or of another prompt."""
    absent = [name for name in OBJECTS if name not in asked.classes + shown.classes]
    names = [str(name) for name in rng.permutation([*asked.classes, *rng.choice(absent, ABSENT, replace=False)])]
    *colors, background = random_palette(len(names) + 1, rng)
    request = make_request("semantic", names, colors, background)
    return Question(request, Wish(tuple(names.index(name) for name in asked.classes), asked is shown))
