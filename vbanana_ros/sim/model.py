"""The MuJoCo model of a laid-out scene: geoms, textures, lights, sky."""

from __future__ import annotations

import mujoco
import numpy as np

from .furniture import STUFF
from .layout import Layout, Placed
from .lights import add_lights
from .looks import FLOORS, PATTERNS, WALLS, palette, texture
from .parts import Part

OBJECT_TEXTURES = 6
NEAR, FAR = 0.05, 60.0  # clip planes, metres

GEOM_TYPES = {"box": mujoco.mjtGeom.mjGEOM_BOX, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
              "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
              "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID}


def build_model(layout: Layout, slabs: list[tuple[str, Part]], rng: np.random.Generator) -> mujoco.MjModel:
    """Compile the model: slabs first, then the things' parts, all fixed to the world and without contacts."""
    spec = empty_world()
    add_sky(spec, rng)
    add_materials(spec, rng)
    add_lights(spec, layout, rng)
    for name, part in slabs:
        add_geom(spec, part, (1, 1, 1), name)
    for thing in layout.things:
        add_thing(spec, thing, rng)
    return spec.compile()


def empty_world(far: float = FAR) -> mujoco.MjSpec:
    """Nothing yet, to be seen from NEAR to far metres."""
    spec = mujoco.MjSpec()
    visual = spec.visual
    visual.quality.shadowsize, visual.quality.offsamples = 512, 0
    visual.quality.numquads, visual.quality.numslices, visual.quality.numstacks = 8, 36, 18
    spec.stat.extent = 1.0  # clip planes are given in units of the extent
    spec.stat.center = [0, 0, 1.0]
    visual.map.znear, visual.map.zfar = NEAR, far
    return spec


def add_thing(spec: mujoco.MjSpec, thing: Placed, rng: np.random.Generator) -> None:
    """Add an object's parts with its colours; the main surfaces share one of the scene's materials."""
    tones = palette(thing.info.colour, rng)
    material = f"thing{rng.integers(OBJECT_TEXTURES)}"
    for part in thing.parts:
        patterned = part.tone in ("main", "dark", "light")
        add_geom(spec, part, tones[part.tone], material if patterned else "plain")


def add_geom(spec: mujoco.MjSpec, part: Part, rgb: np.ndarray, material: str) -> None:
    """Add one part as a geom of the world."""
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, part.axes.ravel())
    spec.worldbody.add_geom(type=GEOM_TYPES[part.shape], size=part.size, pos=part.position, quat=quat,
                            rgba=[*rgb, 1], material=material, contype=0, conaffinity=0)


def add_sky(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """A sky from pale or tinted at the horizon to blue above."""
    low, high = rng.uniform(0.55, 0.95, 3), np.array([0.35, 0.55, 0.85]) * rng.uniform(0.6, 1.2)
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
                     builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, rgb1=np.clip(high, 0, 1), rgb2=low,
                     width=32, height=32 * 6)


def add_materials(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    """One coloured flat texture for each kind of stuff; grey cube textures that the things tint."""
    for name, kinds in zip(STUFF, (FLOORS, WALLS, ("flat", "cloud", "speckle")), strict=True):
        light = stuff_colour(name, rng)
        dark = light * rng.uniform(0.55, 0.92) if rng.random() < 0.8 else stuff_colour(name, rng)
        image = texture(str(rng.choice(kinds)), dark, light, rng)
        add_material(spec, name, image, mujoco.mjtTexture.mjTEXTURE_2D, rng)
    for k in range(OBJECT_TEXTURES):
        light = np.ones(3)
        image = texture(str(rng.choice(PATTERNS)), light * rng.uniform(0.6, 0.9), light * 0.98, rng)
        add_material(spec, f"thing{k}", np.tile(image, (6, 1, 1)), mujoco.mjtTexture.mjTEXTURE_CUBE, rng)
    spec.add_material(name="plain", specular=0.3, shininess=0.4)


def stuff_colour(name: str, rng: np.random.Generator) -> np.ndarray:
    """A believable RGB [3] (0..1) for floor, wall or ceiling."""
    if name == "floor":
        base = ((0.55, 0.38, 0.24), (0.7, 0.55, 0.38), (0.5, 0.5, 0.5), (0.72, 0.7, 0.66), (0.32, 0.28, 0.27),
                (0.45, 0.5, 0.42), (0.35, 0.4, 0.5))[int(rng.integers(7))]
        return np.clip(np.array(base) + rng.uniform(-0.08, 0.08, 3), 0.1, 0.95)
    if name == "ceiling" or rng.random() < 0.5:
        return np.clip(rng.uniform(0.75, 0.95) + rng.uniform(-0.05, 0.05, 3), 0, 1)
    return rng.uniform(0.4, 0.95, 3)


def add_material(spec: mujoco.MjSpec, name: str, image: np.ndarray, kind: mujoco.mjtTexture,
                 rng: np.random.Generator) -> None:
    """Add a texture uint8 [h, w, 3] and a material that wears it."""
    made = spec.add_texture(name=name, type=kind, width=image.shape[1], height=image.shape[0], nchannel=3)
    made.data = image.tobytes()
    flat = kind == mujoco.mjtTexture.mjTEXTURE_2D
    repeat = rng.uniform(0.5, 1.8) if flat else 1.0
    material = spec.add_material(name=name, specular=rng.uniform(0, 0.15 if flat else 0.6),
                                 shininess=rng.uniform(0.1, 0.9), texuniform=flat, texrepeat=[repeat, repeat])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
