"""GL: the off-screen OpenGL context that MuJoCo draws in, on machines without a screen."""

from __future__ import annotations

import ctypes.util
import os

from ..errors import SimError

# MuJoCo reads this when it is first imported, so this module comes before any that imports mujoco.
if "MUJOCO_GL" not in os.environ:
    os.environ["MUJOCO_GL"] = "osmesa" if ctypes.util.find_library("OSMesa") else "egl"

import mujoco  # noqa: E402


def open_gl(width: int, height: int) -> mujoco.GLContext:
    """A current GL context of a size in pixels; SimError where there is no OpenGL."""
    try:
        context = mujoco.GLContext(width, height)
        context.make_current()
    except Exception as error:  # PyOpenGL and MuJoCo raise many kinds
        raise SimError("scenes cannot be drawn, there is no OpenGL: install the Debian package libosmesa6") from error
    return context
