"""Records become training examples: an image, a prompt, and the RGB answer a perfect generator would paint.

Wordings, palettes, class lists and colour notations are drawn at random: a model that has seen one fixed legend
only cannot follow another (mIoU 54 falls to 7, Open Vision Banana).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vbanana_ros.colors import RGB, format_color, parse_color, random_palette
from vbanana_ros.results import UNLABELED_8, UNLABELED_16, DepthMap, Detection, Instances, LabelMap, NormalMap
from vbanana_ros.sim import CLASSES, SimFrame, expressions
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tasks.instance import place_color

FREE, IGNORE = 254, 255
# Objects smaller than this share of the image are not asked for: nobody could point at them.
MIN_SHARE = 0.002


@dataclass(frozen=True)
class Example:
    """One prompt about one image, and its answer.

    target: float32 [H, W, 3] in 0..1. valid: bool [H, W], False where the answer is not known.
    choice: uint8 [H, W], which of the prompt's colours, in order, a pixel takes; FREE none, IGNORE not known.
    image: False for a picture painted from text alone; noisy: painted in many steps, from noise.
    """

    prompt: str
    target: np.ndarray
    valid: np.ndarray
    choice: np.ndarray
    image: bool = True
    noisy: bool = False


def make_example(task: str, frame: SimFrame, rng: np.random.Generator, most_classes: int = 8) -> Example | None:
    """An example of a task from a frame with ground truth; None where the frame has nothing to ask for."""
    return _MAKERS[task](frame, rng, most_classes)


def _depth(frame: SimFrame, rng: np.random.Generator, most: int) -> Example:
    request = Request("depth")
    target = TASKS["depth"].encode(DepthMap(frame.depth, frame.depth), request)
    rainbow = "(black-red-yellow-green-cyan-blue-violet-white)"
    prompt = _any(rng, [TASKS["depth"].prompt(request), "Generate a metric depth map of the input image.",
                        f"Predict the metric depth of this scene in the rainbow {rainbow} color palette.",
                        "Paint the metric depth of this image."])
    return _free(prompt, target, np.ones(frame.depth.shape, bool))


def _normals(frame: SimFrame, rng: np.random.Generator, most: int) -> Example:
    request = Request("normals")
    target = TASKS["normals"].encode(NormalMap(frame.normals, frame.depth), request)
    prompt = _any(rng, [TASKS["normals"].prompt(request), "Predict the surface normals of this scene as an image.",
                        "Paint the surface normals of this image."])
    return _free(prompt, target, np.isfinite(frame.normals[..., 0]))


def _free(prompt: str, target: np.ndarray, valid: np.ndarray) -> Example:
    return Example(prompt, target, valid, np.where(valid, FREE, IGNORE).astype(np.uint8))


def _semantic(frame: SimFrame, rng: np.random.Generator, most: int) -> Example:
    return _legend("semantic", *choose_classes(frame, rng, most), rng)


def choose_classes(frame: SimFrame, rng: np.random.Generator, most: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Two to `most` classes, about three of four there: their names, and labels uint8 [H, W] in that order."""
    counts = np.bincount(frame.classes.ravel(), minlength=256)[:len(CLASSES)]
    there = rng.permutation(np.flatnonzero(counts > 0.0005 * frame.classes.size))
    absent = rng.permutation(np.flatnonzero(counts == 0))
    n = int(rng.integers(2, most + 1))
    n_there = min(len(there), max(1, int(rng.binomial(n, 0.75))))
    ids = rng.permutation(np.concatenate([there[:n_there], absent[:n - n_there]])).astype(int)
    table = np.full(256, UNLABELED_8, np.uint8)
    table[ids] = np.arange(len(ids))
    return tuple(CLASSES[i] for i in ids), table[frame.classes]


def _referring(frame: SimFrame, rng: np.random.Generator, most: int) -> Example | None:
    """One to four expressions, each about another object."""
    found = expressions(frame, rng)
    rng.shuffle(found)
    chosen = {e.object_id: e for e in found}
    chosen = list(chosen.values())[:int(rng.integers(1, 5))]
    if not chosen:
        return None
    labels = np.full(frame.instances.shape, UNLABELED_8, np.uint8)
    for i, expression in enumerate(chosen):
        labels[frame.instances == expression.object_id] = i
    return _legend("referring", tuple(e.text for e in chosen), labels, rng)


def _legend(task: str, names: tuple[str, ...], labels: np.ndarray, rng: np.random.Generator) -> Example:
    colors = random_palette(len(names) + 1, rng)
    request = Request(task, names, tuple(colors[:-1]), colors[-1])
    target = TASKS[task].encode(LabelMap(labels, names, request.colors, labels), request)
    choice = np.where(labels == UNLABELED_8, len(names), labels).astype(np.uint8)
    prompt = TASKS[task].prompt(request) if rng.random() < 0.4 else _wording(task, request, rng)
    return Example(prompt, target, np.ones(labels.shape, bool), choice)


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


