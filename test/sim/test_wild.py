"""Wild scenes and their development: exact truth, variety, and nothing changed for the scenes that goals stand on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vbanana_ros.camera import Camera
from vbanana_ros.errors import SimError
from vbanana_ros.sim import CLASSES, Renderer, make_scene
from vbanana_ros.sim.develop import creases, develop, exposed
from vbanana_ros.sim.street import GROUND, STREET
from vbanana_ros.sim.wild import NAMES, make_wild_scene, rolled

import mujoco  # isort: skip  (after vbanana_ros.sim, which chooses the OpenGL library)

WIDTH, HEIGHT = 128, 96
SEEDS = range(20_000, 20_008)


@pytest.fixture(scope="module")
def views():
    """(scene, frame) of two views of each seed."""
    try:
        renderer = Renderer(WIDTH, HEIGHT)
    except SimError as error:
        pytest.skip(str(error))
    with renderer:
        return [(s, renderer.render(s, c)) for s in map(make_wild_scene, SEEDS) for c in s.cameras(2)]


def test_held_out_scenes_are_what_they_were():
    scene = make_scene(9_000_000)
    assert (scene.kind, scene.model.ngeom, scene.names) == ("room", 88, CLASSES)
    assert [(o.class_name, o.colour) for o in scene.objects[:3]] == [
        ("rug", "green"), ("picture", "green"), ("picture", "brown")]
    assert scene.fovy == pytest.approx(44.55075) and scene.model.light_diffuse.sum() == pytest.approx(3.34549, rel=1e-5)
    assert scene.cameras(1)[0].position == pytest.approx([0.525346, 0.926922, 1.117126], abs=1e-6)
    assert scene.model.tex_data[:2000].astype(int).sum() == 262778


def test_same_seed_gives_the_same_scene():
    one, two = make_wild_scene(20_003), make_wild_scene(20_003)
    assert (one.kind, one.model.ngeom, one.model.tex_data[-50_000:].astype(int).sum()) == ("room", 161, 5058471)
    assert np.array_equal(one.model.geom_pos, two.model.geom_pos)
    assert np.array_equal(one.model.tex_data, two.model.tex_data)
    assert all(np.array_equal(a.axes, b.axes) for a, b in zip(one.cameras(2), two.cameras(3)[:2], strict=True))


def test_depth_and_normals_against_mujocos_own_rays(views):
    rng = np.random.default_rng(0)
    for scene, frame in views:
        v, u = rng.integers(2, HEIGHT - 2, 60), rng.integers(2, WIDTH - 2, 60)
        apart = [len({frame.instances[y + j, x + i] for j in (-1, 0, 1) for i in (-1, 0, 1)}) for y, x in
                 zip(v, u, strict=True)]
        found = 0
        for y, x in ((y, x) for y, x, n in zip(v, u, apart, strict=True) if n == 1):
            way = frame.camera.axes @ np.linalg.inv(frame.K) @ (x, y, 1.0)
            t = mujoco.mj_ray(scene.model, scene.data, frame.camera.position, way, None, 1, -1, None)
            same = np.isclose(frame.depth[y, x], t, rtol=0.01) if t >= 0 else np.isinf(frame.depth[y, x])
            found += bool(same) - (not same) * 5  # parts of one object also have edges, where the next pixel may count
        assert found > 0


def test_the_floor_is_where_the_camera_says(views):
    for _, frame in views:
        points = Camera(WIDTH, HEIGHT, frame.K).rays() * frame.depth[..., None]
        floor = np.isin(frame.classes, [frame.names.index(name) for name in ("floor", "road")])
        assert np.allclose(points[floor] @ frame.camera.floor, 1, atol=0.01)


def test_cameras_tilt_and_zoom(views):
    across = [2 * np.degrees(np.arctan(WIDTH / 2 / f.K[0, 0])) for _, f in views]
    assert min(across) >= 35 and max(across) <= 90 and np.ptp(across) > 20
    tilts = [np.degrees(np.arcsin(f.camera.axes[2, 0])) for _, f in views]
    assert 1 < np.abs(tilts).max() <= 12.5
    turned = rolled(views[0][1].camera, np.radians(10))
    assert np.array_equal(turned.axes[:, 2], views[0][1].camera.axes[:, 2])
    assert np.linalg.det(turned.axes) == pytest.approx(1)


def test_streets_and_rooms_have_their_own_classes(views):
    assert NAMES[:len(CLASSES)] == CLASSES and NAMES[len(CLASSES):] == STREET
    seen = {kind: {f.names[c] for s, f in views if s.kind == kind for c in np.unique(f.classes) if c != 255}
            for kind in ("room", "table", "street")}
    assert {"road", "building", "car"} <= seen["street"] and not seen["street"] & {"floor", "wall", "table"}
    assert {"floor", "wall"} <= seen["room"] and not (seen["room"] | seen["table"]) & {*STREET}
    for scene, frame in views:
        assert frame.names == NAMES and len(scene.objects) < 250
        for thing in scene.objects:
            assert {NAMES[c] for c in np.unique(frame.classes[frame.instances == thing.id])} <= {thing.class_name}
        stuff = np.unique(frame.classes[(frame.instances == 65535) & (frame.classes != 255)])
        assert {NAMES[c] for c in stuff} <= {*CLASSES[:3], *GROUND}


def test_streets_are_long(views):
    depths = [np.median(f.depth[np.isfinite(f.depth)]) for s, f in views if s.kind == "street"]
    furthest = [f.depth[np.isfinite(f.depth)].max() for s, f in views if s.kind == "street"]
    assert np.median(depths) > 4 and max(furthest) > 40


def test_a_plane_has_no_crease_and_a_corner_has():
    ray = np.linspace(-1, 1, 65, dtype=np.float32)[None].repeat(48, 0)
    wall = 1 / (0.5 + 0.2 * ray)  # a slanted plane: 1 / z is linear
    flat = creases(wall.astype(np.float32), 1.0)[:, 26:-26]
    assert np.allclose(flat, 1, atol=1e-3)
    corner = creases((1 / (0.2 + 0.3 * np.abs(ray))).astype(np.float32), 1.0)
    edge = creases((1 / (0.5 - 0.3 * np.abs(ray))).astype(np.float32), 1.0)
    assert corner[24, 32] < 0.98 and edge[24, 32] > 1.01
    assert (creases(np.full((8, 8), np.inf, np.float32), 1.0) == 1).all()


def test_development_exposes_and_keeps_the_truth(views):
    frame = views[0][1]
    dark = replace(frame, rgb=frame.rgb // 3)
    developed = develop(dark, np.random.default_rng(0), haze=0.3)
    assert developed.rgb.dtype == np.uint8 and developed.rgb.mean() > dark.rgb.mean()
    assert developed.depth is frame.depth and developed.classes is frame.classes
    assert np.array_equal(developed.rgb, develop(dark, np.random.default_rng(0), haze=0.3).rgb)
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None].repeat(3, -1)
    out = exposed(ramp, np.random.default_rng(1))
    assert (np.diff(out[0, :, 0]) > 0).all() and out.max() < 1


def test_haze_hides_what_is_far(views):
    frame = next(f for s, f in views if s.kind == "street")
    near, far = np.full(frame.depth.shape, 1.0, np.float32), np.full(frame.depth.shape, 200.0, np.float32)
    stripes = (np.arange(WIDTH) // 8 % 2 * 255).astype(np.uint8)[None, :, None].repeat(HEIGHT, 0).repeat(3, -1)
    spread = [np.ptp(develop(replace(frame, rgb=stripes, depth=d), np.random.default_rng(0), 0.7).rgb.astype(float))
              for d in (near, far)]
    assert spread[1] < 0.4 * spread[0]
