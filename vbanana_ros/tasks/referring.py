"""Referring segmentation: each free-form expression gets a solid colour of its own; decoded as semantic."""

from __future__ import annotations

from dataclasses import replace

from vbanana_ros.tasks.base import Request
from vbanana_ros.tasks.semantic import Semantic
from vbanana_ros.tasks.wording import Wording


class Referring(Semantic):
    """`referring`: the pixels of each expression's object.

    wording: by default the paper's prose, where the first expression "is rendered in" its colour, the others "is in"
    theirs.
    """

    name = "referring"

    def __init__(self, wording: Wording | None = None) -> None:
        super().__init__(wording or Wording("A segmentation map image. The {pairs}.", "the {name} is in {color:word}",
                                            "{name} is rendered in {color:word}"))

    def prompt(self, request: Request) -> str:
        """Every expression with its colour, its own "the" left to the wording."""
        return super().prompt(replace(request, labels=tuple(text.removeprefix("the ") for text in request.labels)))
