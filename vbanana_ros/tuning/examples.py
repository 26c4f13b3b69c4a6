"""Records become training examples: an image, a prompt, and the RGB answer a perfect generator would paint.

Wordings, palettes, class lists and colour notations are drawn at random: a model that has seen one fixed legend
only cannot follow another (mIoU 54 falls to 7, Open Vision Banana).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vbanana_ros.colors import RGB, format_color, parse_color, random_palette
from vbanana_ros.results import UNLABELED_8, UNLABELED_16, DepthMap, Detection, Instances, LabelMap, NormalMap, Result
from vbanana_ros.tasks import TASKS, Request, Task
from vbanana_ros.tasks.instance import place_color
from vbanana_ros.tuning.records import BACKGROUND, Expression, Record

OWN, FREE, IGNORE = 128, 254, 255
# Objects smaller than this share of the image are not asked for: nobody could point at them.
MIN_SHARE = 0.002
# Things larger than this share of a picture may be told of in its caption, at most so many.
CAPTION_SHARE = 0.01
MOST_TOLD = 3


@dataclass(frozen=True)
class Example:
    """One prompt about one image, and its answer.

    target: float32 [H, W, 3] in 0..1. valid: bool [H, W], False where the answer is not known.
    choice: uint8 [H, W], which of the prompt's colours, in order, a pixel takes; from OWN on, of which instance it
        is, whose colour the painter may choose, and the target's is but one; FREE none, IGNORE not known.
    request, truth: what is asked and the result that the target encodes; None for pictures.
    image: False for a picture painted from text alone; noisy: painted in many steps, from noise.
    """

    prompt: str
    target: np.ndarray
    valid: np.ndarray
    choice: np.ndarray
    request: Request | None = None
    truth: Result | None = None
    image: bool = True
    noisy: bool = False


def make_example(name: str, record: Record, rng: np.random.Generator, most_classes: int = 12,
                 tasks: Mapping[str, Task] = TASKS) -> Example | None:
    """An example of a task, or of `edit`, from a record; None where the record has nothing to ask for.

    tasks: as the model speaks them. One that speaks as the paper's does is taught more wordings than one.
    """
    return _MAKERS[name](record, rng, most_classes, tasks.get(name, TASKS["picture"]))


def _depth(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example | None:
    if record.depth is None:
        return None
    request = Request("depth")
    truth = DepthMap(record.depth, record.depth)
    rainbow = "(black-red-yellow-green-cyan-blue-violet-white)"
    prompt = _worded(task, request, rng, ["Generate a metric depth map of the input image.",
                                          f"Predict the metric depth of this scene in the rainbow {rainbow} color "
                                          "palette.", "Paint the metric depth of this image."])
    return _free(prompt, task.encode(truth, request), record.depth > 0, request, truth)


def _normals(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example | None:
    if record.normals is None:
        return None
    request = Request("normals")
    truth = NormalMap(record.normals, record.normals[..., 0])
    prompt = _worded(task, request, rng, ["Predict the surface normals of this scene as an image.",
                                          "Paint the surface normals of this image."])
    return _free(prompt, task.encode(truth, request), np.isfinite(record.normals[..., 0]), request, truth)


def _worded(task: Task, request: Request, rng: np.random.Generator, others: Sequence[str]) -> str:
    """The task's own wording, or where that is the paper's, at times another one."""
    return _any(rng, [task.prompt(request), *others] if _as_paper(task, request) else [task.prompt(request)])


def _as_paper(task: Task, request: Request) -> bool:
    return task.prompt(request) == TASKS[task.name].prompt(request)


def _free(prompt: str, target: np.ndarray, valid: np.ndarray, request: Request | None = None,
          truth: Result | None = None) -> Example:
    return Example(prompt, target, valid, np.where(valid, FREE, IGNORE).astype(np.uint8), request, truth)


def _semantic(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example | None:
    if record.labels is None:
        return None
    names, labels = choose_classes(record, rng, most)
    return _legend(task, names, labels, record.labels != UNLABELED_8, rng) if names else None


def choose_classes(record: Record, rng: np.random.Generator, most: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Two to `most` classes, about three of four there: their names, and labels uint8 [H, W] in that order.

    Fewer where the set has fewer; what is none of a set's classes is not asked for.
    """
    counts = np.bincount(record.labels.ravel(), minlength=256)[:len(record.names)]
    named = np.array([name != BACKGROUND for name in record.names], bool)
    there = rng.permutation(np.flatnonzero(named & (counts > 0.0005 * record.labels.size)))
    absent = rng.permutation(np.flatnonzero(named & (counts == 0)))
    n = int(rng.integers(2, most + 1))
    n_there = min(len(there), max(1, int(rng.binomial(n, 0.75))))
    ids = rng.permutation(np.concatenate([there[:n_there], absent[:n - n_there]])).astype(int)
    table = np.full(256, UNLABELED_8, np.uint8)
    table[ids] = np.arange(len(ids))
    return tuple(record.names[i] for i in ids), table[record.labels]


