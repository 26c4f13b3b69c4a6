"""The tasks, one file each, and the one door through which a user's words become a request."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vbanana_ros.colors import MIN_DISTANCE, RGB, check_distinct, palette, parse_color
from vbanana_ros.errors import RequestError
from vbanana_ros.tasks.base import Request, Task
from vbanana_ros.tasks.dialect import DEPTH_CODES, TASKS, dialect

__all__ = ["DEPTH_CODES", "TASKS", "Request", "Task", "dialect", "make_request"]


def make_request(task: str, labels: Sequence[str] = (), colors: Sequence[str | Sequence[int]] = (),
                 background: str | Sequence[int] | None = None, text: str = "") -> Request:
    """A request from a user's words: colours parsed, missing ones chosen, everything checked.

    labels: classes, the one class, or expressions; colors: none, or one for each label.
    Raises RequestError, naming what is wrong and the mend.
    """
    if task not in TASKS:
        raise RequestError(f"unknown task {task!r}: use one of {', '.join(TASKS)}")
    labels = tuple(" ".join(str(label).split()) for label in labels)
    if task in ("depth", "normals"):
        return Request(task)
    if task == "picture":
        if not text.strip():
            raise RequestError("task 'picture' needs a text that says what to paint")
        return Request(task, text=text.strip())
    if not labels or not all(labels):
        raise RequestError(f"task {task!r} needs at least one non-empty {_NOUN[task]}")
    if task == "instance":
        if len(labels) != 1:
            raise RequestError(f"task 'instance' takes one class a request, not {len(labels)}; make a request for each")
        return Request(task, labels, background=parse_color(background if background is not None else "black"))
    return _colored(task, labels, colors, background)


_NOUN = {"semantic": "class", "instance": "class", "referring": "expression"}


def _colored(task: str, labels: tuple[str, ...], colors: Sequence[str | Sequence[int]],
             background: str | Sequence[int] | None) -> Request:
    if len(set(labels)) != len(labels):
        twice = next(name for name in labels if labels.count(name) > 1)
        raise RequestError(f"{_NOUN[task]} {twice!r} is listed twice; name each once")
    if len(labels) > 255:
        raise RequestError(f"{len(labels)} labels do not fit a mono8 image; ask for at most 255 at once")
    if colors and len(colors) != len(labels):
        raise RequestError(f"{len(labels)} labels but {len(colors)} colours; give each label one colour, or none")
    chosen: list[RGB] = [parse_color(c) for c in colors]
    ground = parse_color(background) if background is not None else None
    if not chosen:
        chosen = palette(len(labels), taken=[ground] if ground else [(0, 0, 0)])
    ground = ground or _free_background(chosen)
    check_distinct((*labels, "background"), (*chosen, ground))
    return Request(task, labels, tuple(chosen), ground)


def _free_background(colors: Sequence[RGB]) -> RGB:
    """Black, as the paper's model paints what no class names, or else a colour that no class comes near."""
    for ground in ((0, 0, 0), (255, 255, 255), (128, 128, 128)):
        if all(math.dist(ground, color) >= MIN_DISTANCE for color in colors):
            return ground
    return palette(1, taken=colors)[0]
