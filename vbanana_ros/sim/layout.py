"""Layout: where the things of a scene stand; nothing stands in another thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .furniture import BUILDERS
from .looks import COLOURS
from .parts import BOX, Part, bounds, box, turn

SIZE_WORDS = ((0.9, "small"), (1.12, "medium"), (np.inf, "large"))
SUPPORTS = ("table", "cabinet", "shelf", "sofa", "stool")  # things with level surfaces
FIXED_SIZE = ("door", "window", "bed")  # their own builders draw the size


@dataclass(frozen=True)
class SimObject:
    """One thing of a scene.

    id: its number in the scene, the value in `SimFrame.instances`.
    class_name: of CLASSES; colour: of the named colours, its main colour; size_word: small, medium or large
    for its class. position: float64 [3], the centre of its bounding box in the world (z up), metres;
    extent: float64 [3], the full sizes of that box.
    """

    id: int
    class_name: str
    colour: str
    size_word: str
    position: np.ndarray
    extent: np.ndarray


@dataclass
class Placed:
    """An object with its parts in the world frame."""

    info: SimObject
    parts: list[Part]

    @property
    def low(self) -> np.ndarray:
        return self.info.position - self.info.extent / 2

    @property
    def high(self) -> np.ndarray:
        return self.info.position + self.info.extent / 2


@dataclass
class Layout:
    """A room (width along x, depth along y, centred on the origin, floor at z = 0) that fills with things."""

    rng: np.random.Generator
    width: float
    depth: float
    height: float
    walls: tuple[int, ...]
    ceiling: bool
    things: list[Placed] = field(default_factory=list)

    def shell(self, margin: float) -> list[tuple[str, Part]]:
        """(class name, slab) of floor, walls and ceiling; the floor goes margin metres beyond open sides."""
        w, d, h = self.width, self.depth, self.height
        reach = [0.1 if k in self.walls else margin for k in range(4)]  # north, west, south, east
        x0, x1, y0, y1 = -w / 2 - reach[1], w / 2 + reach[3], -d / 2 - reach[2], d / 2 + reach[0]
        slabs = [("floor", box((x0 + x1) / 2, (y0 + y1) / 2, -0.1, x1 - x0, y1 - y0, 0.1))]
        for k in self.walls:
            yaw, half, length = self.wall(k)
            # A slab's z axis is its normal, so that its flat texture lies on the wall's face.
            axes = turn(yaw) @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T
            centre = turn(yaw) @ (0, -half - 0.05, h / 2)
            slabs.append(("wall", Part(BOX, (length / 2 + 0.1, h / 2, 0.05), centre, axes)))
        if self.ceiling:
            slabs.append(("ceiling", box(0, 0, h, w + 0.2, d + 0.2, 0.1)))
        return slabs

    def wall(self, k: int) -> tuple[float, float, float]:
        """(yaw of a thing with its back to wall k, the wall's distance from the centre, its length)."""
        yaw = (np.pi, -np.pi / 2, 0.0, np.pi / 2)[k]
        return (yaw, self.depth / 2, self.width) if k % 2 == 0 else (yaw, self.width / 2, self.depth)

    def make(self, name: str) -> tuple[list[Part], str]:
        """Parts of a new thing in its own frame, and its size word."""
        parts = BUILDERS[name](self.rng)
        scale = 1.0 if name in FIXED_SIZE else self.rng.uniform(0.75, 1.35)
        return [p.scaled(scale) for p in parts], next(word for limit, word in SIZE_WORDS if scale < limit)

    def free(self, low: np.ndarray, high: np.ndarray, gap: float, support: Placed | None = None) -> bool:
        """Whether a box ([3] lowest, [3] highest corner) is gap metres clear of all but its support."""
        return not any(np.all(low - gap < t.high) and np.all(high + gap > t.low)
                       for t in self.things if t is not support and t.info.class_name != "rug")

    def put(self, name: str, parts: list[Part], size_word: str, position: np.ndarray, yaw: float,
            colours: Sequence[str] = tuple(COLOURS)) -> Placed:
        """Add a thing at a pose, of one of the colours; plants are green."""
        parts = [p.moved(np.asarray(position, float), turn(yaw)) for p in parts]
        low, high = bounds(parts)
        colour = "green" if name == "plant" else str(self.rng.choice(list(colours)))
        info = SimObject(len(self.things), name, colour, size_word, (low + high) / 2, high - low)
        self.things.append(Placed(info, parts))
        return self.things[-1]

    def against_wall(self, name: str, tries: int = 12) -> Placed | None:
        """Put a thing with its back to a wall, or hang it there; None where no place was found."""
        parts, word = self.make(name)
        low, high = bounds(parts)
        for _ in range(tries if self.walls else 0):
            yaw, half, length = self.wall(int(self.rng.choice(self.walls)))
            room = length / 2 - max(-low[0], high[0]) - 0.05
            if room <= 0 or high[2] > self.height - 0.05:
                continue
            gap = 0.0 if name in ("door", "window", "picture") else 0.03
            place = turn(yaw) @ (self.rng.uniform(-room, room), -half - low[1] + gap, 0)
            box_low, box_high = bounds([p.moved(place, turn(yaw)) for p in parts])
            if self.free(box_low, box_high, 0.04):
                return self.put(name, parts, word, place, yaw)
        return None

    def on_floor(self, name: str, near: np.ndarray | None = None, tries: int = 12) -> Placed | None:
        """Put a thing on the floor, anywhere or near a point [2]; None where no place was found."""
        parts, word = self.make(name)
        half = np.array([self.width, self.depth]) / 2
        for _ in range(tries):
            spot = self.rng.uniform(-half, half) if near is None else near + self.rng.uniform(-1.2, 1.2, 2)
            yaw = self.rng.uniform(0, 2 * np.pi)
            place = np.array([*spot, 0.0])
            low, high = bounds([p.moved(place, turn(yaw)) for p in parts])
            inside = np.all(low[:2] > -half + 0.02) and np.all(high[:2] < half - 0.02)
            if inside and high[2] < self.height and self.free(low, high, 0.04):
                return self.put(name, parts, word, place, yaw)
        return None

    def on_top(self, name: str, support: Placed, tries: int = 8) -> Placed | None:
        """Put a thing on a level surface of another thing; None where no place was found."""
        parts, word = self.make(name)
        surfaces = level_surfaces(support)
        for _ in range(tries if surfaces else 0):
            part, clearance = surfaces[int(self.rng.integers(len(surfaces)))]
            yaw = self.rng.uniform(0, 2 * np.pi)
            low, high = bounds([p.moved(np.zeros(3), turn(yaw)) for p in parts])
            reach = np.array(part.size[:2] if part.shape == BOX else (part.size[0] * 0.7,) * 2)
            reach = reach - np.maximum(-low, high)[:2].max()
            if np.any(reach < 0) or high[2] - low[2] > clearance:
                continue
            place = part.position + part.axes @ np.array([*self.rng.uniform(-reach, reach), 0])
            place[2] = part.position[2] + (part.size[2] if part.shape == BOX else part.size[1])
            if self.free(place + low, place + high, 0.008, support):
                return self.put(name, parts, word, place, yaw)
        return None


def level_surfaces(thing: Placed) -> list[tuple[Part, float]]:
    """(part, free height above it) of the parts of a thing on which small things can lie."""
    if thing.info.class_name in ("table", "cabinet", "stool"):
        return [(thing.parts[0], 9.0)]
    if thing.info.class_name == "sofa":
        return [(p, 9.0) for p in thing.parts if p.tone == "light"]
    if thing.info.class_name == "shelf":
        boards = sorted((p for p in thing.parts if p.size[2] < 0.03), key=lambda p: p.position[2])
        gap = boards[1].position[2] - boards[0].position[2] - 0.05
        return [(p, gap) for p in boards[:-1]] + [(boards[-1], 9.0)]
    return []
