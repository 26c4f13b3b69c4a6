"""Scenes, frames, expressions and bags against independent recomputation."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vbanana_ros.bags import read_frames
from vbanana_ros.errors import BagError, SimError
from vbanana_ros.sim import CLASSES, Renderer, SimFrame, expressions, make_scene
from vbanana_ros.sim.bag import write_bag
from vbanana_ros.sim.camera import SimCamera
from vbanana_ros.sim.layout import SUPPORTS

import mujoco  # isort: skip  (after vbanana_ros.sim, which chooses the OpenGL library)

WIDTH, HEIGHT = 256, 192
SEEDS = range(12)


@pytest.fixture(scope="module")
def renderer():
    try:
        made = Renderer(WIDTH, HEIGHT)
    except SimError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(scope="module")
def views(renderer):
    """(scene, frame) of two views of each seed."""
    return [(s, renderer.render(s, c)) for s in map(make_scene, SEEDS) for c in s.cameras(2)]


def test_same_seed_gives_the_same_bytes(renderer, views):
    again = make_scene(3)
    frame = renderer.render(again, again.cameras(2)[1])
    known = views[7][1]
    for name in ("rgb", "depth", "normals", "classes", "instances", "K"):
        assert getattr(frame, name).tobytes() == getattr(known, name).tobytes(), name


def test_a_new_renderer_gives_the_same_bytes(views):
    with Renderer(WIDTH, HEIGHT) as other:
        scene = make_scene(0)
        assert other.render(scene, scene.cameras(1)[0]).rgb.tobytes() == views[0][1].rgb.tobytes()


def test_longer_camera_lists_begin_with_the_shorter():
    scene = make_scene(5)
    few, many = scene.cameras(2), scene.cameras(5)
    assert all(np.array_equal(a.position, b.position) for a, b in zip(few, many[:2], strict=True))


def test_shapes_and_types(views):
    for _, frame in views:
        assert frame.rgb.shape == (HEIGHT, WIDTH, 3) and frame.rgb.dtype == np.uint8
        assert frame.depth.shape == (HEIGHT, WIDTH) and frame.depth.dtype == np.float32
        assert frame.normals.shape == (HEIGHT, WIDTH, 3) and frame.normals.dtype == np.float32
        assert frame.classes.dtype == np.uint8 and frame.instances.dtype == np.uint16
        nothing = frame.classes == 255
        assert np.array_equal(nothing, np.isinf(frame.depth))
        assert np.array_equal(nothing, np.isnan(frame.normals).any(axis=2))
        assert np.all(frame.depth > 0)


def test_labels_agree_with_the_objects(views):
    for _, frame in views:
        for thing in frame.objects:
            labels = set(np.unique(frame.classes[frame.instances == thing.id]))
            assert labels <= {CLASSES.index(thing.class_name)}
        stuff = frame.classes[frame.instances == 65535]
        assert set(np.unique(stuff)) <= {0, 1, 2, 255}


def test_depth_and_normals_against_mujocos_own_rays(views):
    rng = np.random.default_rng(0)
    for scene, frame in views:
        v, u = interior_pixels(frame, rng, 150)
        assert len(v) > 50
        depth, normals = cast(scene, frame, pixel_rays(frame, v, u))
        assert np.allclose(frame.depth[v, u], depth, rtol=5e-3, atol=1e-3)
        cosines = (frame.normals[v, u] * normals).sum(axis=1)
        assert np.all(cosines[depth < np.inf] > np.cos(np.radians(1)))


def pixel_rays(frame: SimFrame, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Rays [..., 3] through pixel centres, optical frame, z = 1."""
    return np.stack([u, v, np.ones(u.shape)], axis=-1) @ np.linalg.inv(frame.K).T


