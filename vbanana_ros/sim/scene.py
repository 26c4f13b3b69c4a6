"""Scenes: rooms and table tops made from a seed, as MuJoCo models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from .furniture import BIG, CLASSES, HANGING, SMALL, STANDING, STUFF
from .layout import Layout, Placed, SimObject
from .looks import FLOORS, PATTERNS, TEXTURE_SIZE, WALLS, palette, texture
from .parts import Part

STUFF_ID = 65535
OBJECT_TEXTURES = 6
NEAR, FAR = 0.05, 60.0

GEOM_TYPES = {"box": mujoco.mjtGeom.mjGEOM_BOX, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
              "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
              "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID}


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera: square pixels, principal point in the middle of the picture.

    position: float64 [3], world, metres; axes: float64 [3, 3], columns x right, y down, z forward
    (ROS optical frame) in the world; fovy: vertical field of view, degrees.
    """

    position: np.ndarray
    axes: np.ndarray
    fovy: float

    @classmethod
    def looking_at(cls, position: np.ndarray, target: np.ndarray, fovy: float) -> Camera:
        """The camera at a point that looks at another, its x axis level."""
        z = target - position
        z = z / np.linalg.norm(z)
        x = np.cross(z, (0, 0, 1.0))
        x = x / np.linalg.norm(x)
        return cls(position, np.stack([x, np.cross(z, x), z], axis=1), fovy)

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """K, float64 [3, 3], pixels; a pixel's centre has integer coordinates."""
        f = height / 2 / np.tan(np.radians(self.fovy) / 2)
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])


