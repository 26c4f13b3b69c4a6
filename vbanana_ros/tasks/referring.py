"""Referring segmentation: each free-form expression gets a solid colour of its own; decoded as semantic."""

from __future__ import annotations

from vbanana_ros.colors import format_color
from vbanana_ros.tasks.base import Request
from vbanana_ros.tasks.semantic import Semantic


class Referring(Semantic):
    """`referring`: the pixels of each expression's object."""

    name = "referring"

    def prompt(self, request: Request) -> str:
        """The paper's prose form: the first expression "is rendered in" its colour, the others "is in" theirs."""
        pairs = [*zip(request.labels, request.colors, strict=True)]
        if request.background is not None:
            pairs.append(("background", request.background))
        verbs = ["is rendered in", *["is in"] * len(pairs)]
        sentence = ", ".join(f"the {text.removeprefix('the ')} {verb} {format_color(color, 'word')}"
                             for (text, color), verb in zip(pairs, verbs, strict=False))
        return f"A segmentation map image. {sentence[:1].upper()}{sentence[1:]}."
