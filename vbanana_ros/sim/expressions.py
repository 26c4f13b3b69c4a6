"""Referring expressions: phrases that are true of exactly one object that a frame shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .render import SimFrame
from .scene import STUFF_ID

VISIBLE_SHARE = 0.002  # of the picture's pixels; what shows less is not spoken of
SIZE_RATIO = 1.5  # margins below which two objects tie and nothing is said
DEPTH_RATIO = 1.1
COLUMN_SHARE = 0.05
RELATIONS_PER_OBJECT = 2


@dataclass(frozen=True)
class Expression:
    """A phrase and the one object (id in `SimFrame.instances`) it is true of."""

    text: str
    object_id: int


@dataclass(frozen=True)
class Sighting:
    """A visible object as the picture shows it.

    pixels: how many show it. column: their mean, 0 (left) to 1 (right). depth: their median, metres.
    volume: of its bounding box, cubic metres.
    """

    id: int
    class_name: str
    colour: str
    pixels: int
    column: float
    depth: float
    volume: float


def sightings(frame: SimFrame) -> list[Sighting]:
    """The objects that cover at least 0.2 % of the frame, in the order of their ids."""
    height, width = frame.instances.shape
    found = []
    counts = np.bincount(frame.instances.ravel(), minlength=STUFF_ID + 1)[:STUFF_ID]
    for id_ in np.flatnonzero(counts >= max(1, VISIBLE_SHARE * height * width)):
        pixels = counts[id_]
        mask = frame.instances == id_
        thing = frame.objects[id_]
        column = float((mask.sum(axis=0) @ (np.arange(width) + 0.5)) / pixels / width)
        found.append(Sighting(int(id_), thing.class_name, thing.colour, int(pixels), column,
                              float(np.median(frame.depth[mask])), float(np.prod(thing.extent))))
    return found


def expressions(frame: SimFrame, rng: np.random.Generator) -> list[Expression]:
    """Every expression of the frame, in random order; of relations at most two for an object.

    Each is true of exactly one object among those that cover at least 0.2 % of the pixels; near ties are
    left out.
    """
    seen = sightings(frame)
    found = [*_names(seen)]
    for name in sorted({s.class_name for s in seen}):
        group = [s for s in seen if s.class_name == name]
        if len(group) > 1:
            found += [*_sizes(group), *_sides(group), *_distances(group)]
    found += _some_relations(seen, rng)
    return [found[i] for i in rng.permutation(len(found))]


def _names(seen: list[Sighting]) -> Iterator[Expression]:
    """'the mug' and 'the red mug', where there is no other."""
    for s in seen:
        same_class = [o for o in seen if o.class_name == s.class_name]
        if len(same_class) == 1:
            yield Expression(f"the {s.class_name}", s.id)
        if sum(o.colour == s.colour for o in same_class) == 1:
            yield Expression(f"the {s.colour} {s.class_name}", s.id)


def _extreme(group: list[Sighting], key: Callable[[Sighting], float], gap: float) -> Sighting | None:
    """The object with the greatest key, None where another comes within the gap."""
    first, second = sorted(group, key=key, reverse=True)[:2]
    return first if key(first) - key(second) >= gap else None


def _sizes(group: list[Sighting]) -> Iterator[Expression]:
    """'the largest box': in the world by a margin, and in the picture too."""
    for word, sign in (("largest", 1), ("smallest", -1)):
        best = _extreme(group, lambda s, sign=sign: sign * np.log(s.volume), np.log(SIZE_RATIO))
        if best and best is _extreme(group, lambda s, sign=sign: sign * s.pixels, 1):
            yield Expression(f"the {word} {best.class_name}", best.id)


def _sides(group: list[Sighting]) -> Iterator[Expression]:
    """'the leftmost chair'; 'the ball on the right', where one is there and all others are on the left."""
    for side, sign in (("right", 1), ("left", -1)):
        best = _extreme(group, lambda s, sign=sign: sign * s.column, COLUMN_SHARE)
        if best is None:
            continue
        yield Expression(f"the {side}most {best.class_name}", best.id)
        offsets = [sign * (s.column - 0.5) for s in group if s is not best]
        if sign * (best.column - 0.5) > COLUMN_SHARE and max(offsets) < -COLUMN_SHARE:
            yield Expression(f"the {best.class_name} on the {side}", best.id)


def _distances(group: list[Sighting]) -> Iterator[Expression]:
    """'the nearest bottle', 'the farthest chair'."""
    for word, sign in (("farthest", 1), ("nearest", -1)):
        best = _extreme(group, lambda s, sign=sign: sign * np.log(s.depth), np.log(DEPTH_RATIO))
        if best:
            yield Expression(f"the {word} {best.class_name}", best.id)


def _some_relations(seen: list[Sighting], rng: np.random.Generator) -> list[Expression]:
    """At most two relations for each object, so that they do not outnumber all else."""
    kept: dict[int, list[Expression]] = {}
    found = list(_relations(seen))
    for i in rng.permutation(len(found)):
        mine = kept.setdefault(found[i].object_id, [])
        if len(mine) < RELATIONS_PER_OBJECT:
            mine.append(found[i])
    return [e for mine in kept.values() for e in mine]


def _relations(seen: list[Sighting]) -> Iterator[Expression]:
    """'the mug left of the red bowl': one mug is there, every other clearly is not."""
    anchors = {e.object_id: e.text for e in _names(seen)}
    for anchor in (s for s in seen if s.id in anchors):
        for name in sorted({s.class_name for s in seen} - {anchor.class_name}):
            group = [s for s in seen if s.class_name == name]
            for words, sign in (("to the right of", 1), ("left of", -1)):
                offsets = [sign * (s.column - anchor.column) for s in group]
                there = [s for s, offset in zip(group, offsets, strict=True) if offset > 0]
                if len(there) == 1 and min(map(abs, offsets)) > COLUMN_SHARE:
                    yield Expression(f"the {name} {words} {anchors[anchor.id]}", there[0].id)
