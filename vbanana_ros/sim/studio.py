"""Studio scenes: one to three things side by side before a plain ground, as in a catalogue.

Pictures from text are taught with these. Of a furnished room a few words tell next to nothing; here there is nothing
that they do not tell of, and a small painter can learn what they mean. Sizes are not real ones: no depth is to be
learnt from these.
"""

from __future__ import annotations

import mujoco
import numpy as np

from .furniture import BUILDERS, CLASSES
from .layout import Layout
from .lights import tint
from .model import OBJECT_TEXTURES, add_geom, add_thing, empty_world
from .parts import Part, bounds, turn
from .scene import Camera, Scene, whose_geoms

MOST_THINGS = 3
GAP = 0.12  # metres, between things about a metre large
FOVY = 35.0  # degrees


class StudioScene(Scene):
    """A scene of kind "studio", seen from its front."""

    def _camera(self, rng: np.random.Generator) -> Camera:
        """As near as all things can be seen from, from a little above and to one side."""
        things = self.layout.things
        low, high = np.min([t.low for t in things], 0), np.max([t.high for t in things], 0)
        yaw, pitch = np.radians(rng.uniform(-12, 12)), np.radians(rng.uniform(18, 32))
        back = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
        middle, tan = (low + high) / 2, np.tan(np.radians(FOVY) / 2)
        wide, deep, tall = high - low
        # From above, what is deep is also tall.
        needed = max(wide / (4 / 3), tall + deep / 2) / 2 / tan
        reach = needed * rng.uniform(1.05, 1.15) + deep / 2
        return Camera.looking_at(middle + reach * back, middle, FOVY)


def make_studio_scene(seed: int) -> StudioScene:
    """The studio scene of a seed: things of different classes, each class as likely, all about as large.

    They stand from left to right in the order of CLASSES, so that a text, in any order, says where each is.
    """
    rng = np.random.default_rng((seed, 7))
    layout = Layout(rng, width=30.0, depth=12.0, height=12.0, walls=(2,), ceiling=False)
    classes = sorted(rng.choice([*BUILDERS], int(rng.integers(1, MOST_THINGS + 1)), replace=False), key=CLASSES.index)
    left = 0.0
    for name in classes:
        left = _stand(layout, str(name), left, rng)
    things = layout.things
    slabs = layout.shell(margin=10.0)
    return StudioScene(seed, "studio", FOVY, [t.info for t in things], layout, _model(layout, slabs, rng),
                       *whose_geoms([name for name, _ in slabs], things), np.array([t.info.position for t in things]))


def _stand(layout: Layout, name: str, left: float, rng: np.random.Generator) -> float:
    """Add a thing about a metre large, its front to the camera (+y), to the right (-x) of `left`; its own right end."""
    parts = BUILDERS[name](rng)
    low, high = bounds(parts)
    # Seen from the front, depth makes a thing look large less than width and height do.
    scale = rng.uniform(0.9, 1.1) / max((high - low) * (1, 0.6, 1))
    yaw = rng.uniform(-0.35, 0.35)
    parts = [p.scaled(scale) for p in parts]
    low, high = bounds([p.moved(np.zeros(3), turn(yaw)) for p in parts])
    place = np.array([left - GAP - high[0], -(low[1] + high[1]) / 2, -low[2]])
    return layout.put(name, parts, "medium", place, yaw).low[0]


def _model(layout: Layout, slabs: list[tuple[str, Part]], rng: np.random.Generator) -> mujoco.MjModel:
    """Plain surfaces, light grey but for the things, under one soft light."""
    spec = empty_world()
    spec.visual.headlight.ambient = np.full(3, 0.45)
    spec.visual.headlight.diffuse = np.full(3, 0.2)
    spec.visual.headlight.specular = np.zeros(3)
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[2, 6, 8], castshadow=False,
                             dir=[-rng.uniform(0.1, 0.5), -0.6, -1], diffuse=tint(0.5, rng), specular=np.full(3, 0.2))
    for name in ("floor", "wall", "plain", *(f"thing{k}" for k in range(OBJECT_TEXTURES))):
        spec.add_material(name=name, specular=0.0 if name in ("floor", "wall") else 0.2, shininess=0.4)
    ground = rng.uniform(0.6, 0.85) + rng.uniform(-0.03, 0.03, 3)
    for name, part in slabs:
        add_geom(spec, part, ground, name)
    for thing in layout.things:
        add_thing(spec, thing, rng)
    return spec.compile()
