"""Dress: what the surfaces of wild scenes are made of."""

from __future__ import annotations

import mujoco
import numpy as np

from . import textures
from .layout import Placed
from .looks import palette
from .model import add_geom, stuff_colour
from .parts import Part

_FLAT, _CUBE = mujoco.mjtTexture.mjTEXTURE_2D, mujoco.mjtTexture.mjTEXTURE_CUBE
PICTURES, CLOTHS, FACADES = 3, 7, 3  # textures of each kind in a scene
CONCRETE = 0.25  # of the floors are as grey as roads
WOODS = np.array([(0.55, 0.38, 0.24), (0.7, 0.55, 0.38), (0.4, 0.25, 0.15), (0.3, 0.2, 0.14), (0.78, 0.66, 0.5)])
FIELDS = {"floor": textures.FLOORS, "wall": textures.WALLS, "ceiling": textures.CEILINGS,
          "road": (textures.asphalt,), "sidewalk": (textures.tiles, textures.asphalt, textures.brick),
          "grass": (textures.leaves, textures.carpet)}
# Tones that only things of the street have.
STREET_TONES = {"bark": (0.3, 0.24, 0.18), "trousers": (0.2, 0.22, 0.3), "lamp": (0.6, 0.08, 0.06)}
SKIN = np.array([(0.95, 0.78, 0.66), (0.8, 0.6, 0.45), (0.5, 0.34, 0.24), (0.3, 0.2, 0.15)])
MARKING, BEAM, SKIRTING = (0.9, 0.9, 0.87), (0.45, 0.33, 0.22), (0.85, 0.84, 0.8)


def dress(spec: mujoco.MjSpec, slabs: list[tuple[str, Part]], things: list[Placed], rng: np.random.Generator) -> None:
    """Add the slabs and the things' parts, in this order, each with a material."""
    cloudy = rng.uniform(-1.5, 1.5)
    image = textures.sky(rng, cloudy)
    sky = spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=image.shape[1],
                           height=image.shape[0], nchannel=3)
    sky.data = image.tobytes()
    colours = {"marking": MARKING, "beam": BEAM, "skirting": SKIRTING if rng.random() < 0.7 else WOODS[2]}
    for name in ("plain", "glow", *dict.fromkeys(name for name, _ in slabs)):
        _stuff(spec, name, rng)
    street = any(name == "road" for name, _ in slabs)
    _coverings(spec, street, rng)
    for name, part in slabs:
        add_geom(spec, part, colours.get(name, (1, 1, 1)), name)
    for thing in things:
        _thing(spec, thing, rng)


def _stuff(spec: mujoco.MjSpec, name: str, rng: np.random.Generator) -> None:
    """A material for floor, wall, road, ...; plain, or with a texture that repeats every so many metres."""
    if name in ("plain", "marking", "beam", "skirting"):
        spec.add_material(name=name, specular=rng.uniform(0.1, 0.5), shininess=rng.uniform(0.2, 0.6))
        return
    if name in ("glow", "panel"):
        spec.add_material(name=name, emission=rng.uniform(0.4, 1.0) * (rng.random() < 0.8))
        return
    dark, light = _shades(name, rng)
    field = FIELDS[name][int(rng.integers(len(FIELDS[name])))]
    _add(spec, name, textures.between(field(rng), dark, light, rng), _FLAT, rng)


