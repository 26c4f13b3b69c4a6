"""The `sim` suite: simulated scenes that training never saw, with exact answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vbanana_ros.colors import random_palette
from vbanana_ros.evaluation.suite import Case, Question, labelled
from vbanana_ros.results import UNLABELED_8, DepthMap, NormalMap
from vbanana_ros.sim import CLASSES, Renderer, SimFrame, expressions, make_scene
from vbanana_ros.sim.expressions import sightings
from vbanana_ros.sim.furniture import STUFF
from vbanana_ros.tasks import make_request
from vbanana_ros.tasks.instance import InstanceDecoder
from vbanana_ros.tuning.examples import choose_classes, instances_of

FIRST_SEED = 9_000_000  # training keeps below 1 000 000
MOST_CLASSES, MOST_EXPRESSIONS = 8, 3
ABSENT_SHARE = 0.3  # of the frames are also asked for instances of a class that is not there


def sim_suite(count: int = 200, size: tuple[int, int] = (480, 640)) -> Iterator[Case]:
    """One view of each of count held-out scenes; size is (height, width), pixels. Same count, same cases.

    Raises SimError where there is no OpenGL to draw with.
    """
    with Renderer(size[1], size[0]) as renderer:
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            scene = make_scene(seed)
            frame = renderer.render(scene, scene.cameras(1)[0])
            yield Case(frame.rgb, tuple(questions(frame, np.random.default_rng((seed, 2)))))


def questions(frame: SimFrame, rng: np.random.Generator) -> Iterator[Question]:
    """Depth, normals, some classes, some expressions, a class that is there and, at times, one that is not."""
    sure = np.ones(frame.depth.shape, np.float32)
    yield Question(make_request("depth"), DepthMap(frame.depth, sure))
    yield Question(make_request("normals"), NormalMap(frame.normals, sure))
    yield labelled("semantic", *choose_classes(frame, rng, MOST_CLASSES), rng)
    if found := expressions(frame, rng):
        yield _referring(frame, {e.object_id: e.text for e in found}, rng)
    things = CLASSES[len(STUFF):]
    seen = {s.class_name for s in sightings(frame)}
    if there := [name for name in things if name in seen]:
        yield _instance(frame, str(rng.choice(there)), rng)
    here = set(np.unique(frame.classes))
    absent = [name for name in things if CLASSES.index(name) not in here]
    if absent and rng.random() < ABSENT_SHARE:
        yield _instance(frame, str(rng.choice(absent)), rng)


def _referring(frame: SimFrame, texts: dict[int, str], rng: np.random.Generator) -> Question:
    """One to three expressions, each about another object (by id)."""
    chosen = list(texts)[:int(rng.integers(1, MOST_EXPRESSIONS + 1))]
    labels = np.full(frame.instances.shape, UNLABELED_8, np.uint8)
    for i, object_id in enumerate(chosen):
        labels[frame.instances == object_id] = i
    return labelled("referring", tuple(texts[i] for i in chosen), labels, rng)


def _instance(frame: SimFrame, name: str, rng: np.random.Generator) -> Question:
    """All instances of a class but those too small for the paper's decoder, which are not evaluated."""
    request = make_request("instance", [name], background=random_palette(1, rng)[0])
    truth = instances_of(frame, name, request.background)
    smallest = InstanceDecoder().min_area * truth.labels.size
    small = [d.id for d in truth.detections if d.area < smallest]
    return Question(request, truth, ~np.isin(truth.labels, small))