@dataclass(frozen=True)
class Scene:
    """A scene: its model and what each of the model's geoms is.

    kind: "room" or "table". fovy: vertical field of view of its cameras, degrees, 42..52.
    geom_class: uint8 [ngeom], index in CLASSES; geom_object: uint16 [ngeom], object id or 65535 for
    floor, walls and ceiling. focus: float64 [n, 3], world points worth looking at.
    """

    seed: int
    kind: str
    fovy: float
    objects: list[SimObject]
    layout: Layout
    model: mujoco.MjModel
    geom_class: np.ndarray
    geom_object: np.ndarray
    focus: np.ndarray

    @cached_property
    def data(self) -> mujoco.MjData:
        """The model's state, with world poses computed."""
        data = mujoco.MjData(self.model)
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_camlight(self.model, data)
        return data

    def cameras(self, count: int = 4) -> list[Camera]:
        """Views of the scene, the same for every call; a longer list begins with the shorter one."""
        rng = np.random.default_rng((self.seed, 1))
        return [self._camera(rng) for _ in range(count)]

    def _camera(self, rng: np.random.Generator) -> Camera:
        """The first drawn view that is good, else the best of 25."""
        best, best_score = None, -1.0
        for _ in range(25):
            camera = self._draw_camera(rng)
            score = self.view_score(camera)
            if score > best_score:
                best, best_score = camera, score
            if score >= 1:
                break
        return best

    def _draw_camera(self, rng: np.random.Generator) -> Camera:
        target = self.focus[int(rng.integers(len(self.focus)))]
        if self.kind == "table":
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.6)
            position = target + (reach * np.cos(angle), reach * np.sin(angle), rng.uniform(0.12, 0.8))
            target = target + rng.normal(0, 0.1, 3)
        else:
            half = np.array([self.layout.width, self.layout.depth]) / 2 - 0.2
            position = np.array([*rng.uniform(-half, half), rng.uniform(0.4, 1.8)])
            target = target + rng.normal(0, 0.25, 3)
        position[2] = np.clip(position[2], 0.4, 1.8)
        if np.linalg.norm((target - position)[:2]) < 0.2:
            target = target + (0.3, 0.3, 0)
        return Camera.looking_at(position, target, self.fovy)

    def view_score(self, camera: Camera) -> float:
        """How good a view is: below 1 it is too near a thing, in a wall, or shows too little."""
        geoms, ranges = self.cast(camera, 16, 12)
        hit = geoms >= 0
        if not hit.any() or ranges[hit].min() < 0.3 or not self._inside(camera.position):
            return 0.0
        ids = self.geom_object[geoms[hit]]
        things, counts = np.unique(ids[ids != STUFF_ID], return_counts=True)
        share = counts.sum() / geoms.size
        biggest = counts.max(initial=0) / geoms.size
        return min(len(things) / 3, share / 0.15, 0.55 / max(biggest, 0.01), hit.mean() / 0.6, 1.0)

    def _inside(self, point: np.ndarray) -> bool:
        room = self.layout
        return bool(np.all(np.abs(point[:2]) < np.array([room.width, room.depth]) / 2 - 0.15))

    def cast(self, camera: Camera, cols: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Geom ids (int32 [rows*cols], -1 nothing) and ray lengths (metres) of a coarse grid of a 4:3 picture."""
        tan = np.tan(np.radians(camera.fovy) / 2)
        u, v = np.meshgrid(np.linspace(-tan, tan, cols) * 4 / 3, np.linspace(-tan, tan, rows))
        rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ camera.axes.T
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        geoms, lengths = np.empty(len(rays), np.int32), np.empty(len(rays))
        mujoco.mj_multiRay(self.model, self.data, camera.position, rays.ravel(), None, True, -1, geoms, lengths,
                           None, len(rays), mujoco.mjMAXVAL)
        return geoms, lengths


def make_scene(seed: int) -> Scene:
    """The scene of a seed: a furnished room or a table top in a room. Same seed, same scene."""
    rng = np.random.default_rng(seed)
    kind = "room" if rng.random() < 0.55 else "table"
    layout = furnish_room(rng) if kind == "room" else lay_table(rng)
    things = layout.things
    slabs = layout.shell(margin=rng.choice([0.5, 3.0, 15.0]))
    names = [name for name, _ in slabs] + [t.info.class_name for t in things for _ in t.parts]
    ids = [STUFF_ID] * len(slabs) + [t.info.id for t in things for _ in t.parts]
    if kind == "table":
        table = things[0]
        top = np.array([*table.info.position[:2], table.high[2]])
        focus = [t.info.position for t in things[1:] if t.low[2] > table.high[2] - 0.05] or [top]
    else:
        focus = [t.info.position for t in things if t.info.class_name != "rug"]
    return Scene(seed, kind, rng.uniform(42, 52), [t.info for t in things], layout,
                 build_model(layout, slabs, rng), np.array([CLASSES.index(n) for n in names], np.uint8),
                 np.array(ids, np.uint16), np.array(focus))


def draw_layout(rng: np.random.Generator) -> Layout:
    """An empty room of two to four walls."""
    count = int(rng.choice([2, 3, 4], p=[0.3, 0.3, 0.4]))
    first = int(rng.integers(4))
    walls = tuple((first + k) % 4 for k in range(count))
    ceiling = count > 2 and bool(rng.random() < 0.75)
    return Layout(rng, rng.uniform(2.8, 6.5), rng.uniform(2.8, 6.5), rng.uniform(2.4, 3.0), walls, ceiling)


def furnish_room(rng: np.random.Generator) -> Layout:
    """A room with furniture against the walls and about, and small things on it."""
    layout = draw_layout(rng)
    if rng.random() < 0.5:
        layout.on_floor("rug")
    for name in rng.choice(HANGING, int(rng.integers(1, 5))):
        layout.against_wall(name)
    for name in rng.choice(BIG, int(rng.integers(2, 6))):
        layout.against_wall(name)
    table = layout.on_floor("table") if rng.random() < 0.5 else None
    for _ in range(int(rng.integers(1, 5)) if table else 0):
        layout.on_floor("chair", near=table.info.position[:2])
    for name in rng.choice(STANDING, int(rng.integers(4, 10))):
        layout.on_floor(name)
    add_small_things(layout, int(rng.integers(2, 9)))
    return layout


def lay_table(rng: np.random.Generator) -> Layout:
    """A room whose first thing is a table with many small things on it."""
    layout = draw_layout(rng)
    table = layout.against_wall("table") if rng.random() < 0.5 else layout.on_floor("table")
    if table is None:
        table = layout.on_floor("table", tries=200)
    for name in rng.choice(SMALL, int(rng.integers(6, 14))):
        layout.on_top(name, table)
    for name in rng.choice(HANGING + BIG, int(rng.integers(2, 6))):
        layout.against_wall(name)
    for name in rng.choice(STANDING, int(rng.integers(1, 6))):
        layout.on_floor(name)
    return layout


def add_small_things(layout: Layout, count: int) -> None:
    """Put small things on the furniture that has level surfaces."""
    supports = [t for t in layout.things if t.info.class_name in ("table", "cabinet", "shelf", "sofa", "stool")]
    for _ in range(count if supports else 0):
        support = supports[int(layout.rng.integers(len(supports)))]
        name = "pillow" if support.info.class_name == "sofa" else str(layout.rng.choice(SMALL))
        layout.on_top(name, support)


def build_model(layout: Layout, slabs: list[tuple[str, Part]], rng: np.random.Generator) -> mujoco.MjModel:
    """Compile the model: slabs first, then the things' parts, all fixed to the world and without contacts."""
    spec = mujoco.MjSpec()
    visual = spec.visual
    visual.quality.shadowsize, visual.quality.offsamples = 512, 0
    visual.quality.numquads, visual.quality.numslices, visual.quality.numstacks = 8, 36, 18
    spec.stat.extent = 1.0  # clip planes are given in units of the extent
    spec.stat.center = [0, 0, 1.0]
    visual.map.znear, visual.map.zfar = NEAR, FAR
    add_sky(spec, rng)
    add_materials(spec, rng)
    add_lights(spec, layout, rng)
    for name, part in slabs:
        add_geom(spec, part, (1, 1, 1), name)
    for thing in layout.things:
        add_thing(spec, thing, rng)
    return spec.compile()


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
    """A sky from blue to grey, or the dim hall that an open room stands in."""
    low, high = rng.uniform(0.55, 0.95, 3), np.array([0.35, 0.55, 0.85]) * rng.uniform(0.6, 1.2)
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=np.clip(high, 0, 1), rgb2=low, width=32, height=32 * 6)


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
    """Add a texture uint8 [h, TEXTURE_SIZE, 3] and a material that wears it."""
    made = spec.add_texture(name=name, type=kind, width=TEXTURE_SIZE, height=image.shape[0], nchannel=3)
    made.data = image.tobytes()
    flat = kind == mujoco.mjtTexture.mjTEXTURE_2D
    repeat = rng.uniform(0.5, 1.8) if flat else 1.0
    material = spec.add_material(name=name, specular=rng.uniform(0, 0.6) if not flat else rng.uniform(0, 0.15),
                                 shininess=rng.uniform(0.1, 0.9), texuniform=flat, texrepeat=[repeat, repeat])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def add_lights(spec: mujoco.MjSpec, layout: Layout, rng: np.random.Generator) -> None:
    """One main light, mostly with shadows, up to three fill lights without, and an ambient part."""
    total = rng.uniform(1.0, 1.4)
    ambient = rng.uniform(0.25, 0.5)
    spec.visual.headlight.ambient = np.full(3, ambient)
    spec.visual.headlight.diffuse = np.full(3, rng.uniform(0, 0.25))
    spec.visual.headlight.specular = np.zeros(3)
    half = np.array([layout.width, layout.depth]) / 2
    fills = int(rng.integers(0, 4))
    share = rng.uniform(0.55, 0.8) if fills else 1.0
    power = (total - ambient) * 1.1
    shadow = bool(rng.random() < 0.85)
    if layout.ceiling or len(layout.walls) == 4:
        place = np.array([*rng.uniform(-half * 0.6, half * 0.6), layout.height - 0.1])
        spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_SPOT, pos=place,
                                 dir=[*rng.uniform(-0.25, 0.25, 2), -1], cutoff=80, exponent=rng.uniform(0, 2),
                                 castshadow=shadow, diffuse=tint(power * share * 1.2, rng), specular=np.full(3, 0.3))
    else:
        # The sun comes in through an open side, so that no wall stands in its way.
        way = sum(np.array([np.sin(self_yaw), -np.cos(self_yaw)]) for self_yaw in
                  (layout.wall(k)[0] for k in range(4) if k not in layout.walls))
        way = -way + rng.uniform(-0.6, 0.6, 2)
        spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[*(-2 * way), 4],
                                 dir=[*way, -rng.uniform(0.9, 2.5)], castshadow=shadow,
                                 diffuse=tint(power * share, rng), specular=np.full(3, 0.3))
    for _ in range(fills):
        place = np.array([*rng.uniform(-half * 0.8, half * 0.8), layout.height * rng.uniform(0.6, 0.95)])
        spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_POINT, pos=place, dir=[0, 0, -1], cutoff=180,
                                 castshadow=False, diffuse=tint(power * (1 - share) / fills * 1.5, rng),
                                 specular=np.full(3, 0.15))


def tint(power: float, rng: np.random.Generator) -> np.ndarray:
    """RGB [3] of a light from warm to cold."""
    warmth = rng.uniform(-0.12, 0.12)
    return power * np.array([1 + warmth, 1.0, 1 - warmth])