def _instance(frame: SimFrame, rng: np.random.Generator, most: int) -> Example:
    """One class, most often one that is there."""
    ids, counts = np.unique(frame.instances[frame.instances != UNLABELED_16], return_counts=True)
    names = {int(i): frame.objects[i].class_name for i in ids}
    there = sorted({names[int(i)] for i, n in zip(ids, counts, strict=True) if n >= MIN_SHARE * frame.instances.size})
    others = sorted({c for c in CLASSES[3:]} - set(names.values()))
    name = _any(rng, there) if there and (not others or rng.random() < 0.9) else _any(rng, others)
    request = Request("instance", (name,), background=random_palette(1, rng)[0])
    result = instances_of(frame, name, request.background)
    labels = result.labels
    choice = np.where(labels == UNLABELED_16, 0, FREE).astype(np.uint8)
    background = format_color(request.background, _any(rng, ["rgb", "hex", "tuple", "word"]))
    prompt = _any(rng, [TASKS["instance"].prompt(request),
                        f"Instance segmentation. Each {name} is colored differently. Background is {background}."])
    return Example(prompt, TASKS["instance"].encode(result, request), np.ones(labels.shape, bool), choice)


def instances_of(frame: SimFrame, name: str, background: RGB) -> Instances:
    """The exact instances of a class in a frame, in the colours that our training gives them."""
    labels = np.full(frame.instances.shape, UNLABELED_16, np.uint16)
    detections = []
    for obj in frame.objects:
        mask = frame.instances == obj.id
        if obj.class_name != name or not mask.any():
            continue
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        detections.append(Detection(len(detections), name, 1.0, (x, y, w, h), int(mask.sum()),
                                    place_color(mask, background)))
        labels[mask] = detections[-1].id
    return Instances(labels, tuple(detections), np.ones(labels.shape, np.float32))


def _picture(frame: SimFrame, rng: np.random.Generator, most: int) -> Example:
    """The frame itself, from a caption of its largest objects."""
    ids, counts = np.unique(frame.instances[frame.instances != UNLABELED_16], return_counts=True)
    largest = [frame.objects[i] for i, n in sorted(zip(ids, counts, strict=True), key=lambda p: -p[1])
               if n >= 5 * MIN_SHARE * frame.instances.size][:4]
    things = [f"a {o.colour} {o.class_name}" for o in largest] or ["an empty room"]
    listing = ", ".join(things[:-1]) + " and " + things[-1] if len(things) > 1 else things[0]
    prompt = _any(rng, ["A picture of ", "A photo of ", ""]) + listing
    return replace(_free(prompt, frame.rgb.astype(np.float32) / 255, np.ones(frame.depth.shape, bool)),
                   image=False, noisy=True)


def _edit(frame: SimFrame, rng: np.random.Generator, most: int) -> Example:
    """The frame changed in a way that the prompt says."""
    rgb = frame.rgb.astype(np.float32) / 255
    kind = _any(rng, ["gray", "mirror", "paint", "paint"])
    seen = [o for o in frame.objects if (frame.instances == o.id).mean() >= 2 * MIN_SHARE]
    if kind == "gray" or not seen:
        prompt, target = "Turn the picture into shades of gray.", rgb.mean(-1, keepdims=True).repeat(3, -1)
    elif kind == "mirror":
        prompt, target = "Mirror the picture from left to right.", rgb[:, ::-1].copy()
    else:
        thing, word = _any(rng, seen), _any(rng, ["red", "green", "blue", "yellow", "purple", "orange"])
        mask = np.isin(frame.instances, [o.id for o in seen if o.class_name == thing.class_name])
        tint = np.divide(parse_color(word), 255)
        target = np.where(mask[..., None], rgb.max(-1, keepdims=True) * tint, rgb).astype(np.float32)
        prompt = f"Make every {thing.class_name} {word}."
    return replace(_free(prompt, target, np.ones(frame.depth.shape, bool)), noisy=True)


def _any(rng: np.random.Generator, choices: list):
    return choices[int(rng.integers(len(choices)))]


_MAKERS: dict[str, Callable[[SimFrame, np.random.Generator, int], Example | None]] = {
    "depth": _depth, "normals": _normals, "semantic": _semantic, "referring": _referring, "instance": _instance,
    "picture": _picture, "edit": _edit,
}


def mirror(frame: SimFrame) -> SimFrame:
    """The frame as its mirror image; what is said of left and right is read off the pixels, so it stays true."""
    flipped = {name: np.ascontiguousarray(getattr(frame, name)[:, ::-1])
               for name in ("rgb", "depth", "normals", "classes", "instances")}
    flipped["normals"][..., 0] *= -1
    return replace(frame, **flipped)


def augment(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What cameras do to a scene: exposure, gamma, white balance, blur, noise. uint8 in, float32 0..1 out."""
    image = rgb.astype(np.float32) / 255
    gain = np.exp(rng.uniform(-0.3, 0.4)) * np.exp(rng.normal(0, 0.05, 3))
    image = np.clip(image * gain.astype(np.float32), 0, 1) ** np.float32(np.exp(rng.uniform(-0.2, 0.15)))
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.8)))
    if rng.random() < 0.6:
        image = image + rng.normal(0, rng.uniform(0, 0.02), image.shape).astype(np.float32)
    return image.clip(0, 1)
