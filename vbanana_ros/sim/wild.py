"""Wild scenes: the variety of real frames, for training only. Cluttered rooms, halls and streets under any light.

The scenes of `make_scene`, on which goals are measured, know nothing of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .dress import dress
from .furniture import BIG, CLASSES, HANGING, SMALL, STANDING
from .layout import SUPPORTS, Layout
from .lights import add_daylight, add_indoor_light
from .model import empty_world
from .parts import Part, box, turn
from .rooms import add_small_things
from .scene import Camera, Scene, whose_geoms
from .street import STREET, lay_street

NAMES: tuple[str, ...] = CLASSES + STREET
KINDS = {"street": 0.22, "room": 0.546, "table": 0.234}  # and their shares
MOST_THINGS = 240
# Most furniture is of wood, white or grey.
FURNITURE = (*BIG, "chair", "stool", "lamp", "door", "window", "monitor", "bin")
SOBER = ("brown", "brown", "brown", "white", "white", "gray", "black")
# What a slab without a class of its own is part of.
PART_OF = {"skirting": "wall", "beam": "ceiling", "panel": "ceiling", "marking": "road"}


@dataclass(frozen=True)
class WildScene(Scene):
    """A scene of kind "room", "table" or "street" whose cameras tilt, and have any field of view."""

    haze: float = 0.0

    def _draw_camera(self, rng: np.random.Generator) -> Camera:
        across = rng.triangular(35, 62, 90)  # degrees, of a 4:3 picture; most cameras see about 60
        fovy = float(np.degrees(2 * np.arctan(0.75 * np.tan(np.radians(across) / 2))))
        position, target = self._street_view(rng) if self.kind == "street" else self._room_view(rng)
        camera = Camera.looking_at(position, target, fovy)
        return rolled(camera, np.radians(np.clip(rng.normal(0, 3.5), -12, 12)))

    def _street_view(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        driving = rng.random() < 0.65
        x = rng.uniform(0, 1) * self.layout.width / 5 if driving else rng.uniform(-0.45, 0.45) * self.layout.width
        tall = rng.uniform(1.2, 2.0) if rng.random() < 0.8 else rng.uniform(0.35, 1.0)
        turned = rng.normal(0, 6) if driving else rng.normal(0, 45)
        yaw, pitch = np.radians(turned), np.radians(rng.normal(-1, 3))
        position = np.array([x, rng.uniform(-15, 25), tall])
        return position, position + (np.sin(yaw), np.cos(yaw), np.tan(pitch))

    def _room_view(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        half = np.array([self.layout.width, self.layout.depth]) / 2 - 0.15
        target = self.focus[int(rng.integers(len(self.focus)))] + rng.normal(0, 0.3, 3)
        if self.kind == "table" and rng.random() < 0.6:
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 2.0)
            position = target + (reach * np.cos(angle), reach * np.sin(angle), rng.uniform(0.1, 1.0))
        else:
            tall = rng.uniform(1.1, 2.2) if rng.random() < 0.65 else rng.uniform(0.2, 1.1)
            position = np.array([*rng.uniform(-half, half), tall])
            if rng.random() < 0.5:  # ahead, as one who walks looks, whatever is there
                flat = target[:2] - position[:2]
                target = position + np.array([*flat, np.hypot(*flat) * np.tan(np.radians(rng.normal(-6, 9)))])
        position[2] = np.clip(position[2], 0.2, self.layout.height - 0.15)
        if np.linalg.norm((target - position)[:2]) < 0.2:
            target = target + np.array([0.3, 0.3, 0])
        return position, target

    def view_score(self, camera: Camera) -> float:
        """Below 1 a view is too near a thing, in a wall, or shows one surface only."""
        geoms, ranges = self.cast(camera, 16, 12)
        hit = geoms >= 0
        near = 1.2 if self.kind == "street" else 0.25
        if not hit.any() or ranges[hit].min() < near or not self._inside(camera.position):
            return 0.0
        counts = np.unique(self.geom_object[geoms[hit]], return_counts=True)[1]
        deep = np.quantile(ranges[hit], 0.9) / 1.2
        return min(len(counts) / 4, 0.6 * geoms.size / counts.max(), hit.mean() / 0.35, deep, 1.0)


def rolled(camera: Camera, angle: float) -> Camera:
    """The camera turned about its own axis of sight, radians."""
    return Camera(camera.position, camera.axes @ turn(angle), camera.fovy)


def make_wild_scene(seed: int) -> WildScene:
    """The wild scene of a seed: a room, a laid table in one, or a street. Same seed, same scene."""
    rng = np.random.default_rng((seed, 3))
    kind = str(rng.choice([*KINDS], p=[*KINDS.values()]))
    if kind == "street":
        layout, slabs = lay_street(rng)
    else:
        layout = furnish(empty_room(rng), table=kind == "table")
        slabs = [*layout.shell(margin=rng.choice([0.5, 3.0, 15.0])), *fittings(layout)]
    things = layout.things
    del things[MOST_THINGS:]
    spec = empty_world(far=200.0 if kind == "street" else 60.0)
    dress(spec, slabs, things, rng)
    haze = float(rng.choice([0, rng.uniform(0.02, 0.3), rng.uniform(0.3, 0.7)], p=[0.3, 0.5, 0.2]))
    (add_daylight if kind == "street" else add_indoor_light)(spec, layout, rng)
    geoms = whose_geoms([PART_OF.get(name, name) for name, _ in slabs], things, NAMES)
    focus = [t.info.position for t in things if t.info.class_name != "rug"] or [np.array([0, 0, 1.0])]
    return WildScene(seed, kind, 0.0, [t.info for t in things], layout, spec.compile(), *geoms, np.array(focus), NAMES,
                     haze if kind == "street" else 0.0)


def empty_room(rng: np.random.Generator) -> Layout:
    """A room, mostly closed; every fifth is a hall of up to 15 m."""
    hall = rng.random() < 0.2
    width, depth = rng.uniform(2.2, 6.5, 2) if not hall else (rng.uniform(2.0, 10), rng.uniform(7, 15))
    first, count = int(rng.integers(4)), int(rng.choice([2, 3, 4], p=[0.05, 0.2, 0.75]))
    walls = tuple((first + k) % 4 for k in range(count))
    return Layout(rng, width, depth, rng.uniform(2.2, 4.2 if hall else 3.0), walls, count > 2 and rng.random() < 0.95)


def furnish(layout: Layout, table: bool) -> Layout:
    """The room filled: more than in the plain scenes, on the walls, along them, about, and on top of it all."""
    rng, more = layout.rng, np.sqrt(layout.width * layout.depth / 16)

    def some(low: float, high: float) -> int:
        return int(rng.uniform(low, high) * more)

    if table and (first := layout.on_floor("table", tries=60)):
        for name in rng.choice(SMALL, some(4, 14)):
            layout.on_top(name, first)
    for name in rng.choice(HANGING, some(2, 9)):
        layout.against_wall(name)
    if rng.random() < 0.4:
        layout.on_floor("rug")
    for name in rng.choice(BIG, some(2, 8)):
        layout.against_wall(name)
    for table_ in [layout.on_floor("table") for _ in range(some(0, 2.2))]:
        for _ in range(int(rng.integers(0, 5)) if table_ else 0):
            layout.on_floor("chair", near=table_.info.position[:2])
    for name in rng.choice(STANDING, some(2, 9)):
        layout.on_floor(name)
    for name in rng.choice(["box", "book", "pillow", "bottle", "bin"], some(0, 8)):
        layout.on_floor(name)
    if any(t.info.class_name in SUPPORTS for t in layout.things):
        add_small_things(layout, some(4, 26))
    for thing in layout.things:
        if thing.info.class_name in FURNITURE and rng.random() < 0.75:
            thing.info = replace(thing.info, colour=str(rng.choice(SOBER)))
    return layout


def fittings(layout: Layout) -> list[tuple[str, Part]]:
    """Skirting boards, mouldings, beams and bright panels on the ceiling."""
    rng, parts = layout.rng, []
    tall, up = rng.uniform(0.05, 0.14), layout.height
    for k in layout.walls if rng.random() < 0.8 else ():
        yaw, half, length = layout.wall(k)
        for z, size in ((0.0, tall), *([(up - 0.1, 0.08)] if rng.random() < 0.3 else [])):
            board = box(0, -half + 0.007, z, length, 0.014, size)
            parts.append(("skirting", board.moved(np.zeros(3), turn(yaw))))
    if layout.ceiling:
        step = rng.uniform(1.2, 3.0)
        kind = rng.choice(["panel", "beam", "none"], p=[0.4, 0.15, 0.45])
        for y in np.arange(-layout.depth / 2 + step / 2, layout.depth / 2 - 0.3, step):
            if kind == "beam":
                parts.append(("beam", box(0, y, up - 0.18, layout.width, 0.14, 0.18)))
            for x in np.arange(-layout.width / 2 + step / 2, layout.width / 2 - 0.3, step) if kind == "panel" else ():
                parts.append(("panel", box(x, y, up - 0.02, 0.6, 0.6 if step > 2 else 0.25, 0.03)))
    return parts