def _shades(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two believable RGB (0..1) of a kind of stuff."""
    # Grey ground alone must not tell a street: cellars, garages and shops stand on concrete.
    if name in ("road", "sidewalk") or (name == "floor" and rng.random() < CONCRETE):
        light = rng.uniform(0.3, 0.62) + (0.12 if name == "sidewalk" else 0) + rng.uniform(-0.02, 0.02, 3)
    elif name == "grass":
        light = np.array([0.38, 0.5, 0.2]) * rng.uniform(0.6, 1.2) + rng.uniform(-0.06, 0.06, 3)
    elif name == "floor" and rng.random() < 0.5:
        light = WOODS[int(rng.integers(len(WOODS)))] * rng.uniform(0.8, 1.25)
    elif name == "wall" and rng.random() < 0.75:  # off white, cream, grey, some pastel
        light = rng.uniform(0.55, 0.95) * (1 - rng.uniform(0, 0.22) * np.sort(rng.random(3)))
    else:
        light = stuff_colour(name, rng)
    contrast = rng.uniform(0.45, 0.93) if name in ("floor", "grass", "road") else rng.uniform(0.6, 0.97)
    return light * contrast, np.clip(light, 0, 1)


def _coverings(spec: mujoco.MjSpec, street: bool, rng: np.random.Generator) -> None:
    """The textures of things: greys that their colours tint, pictures, and those of houses and trees."""
    for k in range(CLOTHS):
        field = textures.THINGS[int(rng.integers(len(textures.THINGS)))]
        dark = np.full(3, rng.uniform(0.45, 0.95))
        _add(spec, f"thing{k}", textures.between(field(rng), dark, np.full(3, 0.99), rng), _CUBE, rng)
    for k in range(0 if street else PICTURES):
        _add(spec, f"picture{k}", textures.art(rng), _CUBE, rng)
    for k in range(FACADES if street else 0):
        _add(spec, f"facade{k}", textures.facade(rng), _CUBE, rng)
    for name, light in (("leaf", 1.0), ("leafdark", 0.75)) if street else ():
        green = np.array([0.42, 0.52, 0.22]) * light * rng.uniform(0.7, 1.1) + rng.uniform(-0.06, 0.06, 3)
        _add(spec, name, textures.between(textures.leaves(rng), green * 0.35, green, rng), _CUBE, rng)


def _add(spec: mujoco.MjSpec, name: str, image: np.ndarray, kind: mujoco.mjtTexture, rng: np.random.Generator) -> None:
    """Add a texture and a material that wears it, on a cube all six sides alike."""
    flat = kind == _FLAT
    data = image if flat else np.tile(image, (6, 1, 1))
    made = spec.add_texture(name=name, type=kind, width=data.shape[1], height=data.shape[0], nchannel=3)
    made.data = data.tobytes()
    repeat = rng.uniform(0.25, 1.2) if flat else 1.0
    matt = rng.random() < 0.6
    specular = 0.05 if matt else rng.uniform(0, 0.5)
    material = spec.add_material(name=name, specular=specular, shininess=rng.uniform(0.1, 0.9),
                                 texuniform=flat, texrepeat=[repeat, repeat])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _thing(spec: mujoco.MjSpec, thing: Placed, rng: np.random.Generator) -> None:
    """Add an object's parts in its colours."""
    name, tones = thing.info.class_name, palette(thing.info.colour, rng)
    gray = rng.uniform(0, 0.55)  # most things have less hue than their names say
    tones = {tone: rgb + gray * (rgb.mean() - rgb) for tone, rgb in tones.items()}
    tones |= {tone: np.array(rgb) * rng.uniform(0.7, 1.3) for tone, rgb in STREET_TONES.items()}
    if name in ("table", "chair", "stool", "cabinet", "shelf", "door") and thing.info.colour == "brown":
        wood = WOODS[int(rng.integers(len(WOODS)))]
        tones |= {"main": wood, "dark": wood * 0.75, "light": np.clip(wood * 1.15, 0, 1)}
    cloth, picture, facade = (f"{kind}{rng.integers(n)}" for kind, n in
                              (("thing", CLOTHS), ("picture", PICTURES), ("facade", FACADES)))
    printed = {"picture": 0.8, "book": 0.6, "box": 0.35, "rug": 0.3, "pillow": 0.15}.get(name, 0) > rng.random()
    lit = name == "monitor" and rng.random() < 0.5
    # A print keeps the thing's colour in its tint.
    tint = 0.45 + 0.55 * tones["main"] / tones["main"].max()
    tones |= {"leaf": np.ones(3), "leafdark": np.ones(3), "facade": 0.35 + 0.65 * tones["main"],
              "skin": SKIN[int(rng.integers(4))]}
    for part in thing.parts:
        tone, rgb = part.tone, tones[part.tone]
        if tone in ("leaf", "leafdark"):
            material = tone
        elif tone == "facade":
            material = facade
        elif tone == "pane":
            material = "glow"
        elif (tone == "main" and printed) or (tone == "screen" and lit):
            material, rgb = picture, tint if printed else np.ones(3)
        else:
            material = cloth if tone in ("main", "dark", "light") and name != "car" else "plain"
        add_geom(spec, part, np.clip(rgb, 0, 1), material)

