"""Streets: a road between pavements, houses, trees and cars, as far as one sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layout import Layout
from .parts import Part, box, cylinder, ellipsoid, rod, sphere

GROUND = ("road", "sidewalk", "grass")
STREET: tuple[str, ...] = (*GROUND, "building", "car", "tree", "person", "pole")
"""The classes of streets; they come after CLASSES."""

LONG = 110.0  # metres that the road goes on in front; it begins 30 m behind
HOUSES = ("white", "gray", "brown", "orange", "yellow", "red", "pink", "white", "gray")
CARS = ("white", "black", "gray", "gray", "blue", "red", "white", "black", "green", "yellow", "brown")
POLES, TREES = ("gray", "black", "brown"), ("green",)


def lay_street(rng: np.random.Generator) -> tuple[Layout, list[tuple[str, Part]]]:
    """A street along y, its middle at x = 0, and the slabs of its ground."""
    road, pavement = rng.uniform(5.5, 11), rng.uniform(1.5, 4.5)
    edge = road / 2 + pavement
    layout = Layout(rng, 2 * edge, 2 * LONG, 30.0, (), False)
    slabs = list(_ground(rng, road, pavement))
    for side in (-1, 1):
        _houses(layout, side, edge)
        _parked(layout, side, road)
        for y in np.arange(-20, LONG, rng.uniform(12, 30)):
            _stand(layout, "pole", pole(rng), side * (road / 2 + 0.4), y + rng.uniform(-3, 3), POLES)
        if rng.random() < 0.6:
            for y in np.arange(-15, 70, rng.uniform(6, 18)):
                _stand(layout, "tree", tree(rng), side * (edge - rng.uniform(0.3, 1)), y + rng.uniform(-2, 2), TREES)
        for _ in range(int(rng.integers(0, 6))):
            _stand(layout, "person", person(rng), side * rng.uniform(road / 2 + 0.6, edge), rng.uniform(-8, 40))
    if rng.random() < 0.4:  # the street ends at a house
        _stand(layout, "building", building(rng, 40), 0, rng.uniform(60, LONG), HOUSES, yaw=np.pi / 2, clear=False)
    for _ in range(int(rng.integers(0, 5))):
        lane = rng.choice([-1, 1])
        _stand(layout, "car", car(rng), lane * road / 4, rng.uniform(6, 80), CARS, yaw=np.pi * (lane > 0))
    return layout, slabs


def _ground(rng: np.random.Generator, road: float, pavement: float) -> Iterator[tuple[str, Part]]:
    middle, length, kerb = (LONG - 30) / 2, LONG + 30, rng.uniform(0.06, 0.16)
    yield str(rng.choice(["grass", "grass", "sidewalk"])), box(0, middle, -0.2, 2 * LONG, length, 0.16)
    yield "road", box(0, middle, -0.2, road, length, 0.2)
    for side in (-1, 1):
        yield "sidewalk", box(side * (road + pavement) / 2, middle, -0.2, pavement, length, 0.2 + kerb)
    if rng.random() < 0.7:
        for y in np.arange(-10, 60, rng.uniform(3, 7)):
            yield "marking", box(0, y, 0, 0.14, rng.uniform(1.5, 3), 0.006)
    if rng.random() < 0.3:  # a crossing
        y = rng.uniform(5, 25)
        for x in np.arange(-road / 2 + 0.5, road / 2 - 0.3, 1.0):
            yield "marking", box(x, y, 0, 0.5, 3, 0.006)


def _houses(layout: Layout, side: int, edge: float) -> None:
    """A row of houses, in some streets with gaps; now and then trees in place of one."""
    rng = layout.rng
    gap, back = rng.choice([0, 1, 6, 20]), rng.choice([0.0, 2.0, 6.0])
    y = rng.uniform(-30, -20)
    while y < 85:
        width = rng.uniform(7, 20)
        if rng.random() < 0.85:
            parts = building(rng, width)
            depth = parts[0].size[0]
            _stand(layout, "building", parts, side * (edge + back + depth), y + width / 2, HOUSES, yaw=0.0,
                   clear=False)
        else:
            for _ in range(3):
                _stand(layout, "tree", tree(rng), side * (edge + rng.uniform(2, 8)), y + rng.uniform(0, width), TREES)
        y += width + gap * rng.uniform(0, 1)


def _parked(layout: Layout, side: int, road: float) -> None:
    rng = layout.rng
    share = rng.choice([0, 0.3, 0.8])
    for y in np.arange(-12, 55, rng.uniform(5.5, 8)):
        if rng.random() < share:
            _stand(layout, "car", car(rng), side * (road / 2 - 1.0), y, CARS, yaw=np.pi * (side > 0))


def _stand(layout: Layout, name: str, parts: list[Part], x: float, y: float, colours: tuple[str, ...] | None = None,
           yaw: float | None = None, clear: bool = True) -> None:
    """Put a thing at (x, y) where no other is in its way."""
    yaw = layout.rng.choice([0, np.pi / 2]) if yaw is None else yaw
    place = np.array([x, y, 0.0])
    reach = np.max([np.abs(p.position[:2]) for p in parts]) + 0.3
    if not clear or layout.free(place - reach, place + (reach, reach, 9.0), 0.0):
        layout.put(name, parts, "medium", place, float(yaw), *([colours] if colours else []))


def building(rng: np.random.Generator, width: float) -> list[Part]:
    """A house: its block first, a plinth, a roof or eaves, doors, at times balconies."""
    deep, tall = rng.uniform(7, 14), rng.choice([rng.uniform(3.5, 8), rng.uniform(8, 22)])
    parts = [box(0, 0, 0, deep, width, tall, "facade"),
             box(0, 0, 0, deep + 0.1, width + 0.1, rng.uniform(0.4, 0.9), "dark"),
             box(0, 0, tall, deep + 0.5, width + 0.5, 0.3, "trim")]
    if tall < 9 and rng.random() < 0.7:  # a pitched roof: a box that stands on its edge
        half = deep / 2 / np.sqrt(2)
        axes = np.array([[1, 0, 1], [0, np.sqrt(2), 0], [-1, 0, 1]]) / np.sqrt(2)
        parts.append(Part("box", (half, width / 2, half), np.array([0, 0, tall + 0.25]), axes, "pot"))
    for side in (-1, 1):
        parts.append(box(side * deep / 2, rng.uniform(-0.35, 0.35) * width, 0, 0.16, 1.1, 2.2, "trim"))
        if rng.random() < 0.4:
            y, z = rng.uniform(-0.2, 0.2) * width, rng.uniform(2.8, 3.4)
            parts.append(box(side * deep / 2, y, z, 1.6, 3, 0.9, "pale"))
    return parts


def car(rng: np.random.Generator) -> list[Part]:
    """A car or van that drives along +y."""
    length, width = rng.uniform(3.6, 4.9), rng.uniform(1.65, 1.9)
    van = rng.random() < 0.2
    waist, top = rng.uniform(0.75, 0.95), rng.uniform(1.9, 2.4) if van else rng.uniform(1.4, 1.6)
    cabin, shift = length * (0.75 if van else rng.uniform(0.45, 0.58)), -0.06 * length
    parts = [box(0, 0, 0.25, width, length, waist - 0.25),
             box(0, shift, waist, width - 0.16, cabin, top - waist - 0.05, "screen"),
             box(0, shift, top - 0.06, width - 0.2, cabin - 0.2, 0.07),
             ellipsoid(0, length / 2 - 0.3, waist - 0.12, width / 2 - 0.05, 0.35, 0.2)]
    across = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    for i in (-1, 1):
        for j in (-0.31, 0.3):
            where = np.array([i * (width / 2 - 0.1), j * length, 0.31])
            parts += [Part("cylinder", (0.31, 0.12, 0), where, across, "drink"),
                      Part("cylinder", (0.19, 0.125, 0), where, across, "metal")]
        for y, tone in ((length / 2, "pale"), (-length / 2, "lamp")):
            parts.append(box(i * (width / 2 - 0.25), y, waist - 0.25, 0.3, 0.03, 0.14, tone))
        parts.append(box(i * (width / 2 - 0.08), shift - cabin * 0.05, waist, 0.02, 0.07, top - waist - 0.06))
    return [*parts, box(0, -length / 2, 0.4, 0.5, 0.03, 0.12, "pale"),
            box(0, length / 2, 0.3, width - 0.1, 0.06, 0.12, "dark"),
            box(0, -length / 2, 0.3, width - 0.1, 0.06, 0.12, "dark")]


def tree(rng: np.random.Generator) -> list[Part]:
    """A trunk under a crown of several leafy lobes."""
    tall, thick = rng.uniform(3.5, 9), rng.uniform(0.08, 0.25)
    stem = rng.uniform(0.3, 0.5) * tall
    parts = [cylinder(0, 0, 0, thick, tall * 0.75, "bark")]
    for _ in range(int(rng.integers(4, 9))):
        r = rng.uniform(0.16, 0.27) * tall
        x, y = rng.normal(0, 0.13 * tall, 2)
        parts.append(ellipsoid(x, y, rng.uniform(stem + r * 0.5, tall), r, r, r * rng.uniform(0.6, 1),
                               str(rng.choice(["leaf", "leaf", "leafdark"]))))
    return parts


def person(rng: np.random.Generator) -> list[Part]:
    """Somebody who stands or walks: legs, coat, arms and head."""
    tall, stride = rng.uniform(1.5, 1.9), rng.uniform(0, 0.25)
    hip, neck = 0.48 * tall, 0.83 * tall
    parts = [rod((i * 0.09, i * stride, 0.08), (i * 0.08, 0, hip), 0.075, "trousers") for i in (-1, 1)]
    parts += [box(i * 0.09, i * stride + 0.06, 0, 0.1, 0.26, 0.09, "drink") for i in (-1, 1)]
    parts.append(ellipsoid(0, 0, (hip + neck) / 2, 0.21, 0.14, (neck - hip) / 2 + 0.08))
    parts += [rod((i * 0.2, 0, neck - 0.08), (i * 0.25, -i * stride * 0.8, hip + 0.02), 0.055) for i in (-1, 1)]
    return [*parts, sphere(0, 0.01, 0.93 * tall, 0.105, "skin"),
            ellipsoid(0, -0.02, 0.95 * tall, 0.11, 0.11, 0.1, "earth")]


def pole(rng: np.random.Generator) -> list[Part]:
    """A street lamp, a sign or a bollard."""
    kind = rng.choice(["lamp", "sign", "bollard"])
    if kind == "bollard":
        return [cylinder(0, 0, 0, 0.07, rng.uniform(0.7, 1.1))]
    tall, r = (rng.uniform(4, 8), 0.07) if kind == "lamp" else (rng.uniform(2.2, 3), 0.035)
    parts = [cylinder(0, 0, 0, r, tall)]
    if kind == "lamp":
        reach = rng.uniform(0.4, 1.5)
        return [*parts, rod((0, 0, tall), (0, reach, tall + 0.2), 0.04),
                box(0, reach, tall + 0.1, 0.2, 0.5, 0.12, "pale")]
    face = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return [*parts, Part("cylinder", (0.32, 0.015, 0), np.array([0, -0.05, tall - 0.3]), face, "light")]
