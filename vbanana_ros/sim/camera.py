"""The simulated camera: a smooth way through scenes, as frames with time stamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from .render import Renderer, SimFrame
from .scene import Camera, Scene, make_scene

PERIOD = 8.0  # seconds of one closed round in a scene, before the next scene
START_NS = 1_000_000_000  # ROS reads time 0 as "no time set"


class SimCamera:
    """A camera that sways through the scenes seed, seed + 1, ..., one round of eight seconds in each.

    Iterating gives (stamp, frame) without end: stamp in nanoseconds from 1 s on, fps frames a second; every
    iteration starts anew and gives the same frames. It draws as fast as it is asked and keeps no real time.
    Raises SimError where there is no OpenGL.
    """

    def __init__(self, seed: int, width: int = 640, height: int = 480, fps: float = 10.0) -> None:
        self.seed, self.fps = seed, fps
        self._renderer = Renderer(width, height)

    def __iter__(self) -> Iterator[tuple[int, SimFrame]]:
        steps = max(1, round(PERIOD * self.fps))
        for turn in count():
            scene = make_scene(self.seed + turn)
            way = Way(scene)
            for step in range(steps):
                stamp = START_NS + round((turn * steps + step) * 1e9 / self.fps)
                yield stamp, self._renderer.render(scene, way.at(step / steps))

    def close(self) -> None:
        """Give the OpenGL context back."""
        self._renderer.close()


class Way:
    """A closed way about a scene's first view: a leaning figure of eight around it, looking at one point."""

    def __init__(self, scene: Scene) -> None:
        self._base = scene.cameras(1)[0]
        ranges = scene.cast(self._base, 3, 3)
        middle = ranges[1][4] if ranges[0][4] >= 0 else 3.0
        self._target = self._base.position + self._base.axes[:, 2] * middle
        self._reach = 0.0
        for reach in (0.5, 0.35, 0.2, 0.1):
            self._reach = reach
            if min(scene.view_score(self.at(k / 24)) for k in range(24)) > 0.0:
                return
        self._reach = 0.0  # a tight corner: the camera stands still

    def at(self, phase: float) -> Camera:
        """The camera at a phase 0..1 of the round."""
        a = 2 * np.pi * phase
        x, y, _ = self._base.axes.T
        position = self._base.position + self._reach * (np.sin(a) * x - 0.3 * np.sin(2 * a) * y)
        return Camera.looking_at(position, self._target, self._base.fovy)
