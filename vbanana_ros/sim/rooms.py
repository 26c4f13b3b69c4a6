"""Rooms: which things a scene holds, and where."""

from __future__ import annotations

import numpy as np

from .furniture import BIG, HANGING, SMALL, STANDING
from .layout import SUPPORTS, Layout


def draw_layout(rng: np.random.Generator) -> Layout:
    """An empty room of two to four walls."""
    count = int(rng.choice([2, 3, 4], p=[0.3, 0.3, 0.4]))
    first = int(rng.integers(4))
    walls = tuple((first + k) % 4 for k in range(count))
    ceiling = count > 2 and bool(rng.random() < 0.75)
    return Layout(rng, rng.uniform(2.8, 6.5), rng.uniform(2.8, 6.5), rng.uniform(2.4, 3.0), walls, ceiling)


def furnish_room(rng: np.random.Generator) -> Layout:
    """A room with furniture against the walls and about, and small things on it."""
    layout = draw_layout(rng)
    if rng.random() < 0.5:
        layout.on_floor("rug")
    for name in rng.choice(HANGING, int(rng.integers(1, 5))):
        layout.against_wall(name)
    for name in rng.choice(BIG, int(rng.integers(2, 6))):
        layout.against_wall(name)
    table = layout.on_floor("table") if rng.random() < 0.5 else None
    for _ in range(int(rng.integers(1, 5)) if table else 0):
        layout.on_floor("chair", near=table.info.position[:2])
    for name in rng.choice(STANDING, int(rng.integers(4, 10))):
        layout.on_floor(name)
    add_small_things(layout, int(rng.integers(2, 9)))
    return layout


def lay_table(rng: np.random.Generator) -> Layout:
    """A room whose first thing is a table with many small things on it."""
    layout = draw_layout(rng)
    table = layout.against_wall("table") if rng.random() < 0.5 else layout.on_floor("table")
    if table is None:
        table = layout.on_floor("table", tries=200)
    for name in rng.choice(SMALL, int(rng.integers(6, 14))):
        layout.on_top(name, table)
    for name in rng.choice(HANGING + BIG, int(rng.integers(2, 6))):
        layout.against_wall(name)
    for name in rng.choice(STANDING, int(rng.integers(1, 6))):
        layout.on_floor(name)
    return layout


def add_small_things(layout: Layout, count: int) -> None:
    """Put small things on the furniture that has level surfaces."""
    supports = [t for t in layout.things if t.info.class_name in SUPPORTS]
    for _ in range(count if supports else 0):
        support = supports[int(layout.rng.integers(len(supports)))]
        name = "pillow" if support.info.class_name == "sofa" else str(layout.rng.choice(SMALL))
        layout.on_top(name, support)
