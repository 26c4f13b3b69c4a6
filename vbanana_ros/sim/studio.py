"""Studio scenes: one to three things side by side before a plain ground, as in a catalogue.

Pictures from text are taught with these. Of a furnished room a few words tell next to nothing; here they tell next to
all: what stands where, how large, in which light and seen from where follows from how many things there are. Only the
shapes and shades that a thing of its name may have are left to chance. A small painter learns what words mean from
these; whatever else differed it would have to paint as a blur. Sizes are not real ones: no depth is to be learnt here.
"""

from __future__ import annotations

import mujoco
import numpy as np

from .furniture import BUILDERS, CLASSES
from .layout import Layout
from .model import OBJECT_TEXTURES, add_geom, add_thing, empty_world
from .parts import Part, bounds, turn
from .scene import Camera, Scene, whose_geoms

PLACE = 1.15  # metres, from thing to thing
SIZE = 1.0, 1.2  # metres, how wide and deep a thing may be
TALL = 1.0, 1.25, 1.5  # metres, how tall one of one, two or three things may be
MOST_THINGS = len(TALL)
YAW = 0.3  # radians: each shows its front and a little of its right side
FOVY = 35.0  # degrees


class StudioScene(Scene):
    """A scene of kind "studio", seen from its front."""

    def _camera(self, rng: np.random.Generator) -> Camera:
        """As near as all places can be seen from, from a little above."""
        count, pitch = len(self.objects), np.radians(25)
        tall = TALL[count - 1]
        # From above, what is deep is also tall.
        reach = max(PLACE * count / (4 / 3), tall + 0.45) / 2 / np.tan(np.radians(FOVY) / 2) + 0.3
        middle = np.array([0, 0, 0.4 * tall])
        return Camera.looking_at(middle + reach * np.array([0, np.cos(pitch), np.sin(pitch)]), middle, FOVY)


def make_studio_scene(seed: int) -> StudioScene:
    """The studio scene of a seed: things of different classes, each class as likely, all about as large.

    They stand from left to right in the order of CLASSES, so that a text, in any order, says where each is.
    """
    rng = np.random.default_rng((seed, 7))
    layout = Layout(rng, width=30.0, depth=12.0, height=12.0, walls=(2,), ceiling=False)
    classes = sorted(rng.choice([*BUILDERS], int(rng.integers(1, MOST_THINGS + 1)), replace=False), key=CLASSES.index)
    for k, name in enumerate(classes):
        _stand(layout, str(name), PLACE * ((len(classes) - 1) / 2 - k), TALL[len(classes) - 1], rng)
    things = layout.things
    slabs = layout.shell(margin=10.0)
    return StudioScene(seed, "studio", FOVY, [t.info for t in things], layout, _model(layout, slabs, rng),
                       *whose_geoms([name for name, _ in slabs], things), np.array([t.info.position for t in things]))


def _stand(layout: Layout, name: str, x: float, tall: float, rng: np.random.Generator) -> None:
    """Add a thing as large as it may be, its front to the camera (+y), on the ground in the middle of its place."""
    parts = BUILDERS[name](rng)
    low, high = bounds([p.moved(np.zeros(3), turn(YAW)) for p in parts])
    scale = np.min(np.array([*SIZE, tall]) / (high - low))
    middle = scale * np.array([*(low + high)[:2] / 2, low[2]])
    layout.put(name, [p.scaled(scale) for p in parts], "medium", np.array([x, 0, 0]) - middle, YAW)


def _model(layout: Layout, slabs: list[tuple[str, Part]], rng: np.random.Generator) -> mujoco.MjModel:
    """Plain surfaces, light grey but for the things, under one soft light."""
    spec = empty_world()
    spec.visual.headlight.ambient = np.full(3, 0.45)
    spec.visual.headlight.diffuse = np.full(3, 0.2)
    spec.visual.headlight.specular = np.zeros(3)
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[2, 6, 8], castshadow=False,
                             dir=[-0.3, -0.6, -1], diffuse=np.full(3, 0.5), specular=np.full(3, 0.2))
    for name in ("floor", "wall", "plain", *(f"thing{k}" for k in range(OBJECT_TEXTURES))):
        spec.add_material(name=name, specular=0.0 if name in ("floor", "wall") else 0.2, shininess=0.4)
    for name, part in slabs:
        add_geom(spec, part, np.full(3, 0.72), name)
    for thing in layout.things:
        add_thing(spec, thing, rng)
    return spec.compile()