def interior_pixels(frame: SimFrame, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels whose 5x5 neighbourhood is one smooth surface."""
    smooth = np.ones((HEIGHT, WIDTH), bool)
    n = np.nan_to_num(frame.normals)
    for dy in (-2, 0, 2):
        for dx in (-2, 0, 2):
            smooth &= np.roll(frame.instances, (dy, dx), (0, 1)) == frame.instances
            smooth &= (np.roll(n, (dy, dx), (0, 1)) * n).sum(axis=2) > 0.7
            with np.errstate(invalid="ignore"):
                smooth &= np.abs(np.roll(frame.depth, (dy, dx), (0, 1)) - frame.depth) < 0.1 * frame.depth
    smooth[:3], smooth[-3:], smooth[:, :3], smooth[:, -3:] = False, False, False, False
    v, u = np.nonzero(smooth)
    pick = rng.permutation(len(v))[:count]
    return v[pick], u[pick]


def cast(scene, frame: SimFrame, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planar depth [N] and optical-frame normals [N, 3] of rays, by mj_ray."""
    depth, normals = np.full(len(rays), np.inf), np.full((len(rays), 3), np.nan)
    for i, ray in enumerate(rays):
        normal = np.zeros((3, 1))
        way = frame.camera.axes @ ray
        t = mujoco.mj_ray(scene.model, scene.data, frame.camera.position, way, None, 1, -1, None, normal)
        if t >= 0:
            depth[i], normals[i] = t, frame.camera.axes.T @ normal.ravel()
    return depth, normals


def test_normals_are_unit_and_face_the_camera(views):
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    for _, frame in views:
        seen = np.isfinite(frame.depth)
        rays = pixel_rays(frame, v, u)
        assert np.allclose(np.linalg.norm(frame.normals[seen], axis=1), 1, atol=1e-5)
        assert np.all((frame.normals * rays).sum(axis=2)[seen] < 1e-6)


def test_every_class_appears(views):
    seen = {CLASSES[c] for _, frame in views for c in np.unique(frame.classes) if c != 255}
    made = seen | {o.class_name for seed in range(60) for o in make_scene(seed).objects}
    assert made == set(CLASSES)
    assert len(seen) >= 18


def test_scenes_are_lit_and_show_things(views):
    means = np.array([frame.rgb.mean() for _, frame in views])
    assert means.min() > 25 and means.max() < 225
    assert np.mean([len(np.unique(frame.instances)) > 2 for _, frame in views]) > 0.9


def test_things_do_not_stand_in_each_other():
    for seed in SEEDS:
        placed = [t for t in make_scene(seed).layout.things if t.info.class_name != "rug"]
        for i, a in enumerate(placed):
            for b in placed[:i]:
                overlap = np.minimum(a.high, b.high) - np.maximum(a.low, b.low)
                resting = b.info.class_name in SUPPORTS
                assert resting or np.any(overlap <= 1e-9)


def test_k_matches_the_field_of_view():
    for seed in SEEDS:
        scene = make_scene(seed)
        K = scene.cameras(1)[0].intrinsics(WIDTH, HEIGHT)
        assert 42 <= scene.fovy <= 52
        assert np.degrees(2 * np.arctan(HEIGHT / 2 / K[1, 1])) == pytest.approx(scene.fovy)
        assert K[0, 0] == K[1, 1] and K[0, 2] == (WIDTH - 1) / 2 and K[1, 2] == (HEIGHT - 1) / 2


def test_every_expression_is_true_of_exactly_one_object(views):
    forms = set()
    for _, frame in views:
        facts = brute_facts(frame)
        for expression in expressions(frame, np.random.default_rng(1)):
            form, answers = brute_answers(expression.text, facts)
            forms.add(form)
            assert answers == [expression.object_id], expression.text
    assert forms == {"name", "largest", "smallest", "leftmost", "rightmost", "side", "nearest", "farthest",
                     "relation"}


def brute_facts(frame: SimFrame) -> list[dict]:
    """What each visible object looks like, pixel by pixel."""
    facts = []
    for thing in frame.objects:
        rows, cols = np.nonzero(frame.instances == thing.id)
        if len(rows) >= 0.002 * WIDTH * HEIGHT:
            facts.append({"id": thing.id, "class": thing.class_name, "colour": thing.colour, "x": cols.mean(),
                          "depth": np.median(frame.depth[rows, cols]), "size": thing.extent.prod()})
    return facts


def brute_answers(text: str, facts: list[dict]) -> tuple[str, list[int]]:
    """(form, ids of all objects of which the text is true), by the plain meaning of the words."""
    if match := re.fullmatch(r"the (\w+) (?:left|to the right) of the (?:(\w+) )?(\w+)", text):
        name, colour, anchor_class = match.groups()
        (anchor,) = [f for f in facts if f["class"] == anchor_class and colour in (None, f["colour"])]
        sign = -1 if " left of " in text else 1
        group = [f for f in facts if f["class"] == name]
        return "relation", [f["id"] for f in group if sign * (f["x"] - anchor["x"]) > 0]
    if match := re.fullmatch(r"the (\w+) on the (left|right)", text):
        sign = -1 if match[2] == "left" else 1
        group = [f for f in facts if f["class"] == match[1]]
        return "side", [f["id"] for f in group if sign * (f["x"] - (WIDTH - 1) / 2) > 0]
    *words, name = text.split()[1:]
    group = [f for f in facts if f["class"] == name]
    keys = {"largest": ("size", 1), "smallest": ("size", -1), "leftmost": ("x", -1), "rightmost": ("x", 1),
            "nearest": ("depth", -1), "farthest": ("depth", 1)}
    if words and words[0] in keys:
        key, sign = keys[words[0]]
        best = max(sign * f[key] for f in group)
        return words[0], [f["id"] for f in group if sign * f[key] == best]
    return "name", [f["id"] for f in group if not words or f["colour"] == words[0]]


def test_the_camera_moves_smoothly_and_repeats(renderer):
    camera = SimCamera(4, width=64, height=48, fps=5)
    first = [pair for pair, _ in zip(camera, range(6), strict=False)]
    again = [pair for pair, _ in zip(camera, range(6), strict=False)]
    camera.close()
    assert [stamp for stamp, _ in first] == [10**9 + k * 200_000_000 for k in range(6)]
    assert all(a.rgb.tobytes() == b.rgb.tobytes() for (_, a), (_, b) in zip(first, again, strict=True))
    steps = np.linalg.norm(np.diff([f.camera.position for _, f in first], axis=0), axis=1)
    assert np.all(steps < 0.2)


def test_the_bag_reads_back(tmp_path, views):
    from rosbags.highlevel import AnyReader

    frame = views[0][1]
    assert write_bag(tmp_path / "sim", [(10**9, frame), (2 * 10**9, frame)]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["sim"]
    with AnyReader([tmp_path / "sim"]) as reader:
        messages = {c.topic: (t, reader.deserialize(raw, c.msgtype)) for c, t, raw in reader.messages()}
    assert set(messages) == {"/camera/image_raw", "/camera/camera_info", "/ground_truth/depth", "/tf"}
    found, = read_frames(tmp_path / "sim", "/camera/image_raw", end=0.5, floor_frame="world")
    assert np.allclose(found.frame.floor, frame.camera.floor) and not found.fault
    stamp, image = messages["/camera/image_raw"]
    assert stamp == 2 * 10**9 and image.header.stamp.sec == 2 and image.encoding == "rgb8"
    assert image.header.frame_id == "camera_optical_frame"
    assert image.step == 3 * WIDTH and np.array_equal(image.data, frame.rgb.ravel())
    depth = messages["/ground_truth/depth"][1]
    assert depth.encoding == "32FC1" and np.array_equal(depth.data.view("<f4"), frame.depth.ravel())
    info = messages["/camera/camera_info"][1]
    assert np.array_equal(info.k.reshape(3, 3), frame.K)
    assert info.distortion_model == "plumb_bob" and not info.d.any()


def test_a_bag_is_never_half_there(tmp_path, views):
    def broken():
        yield 10**9, views[0][1]
        raise RuntimeError("the camera fell over")

    with pytest.raises(RuntimeError):
        write_bag(tmp_path / "sim", broken())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "sim").mkdir()
    with pytest.raises(BagError, match="exists already"):
        write_bag(tmp_path / "sim", [])
