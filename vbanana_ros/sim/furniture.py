"""Furniture: each class of thing as a list of primitive parts, drawn with random proportions.

Every builder stands its thing on z = 0 around the origin; the front looks along +y. What hangs on a
wall has its back on y = 0 and its own height. Sizes are metres.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .parts import Part, box, cylinder, ellipsoid, rod, sphere

Builder = Callable[[np.random.Generator], list[Part]]

STUFF = ("floor", "wall", "ceiling")


def table(rng: np.random.Generator) -> list[Part]:
    """A table with four legs, a round one with a column, or a counter."""
    w, d, h = rng.uniform(0.9, 1.6), rng.uniform(0.6, 0.9), rng.uniform(0.68, 0.8)
    kind = rng.choice(["legs", "round", "counter"], p=[0.6, 0.2, 0.2])
    if kind == "round":
        r = rng.uniform(0.45, 0.6)
        return [cylinder(0, 0, h - 0.04, r, 0.04), cylinder(0, 0, 0.03, 0.05, h - 0.07, "dark"),
                cylinder(0, 0, 0, r * 0.6, 0.03, "dark")]
    top = box(0, 0, h - 0.04, w, d, 0.04)
    if kind == "counter":
        return [top, box(0, 0, 0, w - 0.06, d - 0.06, h - 0.04, "dark")]
    leg = rng.uniform(0.04, 0.07)
    x, y = w / 2 - leg, d / 2 - leg
    return [top] + [box(i * x, j * y, 0, leg, leg, h - 0.04, "dark") for i in (-1, 1) for j in (-1, 1)]


def chair(rng: np.random.Generator) -> list[Part]:
    """A chair whose back is solid or of slats."""
    w, h, back = rng.uniform(0.4, 0.48), rng.uniform(0.42, 0.48), rng.uniform(0.38, 0.5)
    x, round_legs = w / 2 - 0.025, rng.random() < 0.4
    parts = [box(0, 0, h - 0.04, w, w, 0.04)]
    for i in (-1, 1):
        for j in (-1, 1):
            parts.append(cylinder(i * x, j * x, 0, 0.018, h - 0.04, "trim") if round_legs
                         else box(i * x, j * x, 0, 0.04, 0.04, h - 0.04, "trim"))
    if rng.random() < 0.5:
        return [*parts, box(0, -x, h, w, 0.03, back)]
    posts = [box(i * x, -x, h, 0.035, 0.035, back) for i in (-1, 1)]
    return parts + posts + [box(0, -x, h + back * f, w - 0.04, 0.025, 0.07) for f in (0.3, 0.58, 0.84)]


def stool(rng: np.random.Generator) -> list[Part]:
    """A round seat on three leaning legs."""
    r, h = rng.uniform(0.15, 0.2), rng.uniform(0.4, 0.65)
    angles = np.arange(3) * 2 * np.pi / 3
    feet = [(r * np.cos(a), r * np.sin(a)) for a in angles]
    legs = [rod((x / 2, y / 2, h - 0.05), (x, y, 0.016), 0.016, "trim") for x, y in feet]
    return [cylinder(0, 0, h - 0.05, r, 0.05), *legs]


def sofa(rng: np.random.Generator) -> list[Part]:
    """A sofa of one to three seats."""
    seats = int(rng.integers(1, 4))
    each, d, arm = rng.uniform(0.55, 0.65), rng.uniform(0.75, 0.9), rng.uniform(0.12, 0.2)
    w, back = seats * each + 2 * arm, rng.uniform(0.7, 0.85)
    parts = [box(0, 0, 0.08, w, d, 0.2), box(0, -d / 2 + 0.1, 0.28, w, 0.2, back - 0.28)]
    parts += [box(i * (w - arm) / 2, 0.1, 0.28, arm, d - 0.2, 0.26) for i in (-1, 1)]
    parts += [box((k - (seats - 1) / 2) * each, 0.1, 0.285, each - 0.02, d - 0.22, 0.13, "light")
              for k in range(seats)]
    return parts + [box(i * (w / 2 - 0.08), j * (d / 2 - 0.08), 0, 0.06, 0.06, 0.08, "trim")
                    for i in (-1, 1) for j in (-1, 1)]


def bed(rng: np.random.Generator) -> list[Part]:
    """A bed: frame, mattress under a blanket of the main colour, headboard, pillows."""
    w, d = rng.uniform(0.9, 1.7), rng.uniform(1.9, 2.1)
    count = 1 if w < 1.25 else 2
    parts = [box(0, 0, 0.1, w, d, 0.18, "trim"), box(0, 0, 0.28, w - 0.04, d - 0.04, 0.14, "pale"),
             box(0, 0.22, 0.3, w, d - 0.48, 0.15),
             box(0, -d / 2 - 0.03, 0, w, 0.06, rng.uniform(0.8, 1.1), "trim")]
    return parts + [ellipsoid((k - (count - 1) / 2) * 0.7, -d / 2 + 0.28, 0.46, 0.29, 0.19, 0.08, "pale")
                    for k in range(count)]


def cabinet(rng: np.random.Generator) -> list[Part]:
    """A chest with doors or drawers and their knobs."""
    w, d, h = rng.uniform(0.5, 1.2), rng.uniform(0.35, 0.5), rng.uniform(0.5, 1.5)
    rows, cols = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    parts = [box(0, 0, 0, w, d, h)]
    wide, tall = w / cols, h / rows
    for i in range(rows):
        for j in range(cols):
            x = (j - (cols - 1) / 2) * wide
            parts.append(box(x, d / 2, i * tall + 0.02, wide - 0.03, 0.024, tall - 0.04, "light"))
            parts.append(sphere(x, d / 2 + 0.025, (i + 0.5) * tall, 0.018, "trim"))
    return parts


def shelf(rng: np.random.Generator) -> list[Part]:
    """An open shelf: two sides, boards and a back."""
    w, d, h = rng.uniform(0.6, 1.1), rng.uniform(0.25, 0.35), rng.uniform(1.0, 1.9)
    boards = int(rng.integers(3, 6))
    parts = [box(i * (w / 2 - 0.015), 0, 0, 0.03, d, h) for i in (-1, 1)]
    heights = np.linspace(0.05, 0.98 * h - 0.03, boards)
    parts += [box(0, 0, z, w - 0.06, d - 0.01, 0.025) for z in heights]
    return [*parts, box(0, -d / 2 + 0.008, 0.02, w - 0.06, 0.012, h - 0.03, "dark")]


def lamp(rng: np.random.Generator) -> list[Part]:
    """A floor lamp: foot, pole and a shade of the main colour."""
    h, r = rng.uniform(1.2, 1.6), rng.uniform(0.15, 0.24)
    shade = (cylinder(0, 0, h - 0.28, r, 0.28) if rng.random() < 0.6 else
             ellipsoid(0, 0, h - 0.14, r, r, 0.16))
    return [cylinder(0, 0, 0, 0.15, 0.03, "trim"), cylinder(0, 0, 0.03, 0.015, h - 0.3, "trim"), shade]


def plant(rng: np.random.Generator) -> list[Part]:
    """A pot with leaves; the leaves are the main colour."""
    r, h = rng.uniform(0.1, 0.17), rng.uniform(0.18, 0.3)
    parts = [cylinder(0, 0, 0, r, h, "pot"), cylinder(0, 0, h, r * 0.85, 0.01, "earth")]
    for a in rng.uniform(0, 2 * np.pi) + np.arange(9) * 2.4:
        lean, length = rng.uniform(0.1, 0.9), rng.uniform(0.15, 0.3)
        axis = np.array([np.cos(a) * np.sin(lean), np.sin(a) * np.sin(lean), np.cos(lean)])
        side = np.array([-np.sin(a), np.cos(a), 0])
        axes = np.stack([side, np.cross(axis, side), axis], axis=1)
        centre = np.array([0, 0, h]) + axis * length
        parts.append(ellipsoid(*centre, 0.05, 0.015, length, "main" if len(parts) % 2 else "dark", axes))
    return parts


def crate(rng: np.random.Generator) -> list[Part]:
    """A plain box, now and then with a band of tape."""
    w, d, h = rng.uniform(0.1, 0.35, 3)
    tape = [box(0, 0, 0, w + 0.004, 0.05, h + 0.002, "light")] if rng.random() < 0.4 else []
    return [box(0, 0, 0, w, d, h), *tape]


def ball(rng: np.random.Generator) -> list[Part]:
    """A ball."""
    r = rng.uniform(0.05, 0.15)
    return [sphere(0, 0, r, r)]


def mug(rng: np.random.Generator) -> list[Part]:
    """A mug with a handle; the inside is a dark disc just under the rim."""
    r, h = rng.uniform(0.036, 0.048), rng.uniform(0.08, 0.11)
    near, far = r - 0.004, r + 0.026
    joints = [(near, 0, 0.75 * h), (far, 0, 0.7 * h), (far, 0, 0.32 * h), (near, 0, 0.25 * h)]
    handle = [rod(a, b, 0.006) for a, b in pairwise(joints)]
    return [cylinder(0, 0, 0, r, h), cylinder(0, 0, h, r * 0.86, 0.001, "drink"), *handle]


def bottle(rng: np.random.Generator) -> list[Part]:
    """A bottle: body, shoulder, neck, cap."""
    r, h = rng.uniform(0.03, 0.045), rng.uniform(0.13, 0.2)
    return [cylinder(0, 0, 0, r, h), ellipsoid(0, 0, h, r, r, r), cylinder(0, 0, h, r * 0.4, r + 0.06),
            cylinder(0, 0, h + r + 0.05, r * 0.46, 0.022, "trim")]


def bowl(rng: np.random.Generator) -> list[Part]:
    """A hollow bowl: a foot and a ring of leaning staves."""
    r, h, lean, n = rng.uniform(0.06, 0.1), rng.uniform(0.05, 0.08), rng.uniform(0.35, 0.6), 14
    parts = [cylinder(0, 0, 0, r * 0.98, 0.012)]
    slant = h / np.cos(lean)
    for a in np.arange(n) * 2 * np.pi / n:
        out, side = np.array([np.cos(a), np.sin(a), 0]), np.array([-np.sin(a), np.cos(a), 0])
        up = np.sin(lean) * out + np.cos(lean) * np.array([0, 0, 1])
        axes = np.stack([side, np.cross(up, side), up], axis=1)
        centre = out * (r * 0.95) + up * slant / 2 + np.array([0, 0, 0.004])
        width = 2 * (r + h * np.tan(lean)) * np.tan(np.pi / n) + 0.004
        parts.append(box(*(centre - (0, 0, slant / 2)), width, 0.008, slant, "main", axes))
    return parts


def book(rng: np.random.Generator) -> list[Part]:
    """A book that lies: two covers, a spine, pages."""
    w, d, h = rng.uniform(0.13, 0.2), rng.uniform(0.19, 0.27), rng.uniform(0.02, 0.05)
    return [box(0, 0, 0, w, d, 0.004), box(0, 0, h - 0.004, w, d, 0.004),
            box(-w / 2 + 0.002, 0, 0.004, 0.004, d, h - 0.008),
            box(0, 0, 0.004, w - 0.012, d - 0.012, h - 0.008, "paper")]


def pillow(rng: np.random.Generator) -> list[Part]:
    """A cushion."""
    w, h = rng.uniform(0.18, 0.25), rng.uniform(0.06, 0.09)
    return [ellipsoid(0, 0, h, w, w * rng.uniform(0.7, 1), h)]


def monitor(rng: np.random.Generator) -> list[Part]:
    """A screen on a foot; the case is the main colour."""
    w = rng.uniform(0.4, 0.65)
    h = w * 0.6
    return [box(0, 0, 0, 0.22, 0.16, 0.015), box(0, -0.02, 0.015, 0.05, 0.03, 0.15),
            box(0, 0, 0.12, w, 0.035, h), box(0, 0.018, 0.14, w - 0.03, 0.004, h - 0.04, "screen")]


def bin_(rng: np.random.Generator) -> list[Part]:
    """A waste bin with a rim and a dark mouth."""
    r, h = rng.uniform(0.12, 0.17), rng.uniform(0.25, 0.45)
    return [cylinder(0, 0, 0, r, h), cylinder(0, 0, h - 0.03, r + 0.01, 0.03, "light"),
            cylinder(0, 0, h, r * 0.9, 0.001, "drink")]


def rug(rng: np.random.Generator) -> list[Part]:
    """A thin rug with a border, or a round one."""
    if rng.random() < 0.3:
        return [cylinder(0, 0, 0, rng.uniform(0.5, 0.9), 0.012)]
    w, d = rng.uniform(1.0, 2.2), rng.uniform(0.8, 1.6)
    return [box(0, 0, 0, w, d, 0.01, "light"), box(0, 0, 0, w - 0.16, d - 0.16, 0.015)]


def door(rng: np.random.Generator) -> list[Part]:
    """A closed door in its frame, with a handle."""
    w, h = rng.uniform(0.75, 0.95), rng.uniform(1.95, 2.1)
    parts = [box(0, 0.02, 0, w, 0.04, h)]
    parts += [box(i * (w / 2 + 0.035), 0.03, 0, 0.07, 0.06, h + 0.07, "trim") for i in (-1, 1)]
    parts += [box(0, 0.03, h, w, 0.06, 0.07, "trim")]
    parts += [box(0, 0.042, z, w * 0.7, 0.012, h * 0.3, "light") for z in (h * 0.12, h * 0.58)]
    return [*parts, rod((w * 0.4, 0.075, 1.0), (w * 0.3, 0.075, 1.0), 0.011, "metal")]


def window(rng: np.random.Generator) -> list[Part]:
    """A window: panes of sky behind a frame of the main colour."""
    w, h, z = rng.uniform(0.7, 1.5), rng.uniform(0.7, 1.2), rng.uniform(0.85, 1.05)
    parts = [box(0, 0.01, z, w, 0.02, h, "pane")]
    parts += [box(i * w / 2, 0.025, z - 0.03, 0.07, 0.05, h + 0.06) for i in (-1, 1)]
    parts += [box(0, 0.025, z + k * h - 0.035, w, 0.05, 0.07) for k in (0, 1)]
    return [*parts, box(0, 0.022, z, 0.04, 0.03, h), box(0, 0.06, z - 0.06, w + 0.14, 0.12, 0.03)]


def picture(rng: np.random.Generator) -> list[Part]:
    """A framed picture whose canvas has the main colour."""
    w, h, z = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.7), rng.uniform(1.2, 1.5)
    parts = [box(0, 0.012, z, w, 0.024, h, "trim"), box(0, 0.02, z + 0.03, w - 0.06, 0.02, h - 0.06)]
    if rng.random() < 0.6:
        x = rng.uniform(-0.2, 0.2) * w
        parts.append(ellipsoid(x, 0.03, z + h / 2, w * 0.15, 0.006, h * 0.15, "light"))
    return parts


BUILDERS: dict[str, Builder] = {
    "table": table, "chair": chair, "stool": stool, "sofa": sofa, "bed": bed, "cabinet": cabinet,
    "shelf": shelf, "lamp": lamp, "plant": plant, "box": crate, "ball": ball, "mug": mug, "bottle": bottle,
    "bowl": bowl, "book": book, "pillow": pillow, "monitor": monitor, "bin": bin_, "rug": rug, "door": door,
    "window": window, "picture": picture,
}

CLASSES: tuple[str, ...] = STUFF + tuple(BUILDERS)
"""Every class name; the index is the label in `SimFrame.classes`."""

BIG = ("table", "sofa", "bed", "cabinet", "shelf")  # stand against a wall
STANDING = ("chair", "stool", "lamp", "plant", "bin", "box", "ball", "table")  # stand anywhere on the floor
SMALL = ("box", "ball", "mug", "bottle", "bowl", "book", "plant", "monitor", "pillow")  # lie on a table
HANGING = ("door", "window", "picture")
