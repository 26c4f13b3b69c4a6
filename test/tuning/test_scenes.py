"""Scenes on disk: what is written is read again, what is broken is named."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from vbanana_ros.errors import InputError, SimError
from vbanana_ros.sim import CLASSES, expressions
from vbanana_ros.sim.studio import make_studio_scene
from vbanana_ros.tuning import scenes
from vbanana_ros.tuning.scenes import (
    load_frame,
    mirror,
    open_scenes,
    open_studio,
    render_scenes,
    save_frame,
    scene_path,
)


def test_round_trip(tmp_path, sim_frame):
    path = scene_path(tmp_path, 12, 3)
    save_frame(path, sim_frame)
    again = load_frame(path)
    for name in ("rgb", "classes", "instances", "K"):
        assert np.array_equal(getattr(again, name), getattr(sim_frame, name)), name
        assert getattr(again, name).dtype == getattr(sim_frame, name).dtype
    assert np.allclose(again.depth, sim_frame.depth, rtol=1e-3) and again.depth.dtype == np.float32
    assert np.allclose(again.normals, sim_frame.normals, atol=0.01, equal_nan=True)
    assert np.allclose(np.linalg.norm(again.normals[5:], axis=-1), 1, atol=1e-5)
    for mine, theirs in zip(again.objects, sim_frame.objects, strict=True):
        assert all(np.array_equal(getattr(mine, f.name), getattr(theirs, f.name)) for f in fields(mine))
    assert np.array_equal(again.camera.axes, sim_frame.camera.axes) and again.camera.fovy == 45.0
    assert [p.name for p in tmp_path.iterdir()] == ["0000012_3.npz"]


def broken(path, sim_frame, how):
    save_frame(path, sim_frame)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:300] + b"x" * 64 + path.read_bytes()[364:])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "incomplete":
        np.savez(path, rgb=sim_frame.rgb)
    elif how == "foreign":
        path.write_bytes(b"no zip at all")


@pytest.mark.parametrize("how", ["cut", "damaged", "empty", "incomplete", "foreign"])
def test_a_broken_scene_is_named(tmp_path, sim_frame, how):
    path = scene_path(tmp_path, 0, 0)
    broken(path, sim_frame, how)
    with pytest.raises(InputError, match=r"scene .*0000000_0.npz.* is broken .*remove it"):
        load_frame(path)


def test_only_what_lacks_is_drawn(tmp_path, sim_frame, monkeypatch):
    drawn = []
    monkeypatch.setattr(scenes, "ProcessPoolExecutor", SameProcess)
    monkeypatch.setattr(scenes, "_render", lambda folder, views, size, kind, seeds: drawn.extend(seeds))
    for seed, views in ((0, 2), (1, 1), (3, 2)):
        for view in range(views):
            save_frame(scene_path(tmp_path, seed, view), sim_frame)
    save_frame(scene_path(tmp_path, 2, 1), sim_frame)
    render_scenes(tmp_path, range(4), views=2)
    assert sorted(drawn) == [1, 2]


def test_wild_scenes_are_drawn_with_classes_of_their_own(tmp_path):
    try:
        scenes._render(tmp_path, 1, (48, 64), "wild", [20_002, 20_003])
    except SimError as error:
        pytest.skip(str(error))
    street, room = (open_scenes(tmp_path)[i] for i in (0, 2))
    assert (street.name, room.name) == ("0020002_0", "0020003_0") and street.names == room.names
    assert {street.names[i] for i in np.unique(street.labels)} >= {"road", "car", "sky"}
    assert street.names[-1] == "sky" and not {"road", "grass", "floor", "sky"} & {*street.thing_names}
    assert (street.labels[np.isinf(street.depth)] == len(street.names) - 1).all()


def test_scenes_of_before_have_the_classes_of_rooms(tmp_path, sim_frame):
    path = scene_path(tmp_path, 0, 0)
    save_frame(path, sim_frame)
    with np.load(path) as data:
        content = {**data}
    meta = json.loads(str(content.pop("meta")))
    assert meta.pop("names") == list(CLASSES)
    np.savez(path, **content, meta=json.dumps(meta))
    assert load_frame(path).names == CLASSES


class SameProcess:
    def __init__(self, workers):
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_a_view_and_its_mirror_image_are_records(tmp_path, sim_frame):
    save_frame(scene_path(tmp_path, 0, 0), sim_frame)
    views = open_scenes(tmp_path)
    assert len(views) == 2 and views.name == "scenes"
    plain, flipped = views[0], views[1]
    assert plain.names[-1] == "sky" and plain.labels[0, 0] == len(plain.names) - 1
    assert np.array_equal(flipped.rgb, plain.rgb[:, ::-1]) and np.array_equal(flipped.labels, plain.labels[:, ::-1])
    assert {t.name for t in plain.things} == {"box", "ball"} and "floor" not in plain.thing_names
    assert ("box", "red") in {(t.name, t.colour) for t in plain.things} and len(plain.expressions) > 2
    again = views[0]
    assert [e.text for e in again.expressions] == [e.text for e in plain.expressions]


def test_studio_views_are_drawn_not_mirrored_and_teach_no_depth(tmp_path):
    try:
        scenes._render(tmp_path, 1, (48, 64), "studio", [3])
    except SimError as error:
        pytest.skip(str(error))
    views = open_studio(tmp_path)
    frame = make_studio_scene(3)
    assert views[0].depth is None and views[0].floor is None and np.isfinite(views[0].normals).all()
    assert (len(views), views.name, views[0].name) == (1, "studio", "0000003_0")
    assert [(t.name, t.colour) for t in views[0].things] == [(o.class_name, o.colour) for o in frame.objects]


@pytest.mark.parametrize("opened", [open_scenes, open_studio])
def test_no_scenes_are_named(tmp_path, opened):
    with pytest.raises(InputError, match="no scenes in"):
        opened(tmp_path)


def test_the_mirror_image_is_true_of_itself(sim_frame):
    flipped = mirror(sim_frame)
    assert np.array_equal(flipped.depth, sim_frame.depth[:, ::-1])
    assert np.array_equal(flipped.normals[..., 0], -sim_frame.normals[:, ::-1, 0], equal_nan=True)
    assert np.array_equal(flipped.normals[..., 1:], sim_frame.normals[:, ::-1, 1:], equal_nan=True)
    assert all(np.array_equal(getattr(mirror(flipped), name), getattr(sim_frame, name), equal_nan=True)
               for name in ("rgb", "depth", "normals", "classes", "instances"))
    rolled = sim_frame.camera.axes @ [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    tilted = replace(sim_frame, camera=replace(sim_frame.camera, axes=rolled))
    assert np.allclose(mirror(tilted).camera.floor, tilted.camera.floor * (-1, 1, 1)) and tilted.camera.floor[0]
    assert np.isclose(np.linalg.det(mirror(tilted).camera.axes), 1)
    left = {e.text: e.object_id for e in expressions(sim_frame, np.random.default_rng(0))}
    right = {e.text: e.object_id for e in expressions(flipped, np.random.default_rng(0))}
    swapped = [text for text in left if "left" in text and text in right]
    assert swapped and all(left[text] != right[text] for text in swapped)


def test_an_unknown_kind_is_named(tmp_path):
    with pytest.raises(InputError, match="no scenes of kind 'tame'; choose plain, wild, studio"):
        render_scenes(tmp_path / "scenes", [0], kind="tame")
    assert not (tmp_path / "scenes").exists()
