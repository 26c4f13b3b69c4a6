"""Pictures: generation from text alone, or editing of the input image."""

from __future__ import annotations

from vbanana_ros.results import Array, Picture
from vbanana_ros.tasks.base import Request, as_pixels, like
from vbanana_ros.tasks.wording import Wording


class PictureTask:
    """`picture`: the painted image is the answer. wording: by default the user's own words."""

    name = "picture"

    def __init__(self, wording: Wording | None = None) -> None:
        self.wording = wording or Wording("{text}")

    def prompt(self, request: Request) -> str:
        """The user's words."""
        return self.wording.fill(request)

    def decode(self, rgb: Array, request: Request) -> Picture:
        """Float RGB [H, W, 3], clamped to 0..1. Raises TypeError for integer images."""
        return Picture(like(as_pixels(rgb).clamp(0, 1).reshape(rgb.shape), rgb))

    def encode(self, result: Picture, request: Request) -> Array:
        """Float32 RGB [H, W, 3] in 0..1."""
        return result.rgb
