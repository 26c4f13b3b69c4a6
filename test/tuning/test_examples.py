"""Training examples: what the prompt asks for is what the target shows, for every task and wording."""

import numpy as np
import pytest

from vbanana_ros.generators.nano_text import parse_prompt
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.sim import CLASSES, expressions
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tuning.examples import FREE, IGNORE, augment, instances_of, make_example, mirror

SEEDS = range(30)
ALL = ["depth", "normals", "semantic", "instance", "referring", "picture", "edit"]


def legend(example):
    """The words and colours of the prompt, in its order."""
    pairs = [p for p in parse_prompt(example.prompt) if p.color is not None]
    return [" ".join(p.words) for p in pairs], tuple(p.color for p in pairs)


def decoded(example, task, labels, colors, background):
    return TASKS[task].decode(example.target, Request(task, tuple(labels), colors, background))


@pytest.mark.parametrize("task", ALL)
def test_shapes_and_types(sim_frame, task):
    for seed in SEEDS:
        e = make_example(task, sim_frame, np.random.default_rng(seed))
        assert e.target.shape == (48, 64, 3) and e.target.dtype == np.float32
        assert e.target.min() >= 0 and e.target.max() <= 1
        assert e.valid.shape == (48, 64) and e.valid.dtype == bool
        assert e.choice.shape == (48, 64) and e.choice.dtype == np.uint8
        assert e.prompt and (e.image, e.noisy) == (task != "picture", task in ("picture", "edit"))


@pytest.mark.parametrize("task", ALL)
def test_an_example_is_a_function_of_its_generator(sim_frame, task):
    first, second = (make_example(task, sim_frame, np.random.default_rng(5)) for _ in range(2))
    assert first.prompt == second.prompt and np.array_equal(first.target, second.target)


@pytest.mark.parametrize("task", ["semantic", "referring"])
def test_each_choice_is_a_colour_of_the_prompt(sim_frame, task):
    for seed in SEEDS:
        e = make_example(task, sim_frame, np.random.default_rng(seed))
        names, colors = legend(e)
        assert names[-1] == "background" and e.choice.max() < len(colors)
        assert np.allclose(e.target, np.float32(colors)[e.choice] / 255, atol=1e-6)
        labels = decoded(e, task, names[:-1], colors[:-1], colors[-1]).labels
        assert np.array_equal(labels, np.where(e.choice == len(names) - 1, UNLABELED_8, e.choice))


def test_semantic_labels_are_the_truth(sim_frame):
    absent = 0
    for seed in SEEDS:
        e = make_example("semantic", sim_frame, np.random.default_rng(seed))
        names, _ = legend(e)
        for i, name in enumerate(names[:-1]):
            assert np.array_equal(e.choice == i, sim_frame.classes == CLASSES.index(name))
            absent += not (e.choice == i).any()
    assert absent  # classes that are not there are asked for too


def test_referring_expressions_mean_their_object(sim_frame):
    found = expressions(sim_frame, np.random.default_rng(0))
    meant = {" ".join(parse_prompt(e.text)[0].words): e.object_id for e in found}
    for seed in SEEDS:
        e = make_example("referring", sim_frame, np.random.default_rng(seed))
        for i, text in enumerate(legend(e)[0][:-1]):
            assert np.array_equal(e.choice == i, sim_frame.instances == meant[text])


def test_instances_are_the_truth(sim_frame):
    counts = set()
    for seed in SEEDS:
        e = make_example("instance", sim_frame, np.random.default_rng(seed))
        names, colors = legend(e)
        assert names == ["background"] and len(colors) == 1
        name = next(c for c in CLASSES if f"Each {c} is" in e.prompt)
        result = TASKS["instance"].decode(e.target, Request("instance", (name,), background=colors[0]))
        truth = instances_of(sim_frame, name, colors[0])
        assert len(result.detections) == len(truth.detections)
        for d in truth.detections:
            mask = truth.labels == d.id
            found, = np.unique(result.labels[mask])
            assert np.array_equal(result.labels == found, mask)
        assert np.array_equal(e.choice == 0, truth.labels == 65535)
        assert set(np.unique(e.choice)) <= {0, FREE}
        counts.add(len(truth.detections))
    assert counts == {0, 1, 2}


def test_an_instance_example_even_where_every_class_is_seen(sim_frame, monkeypatch):
    monkeypatch.setattr("vbanana_ros.tuning.examples.CLASSES", ("floor", "wall", "ceiling", "box", "ball"))
    assert all(make_example("instance", sim_frame, np.random.default_rng(s)) for s in SEEDS)


def test_depth_and_normals_decode_to_the_truth(sim_frame):
    e = make_example("depth", sim_frame, np.random.default_rng(0))
    depth = TASKS["depth"].decode(e.target, Request("depth")).depth
    assert np.allclose(depth, sim_frame.depth, rtol=1e-3) and e.valid.all() and (e.choice == FREE).all()
    e = make_example("normals", sim_frame, np.random.default_rng(0))
    normals = TASKS["normals"].decode(e.target, Request("normals")).normals
    assert np.allclose(normals, sim_frame.normals, atol=1e-3, equal_nan=True)
    assert not e.valid[0, 0] and e.choice[0, 0] == IGNORE and e.valid[5:].all()


def test_pictures_and_edits(sim_frame):
    rgb = sim_frame.rgb / 255
    e = make_example("picture", sim_frame, np.random.default_rng(0))
    assert np.allclose(e.target, rgb, atol=1e-6) and "a red box" in e.prompt and "a green ball" in e.prompt
    prompts = {}
    for seed in SEEDS:
        e = make_example("edit", sim_frame, np.random.default_rng(seed))
        prompts[e.prompt.split()[0]] = e
    assert set(prompts) == {"Turn", "Mirror", "Make"}
    assert np.allclose(prompts["Turn"].target, rgb.mean(-1, keepdims=True), atol=1e-6)
    assert np.allclose(prompts["Mirror"].target, rgb[:, ::-1], atol=1e-6)


def test_nothing_to_refer_to_is_no_example(sim_frame):
    from dataclasses import replace

    empty = replace(sim_frame, instances=np.full((48, 64), 65535, np.uint16))
    assert make_example("referring", empty, np.random.default_rng(0)) is None
    for task in ("semantic", "instance", "picture", "edit"):
        assert make_example(task, empty, np.random.default_rng(0)) is not None


def test_augmentation_stays_a_picture(sim_frame):
    for seed in SEEDS:
        image = augment(sim_frame.rgb, np.random.default_rng(seed))
        assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1


def test_the_mirror_image_is_true_of_itself(sim_frame):
    flipped = mirror(sim_frame)
    assert np.array_equal(flipped.depth, sim_frame.depth[:, ::-1])
    assert np.array_equal(flipped.normals[..., 0], -sim_frame.normals[:, ::-1, 0], equal_nan=True)
    assert np.array_equal(flipped.normals[..., 1:], sim_frame.normals[:, ::-1, 1:], equal_nan=True)
    assert all(np.array_equal(getattr(mirror(flipped), name), getattr(sim_frame, name), equal_nan=True)
               for name in ("rgb", "depth", "normals", "classes", "instances"))
    left = {e.text: e.object_id for e in expressions(sim_frame, np.random.default_rng(0))}
    right = {e.text: e.object_id for e in expressions(flipped, np.random.default_rng(0))}
    swapped = [text for text in left if "left" in text and text in right]
    assert swapped and all(left[text] != right[text] for text in swapped)