def _referring(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example | None:
    found = choose_expressions(record, rng, 4)
    return _legend(task, *expression_labels(found), rng) if found else None


def choose_expressions(record: Record, rng: np.random.Generator, most: int) -> list[Expression]:
    """One to `most` expressions, of those there are, about parts of the image that do not overlap."""
    wanted = int(rng.integers(1, most + 1))
    taken, chosen = np.zeros(record.rgb.shape[:2], bool), []
    for i in rng.permutation(len(record.expressions)):
        expression = record.expressions[i]
        if len(chosen) < wanted and expression.mask.any() and not taken[expression.mask].any():
            taken |= expression.mask
            chosen.append(expression)
    return chosen


def expression_labels(expressions: Sequence[Expression]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Expressions that do not overlap: their texts, labels uint8 [H, W], and bool [H, W] where these are known."""
    labels, known = np.full(expressions[0].mask.shape, UNLABELED_8, np.uint8), np.ones(expressions[0].mask.shape, bool)
    for i, expression in enumerate(expressions):
        labels[expression.mask] = i
        if expression.unknown is not None:
            known &= ~expression.unknown
    return tuple(e.text for e in expressions), labels, known


def _legend(task: Task, names: tuple[str, ...], labels: np.ndarray, known: np.ndarray,
            rng: np.random.Generator) -> Example:
    colors = random_palette(len(names) + 1, rng)
    request = Request(task.name, names, tuple(colors[:-1]), colors[-1])
    truth = LabelMap(labels, names, request.colors, labels)
    target = task.encode(truth, request)
    choice = np.where(known, np.where(labels == UNLABELED_8, len(names), labels), IGNORE).astype(np.uint8)
    own = rng.random() < 0.4 or not _as_paper(task, request)
    prompt = task.prompt(request) if own else _wording(task.name, request, rng)
    return Example(prompt, target, known, choice, request, truth)


def _wording(task: str, request: Request, rng: np.random.Generator) -> str:
    """A legend in JSON or prose, its colours as words, hex or tuples."""
    style = _any(rng, ["tuple", "hex", "rgb", "word"])
    pairs = [*zip(request.labels, request.colors, strict=True), ("background", request.background)]
    start = {"semantic": ["Semantic segmentation.", "Generate a semantic segmentation of this image.",
                          "Segment this image by class, using this color mapping:"],
             "referring": ["A segmentation map image.", "Segment what is described."]}[task]
    if rng.random() < 0.5:
        body = "{" + ", ".join(f'"{name}": {format_color(color, style)}' for name, color in pairs) + "}"
    else:
        verb = _any(rng, ["is rendered in", "is", "is painted in", "is in"])
        body = ", ".join(f"the {name.removeprefix('the ')} {verb} {format_color(c, style)}" for name, c in pairs) + "."
    return f"{_any(rng, start)} {body}"


def _instance(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example | None:
    """One class, most often one that is there."""
    if record.things is None:
        return None
    there = sorted({t.name for t in record.things if t.mask.mean() >= MIN_SHARE and not t.crowd})
    others = sorted({*record.thing_names} - {t.name for t in record.things})
    if not (there or others):
        return None
    name = _any(rng, there) if there and (not others or rng.random() < 0.9) else _any(rng, others)
    request = Request("instance", (name,), background=random_palette(1, rng)[0])
    result, known = instances_of(record, name, request.background)
    labels = result.labels
    choice = np.where(labels == UNLABELED_16, 0, np.minimum(OWN + labels.astype(int), FREE - 1))
    background = format_color(request.background, _any(rng, ["rgb", "hex", "tuple", "word"]))
    others = [f"Instance segmentation. Each {name} is colored differently. Background is {background}."]
    prompt = _worded(task, request, rng, others)
    target = task.encode(result, request)
    choice = np.where(known, choice, IGNORE).astype(np.uint8)
    return Example(prompt, target, known, choice, request, result)


def instances_of(record: Record, name: str, background: RGB) -> tuple[Instances, np.ndarray]:
    """The instances of a class, each in a colour by its place, and where they are known: bool [H, W], no crowds."""
    shape = record.rgb.shape[:2]
    labels, known, detections = np.full(shape, UNLABELED_16, np.uint16), np.ones(shape, bool), []
    for thing in record.things:
        if thing.name != name or not thing.mask.any():
            continue
        if thing.crowd:
            known &= ~thing.mask
            continue
        x, y, w, h = cv2.boundingRect(thing.mask.astype(np.uint8))
        detections.append(Detection(len(detections), name, 1.0, (x, y, w, h), int(thing.mask.sum()),
                                    place_color(thing.mask, background)))
        labels[thing.mask] = detections[-1].id
    return Instances(labels, tuple(detections), np.ones(shape, np.float32)), known


def _picture(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example | None:
    """The image, from what is to be seen in it: its things, of many only some, in any order, mostly with colours."""
    seen = [t for t in record.things or () if t.mask.mean() >= CAPTION_SHARE]
    if not seen:
        return None
    count = len(seen) if len(seen) <= MOST_TOLD else int(rng.integers(1, MOST_TOLD + 1))
    told = [seen[i] for i in rng.permutation(len(seen))[:count]]
    phrases = [f"{t.colour} {t.name}".strip() if rng.random() < 0.8 else t.name for t in told]
    prompt = _any(rng, ["A picture of ", "A photo of ", ""]) + listed(phrases)
    return replace(_free(prompt, record.rgb.astype(np.float32) / 255, np.ones(record.rgb.shape[:2], bool)),
                   image=False, noisy=True)


def listed(phrases: Sequence[str]) -> str:
    """`a red mug, an orange bowl and a blue chair`."""
    *most, last = [f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}" for phrase in phrases]
    return f"{', '.join(most)} and {last}" if most else last


def _edit(record: Record, rng: np.random.Generator, most: int, task: Task) -> Example:
    """The image changed in a way that the prompt says."""
    rgb = record.rgb.astype(np.float32) / 255
    kind = _any(rng, ["gray", "mirror", "paint", "paint"])
    seen = [t for t in record.things or () if t.mask.mean() >= 2 * MIN_SHARE]
    if kind == "gray" or not seen:
        prompt, target = "Turn the picture into shades of gray.", rgb.mean(-1, keepdims=True).repeat(3, -1)
    elif kind == "mirror":
        prompt, target = "Mirror the picture from left to right.", rgb[:, ::-1].copy()
    else:
        name, word = _any(rng, seen).name, _any(rng, ["red", "green", "blue", "yellow", "purple", "orange"])
        mask = np.any([t.mask for t in record.things if t.name == name], axis=0)
        tint = np.divide(parse_color(word), 255)
        target = np.where(mask[..., None], rgb.max(-1, keepdims=True) * tint, rgb).astype(np.float32)
        prompt = f"Make every {name} {word}."
    return replace(_free(prompt, target, np.ones(record.rgb.shape[:2], bool)), noisy=True)


def _any(rng: np.random.Generator, choices: list):
    return choices[int(rng.integers(len(choices)))]


_MAKERS: dict[str, Callable[[Record, np.random.Generator, int, Task], Example | None]] = {
    "depth": _depth, "normals": _normals, "semantic": _semantic, "referring": _referring, "instance": _instance,
    "picture": _picture, "edit": _edit,
}
