"""Simulated scenes with exact ground truth: what depth, normals and labels are known to the last bit."""

from __future__ import annotations

from . import gl  # noqa: F401  before any module that imports mujoco
from .expressions import Expression, expressions
from .furniture import CLASSES
from .render import Renderer, SimFrame
from .scene import Camera, Scene, SimObject, make_scene

__all__ = ["CLASSES", "Camera", "Expression", "Renderer", "Scene", "SimFrame", "SimObject",
           "expressions", "make_scene"]
