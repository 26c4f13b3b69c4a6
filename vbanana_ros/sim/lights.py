"""Lights: how a scene is lit, bright enough to see and different each time."""

from __future__ import annotations

import mujoco
import numpy as np

from .layout import Layout

SHADOW_CHANCE = 0.85


def add_lights(spec: mujoco.MjSpec, layout: Layout, rng: np.random.Generator) -> None:
    """One main light, mostly with shadows, up to three fill lights without, and an ambient part."""
    ambient = rng.uniform(0.25, 0.5)
    spec.visual.headlight.ambient = np.full(3, ambient)
    spec.visual.headlight.diffuse = np.full(3, rng.uniform(0, 0.25))
    spec.visual.headlight.specular = np.zeros(3)
    fills = int(rng.integers(0, 4))
    share = rng.uniform(0.55, 0.8) if fills else 1.0
    power = 1.1 * (rng.uniform(1.0, 1.4) - ambient)
    enclosed = layout.ceiling or len(layout.walls) == 4
    (add_lamp if enclosed else add_sun)(spec, layout, power * share, rng)
    for _ in range(fills):
        add_fill(spec, layout, 1.5 * power * (1 - share) / fills, rng)


def add_lamp(spec: mujoco.MjSpec, layout: Layout, power: float, rng: np.random.Generator) -> None:
    """A wide lamp under the ceiling."""
    place = [*spot(layout, 0.6, rng), layout.height - 0.1]
    down = [*rng.uniform(-0.25, 0.25, 2), -1]
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_SPOT, pos=place, dir=down, cutoff=80,
                             exponent=rng.uniform(0, 2), castshadow=bool(rng.random() < SHADOW_CHANCE),
                             diffuse=tint(1.2 * power, rng), specular=np.full(3, 0.3))


def add_sun(spec: mujoco.MjSpec, layout: Layout, power: float, rng: np.random.Generator) -> None:
    """A sun that shines in through the open sides, so that no wall stands in its way."""
    yaws = [layout.wall(k)[0] for k in range(4) if k not in layout.walls]
    inward = np.sum([(-np.sin(yaw), np.cos(yaw)) for yaw in yaws], axis=0) + rng.uniform(-0.6, 0.6, 2)
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[*(-2 * inward), 4],
                             dir=[*inward, -rng.uniform(0.9, 2.5)],
                             castshadow=bool(rng.random() < SHADOW_CHANCE), diffuse=tint(power, rng),
                             specular=np.full(3, 0.3))


def add_fill(spec: mujoco.MjSpec, layout: Layout, power: float, rng: np.random.Generator) -> None:
    """A weak point light without shadows."""
    place = [*spot(layout, 0.8, rng), layout.height * rng.uniform(0.6, 0.95)]
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_POINT, pos=place, dir=[0, 0, -1], cutoff=180,
                             castshadow=False, diffuse=tint(power, rng), specular=np.full(3, 0.15))


def spot(layout: Layout, share: float, rng: np.random.Generator) -> np.ndarray:
    """A point [2] of the inner share of the room's floor."""
    return share * rng.uniform(-0.5, 0.5, 2) * (layout.width, layout.depth)


def tint(power: float, rng: np.random.Generator) -> np.ndarray:
    """RGB [3] of a light from warm to cold."""
    warmth = rng.uniform(-0.12, 0.12)
    return power * np.array([1 + warmth, 1.0, 1 - warmth])


def add_indoor_light(spec: mujoco.MjSpec, layout: Layout, rng: np.random.Generator) -> None:
    """Of wild rooms: one to three lamps or the light of a side, with shadows, from even to dim and patchy."""
    ambient = rng.uniform(0.16, 0.45)
    spec.visual.headlight.ambient = ambient * _white(0.12, rng)
    spec.visual.headlight.diffuse = np.full(3, rng.choice([0.0, rng.uniform(0, 0.2), rng.uniform(0.2, 0.5)]))
    spec.visual.headlight.specular = np.zeros(3)
    spec.visual.quality.shadowsize, spec.visual.quality.numquads = 768, 5
    count = int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2]))
    power = rng.uniform(0.75, 1.25) - 0.5 * ambient
    for k, share in enumerate(rng.dirichlet(np.full(count, 3.0))):
        side = rng.random() < 0.35  # as from a window, low and across
        reach = rng.uniform(0.75, 0.97) if side else rng.uniform(0, 0.7)
        angle = rng.uniform(0, 2 * np.pi)
        where = 0.5 * reach * np.array([np.cos(angle) * layout.width, np.sin(angle) * layout.depth])
        down = np.array([*(-0.9 * where), -1.0]) if side else np.array([*rng.uniform(-0.3, 0.3, 2), -1])
        tall = layout.height * (rng.uniform(0.5, 0.8) if side else 1) - 0.12
        fade = rng.choice([0.0, rng.uniform(0.02, 0.15)])
        spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_SPOT, pos=[*where, tall], dir=down, cutoff=80,
                                 exponent=rng.uniform(0, 1.5), attenuation=[1, 0, fade],
                                 castshadow=k == 0 or bool(rng.random() < 0.5),
                                 diffuse=1.35 * power * (0.3 + 0.7 * share) * _white(0.22, rng),
                                 specular=np.full(3, 0.3))
    add_fill(spec, layout, rng.uniform(0.05, 0.35), rng)


def add_daylight(spec: mujoco.MjSpec, layout: Layout, rng: np.random.Generator) -> None:
    """Of streets: sun from any side, clouded over at times, under the light of the sky."""
    overcast = rng.random() < 0.35
    ambient = rng.uniform(0.45, 0.7) if overcast else rng.uniform(0.22, 0.42)
    spec.visual.headlight.ambient = ambient * np.array([0.95, 1.0, 1.08])
    spec.visual.headlight.diffuse = np.full(3, 0.15)
    spec.visual.headlight.specular = np.zeros(3)
    # The shadow map of a sun reaches so many metres about its place.
    spec.visual.map.shadowclip, spec.visual.quality.shadowsize = 45, 2048
    spec.visual.quality.numquads = 1  # a sun lights a face evenly
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 2.0)
    ray = -np.array([np.cos(angle), np.sin(angle), height])
    power = 0.25 if overcast else rng.uniform(0.6, 0.95)
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=np.array([0, 25, 0]) - 25 * ray, dir=ray,
                             castshadow=not overcast, diffuse=power * _white(0.1, rng), specular=np.full(3, 0.2))


def _white(spread: float, rng: np.random.Generator) -> np.ndarray:
    """RGB [3] of white light from warm to cold."""
    warmth = rng.uniform(-spread, spread)
    return np.array([1 + warmth, 1.0, 1 - warmth])
