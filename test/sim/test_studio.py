"""Studio scenes: what is seen is what a text can tell."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vbanana_ros.errors import SimError
from vbanana_ros.sim import CLASSES, Renderer
from vbanana_ros.sim.furniture import STUFF
from vbanana_ros.sim.studio import MOST_THINGS, PLACE, SIZE, TALL, make_studio_scene

SEEDS = range(30_000, 30_040)


@pytest.fixture(scope="module")
def frames():
    """A view of each seed."""
    try:
        renderer = Renderer(128, 96)
    except SimError as error:
        pytest.skip(str(error))
    with renderer:
        return [renderer.render(s, s.cameras(1)[0]) for s in map(make_studio_scene, SEEDS)]


def test_same_seed_gives_the_same_scene():
    one, two = make_studio_scene(30_001), make_studio_scene(30_001)
    assert np.array_equal(one.model.geom_pos, two.model.geom_pos)
    assert np.array_equal(one.model.geom_rgba, two.model.geom_rgba)
    assert np.array_equal(one.cameras(1)[0].position, two.cameras(2)[0].position)


def test_any_few_classes_are_there_once_each():
    scenes = [make_studio_scene(seed) for seed in range(30_000, 30_300)]
    counts = Counter(len(scene.objects) for scene in scenes)
    assert set(counts) == {1, 2, MOST_THINGS} and min(counts.values()) > 70
    names = Counter(o.class_name for scene in scenes for o in scene.objects)
    assert set(names) == {*CLASSES[len(STUFF):]} and min(names.values()) > 10
    assert all(len({o.class_name for o in scene.objects}) == len(scene.objects) for scene in scenes)


def test_each_thing_is_seen_whole_and_large(frames):
    for frame in frames:
        for thing in frame.objects:
            mask = frame.instances == thing.id
            assert mask.mean() > 0.005
            assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_things_stand_from_left_to_right_in_the_order_of_the_classes(frames):
    for frame in frames:
        places = [CLASSES.index(thing.class_name) for thing in frame.objects]
        columns = [np.nonzero(frame.instances == thing.id)[1].mean() for thing in frame.objects]
        assert places == sorted(places) and columns == sorted(columns)


def test_how_many_there_are_says_where_they_stand_and_from_where_they_are_seen():
    scenes = [make_studio_scene(seed) for seed in SEEDS]
    for count, tall in zip((1, 2, 3), TALL, strict=True):
        alike = [scene for scene in scenes if len(scene.objects) == count]
        cameras = [scene.cameras(1)[0] for scene in alike]
        assert len(alike) > 5 and len({tuple(camera.position) for camera in cameras}) == 1
        for scene in alike:
            middles = np.array([thing.position for thing in scene.objects])
            assert np.allclose(middles[:, 0], PLACE * ((count - 1) / 2 - np.arange(count)))
            assert np.allclose(middles[:, 1], 0)
            for thing in scene.objects:
                assert np.isclose(np.max(thing.extent / (*SIZE, tall)), 1)
                assert np.isclose(thing.position[2], thing.extent[2] / 2)


def test_the_ground_is_plain_and_light(frames):
    for frame in frames:
        ground = frame.rgb[frame.instances == 65535].astype(float)
        assert ground.mean() > 100 and ground.std(0).max() < 30
