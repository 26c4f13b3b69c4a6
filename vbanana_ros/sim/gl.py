"""GL: the off-screen OpenGL context that MuJoCo draws in, on machines without a screen."""

from __future__ import annotations

import ctypes.util
import os
from importlib import import_module
from typing import Any

from ..errors import SimError

# MuJoCo reads this when it is first imported, so this module comes before any that imports mujoco.
if "MUJOCO_GL" not in os.environ:
    os.environ["MUJOCO_GL"] = "osmesa" if ctypes.util.find_library("OSMesa") else "egl"


def open_gl(width: int, height: int) -> Any:
    """A current GL context (MuJoCo's GLContext) of a size in pixels; SimError where there is no OpenGL."""
    library = os.environ["MUJOCO_GL"].lower()
    if library not in ("osmesa", "egl"):
        raise SimError(f"MUJOCO_GL={library} needs a screen: set osmesa (Debian package libosmesa6) or egl")
    try:
        # Not mujoco.GLContext: that one is chosen for good by whoever imports mujoco first.
        context = import_module(f"mujoco.{library}").GLContext(width, height)
        context.make_current()
    except Exception as error:  # PyOpenGL and MuJoCo raise many kinds
        raise SimError("no OpenGL to draw scenes with: install the Debian package libosmesa6") from error
    return context
