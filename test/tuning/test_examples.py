"""Training examples: what the prompt asks for is what the target shows, for every task and wording."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from vbanana_ros.generators.nano_text import parse_prompt
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.sim import CLASSES
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tuning.examples import FREE, IGNORE, MOST_TOLD, OWN, instances_of, listed, make_example
from vbanana_ros.tuning.records import Expression, Record, Thing
from vbanana_ros.tuning.scenes import record_of

SEEDS = range(30)
NAMES = ("table", "chair", "mug", "lamp", "rug")
BARE = ["depth", "normals", "semantic", "instance", "referring", "picture"]
ALL = ["depth", "normals", "semantic", "instance", "referring", "picture", "edit"]


@pytest.fixture
def record(sim_frame):
    return record_of(sim_frame)


def legend(example):
    """The words and colours of the prompt, in its order."""
    pairs = [p for p in parse_prompt(example.prompt) if p.color is not None]
    return [" ".join(p.words) for p in pairs], tuple(p.color for p in pairs)


def decoded(example, task, labels, colors, background):
    return TASKS[task].decode(example.target, Request(task, tuple(labels), colors, background))


@pytest.mark.parametrize("task", ALL)
def test_shapes_and_types(record, task):
    for seed in SEEDS:
        e = make_example(task, record, np.random.default_rng(seed))
        assert e.target.shape == (48, 64, 3) and e.target.dtype == np.float32
        assert e.target.min() >= 0 and e.target.max() <= 1
        assert e.valid.shape == (48, 64) and e.valid.dtype == bool
        assert e.choice.shape == (48, 64) and e.choice.dtype == np.uint8
        assert e.prompt and (e.image, e.noisy) == (task != "picture", task in ("picture", "edit"))


@pytest.mark.parametrize("task", ALL)
def test_an_example_is_a_function_of_its_generator(record, task):
    first, second = (make_example(task, record, np.random.default_rng(5)) for _ in range(2))
    assert first.prompt == second.prompt and np.array_equal(first.target, second.target)


@pytest.mark.parametrize("task", ["semantic", "referring"])
def test_each_choice_is_a_colour_of_the_prompt(record, task):
    for seed in SEEDS:
        e = make_example(task, record, np.random.default_rng(seed))
        names, colors = legend(e)
        assert names[-1] == "background" and e.choice.max() < len(colors)
        assert np.allclose(e.target, np.float32(colors)[e.choice] / 255, atol=1e-6)
        labels = decoded(e, task, names[:-1], colors[:-1], colors[-1]).labels
        assert np.array_equal(labels, np.where(e.choice == len(names) - 1, UNLABELED_8, e.choice))


def test_semantic_labels_are_the_truth(record):
    absent = 0
    for seed in SEEDS:
        e = make_example("semantic", record, np.random.default_rng(seed))
        names, _ = legend(e)
        for i, name in enumerate(names[:-1]):
            assert np.array_equal(e.choice == i, record.labels == record.names.index(name))
            absent += not (e.choice == i).any()
    assert absent  # classes that are not there are asked for too


def test_referring_expressions_mean_their_object(record):
    meant = {" ".join(parse_prompt(e.text)[0].words): e.mask for e in record.expressions}
    for seed in SEEDS:
        e = make_example("referring", record, np.random.default_rng(seed))
        for i, text in enumerate(legend(e)[0][:-1]):
            assert np.array_equal(e.choice == i, meant[text])


def test_instances_are_the_truth(record):
    counts = set()
    for seed in SEEDS:
        e = make_example("instance", record, np.random.default_rng(seed))
        names, colors = legend(e)
        assert names == ["background"] and len(colors) == 1
        name = next(c for c in CLASSES if f"Each {c} is" in e.prompt)
        result = TASKS["instance"].decode(e.target, Request("instance", (name,), background=colors[0]))
        truth, known = instances_of(record, name, colors[0])
        assert known.all()
        assert len(result.detections) == len(truth.detections)
        for d in truth.detections:
            mask = truth.labels == d.id
            found, = np.unique(result.labels[mask])
            assert np.array_equal(result.labels == found, mask)
        assert np.array_equal(e.choice == 0, truth.labels == 65535)
        assert np.array_equal(e.choice[e.choice > 0], OWN + truth.labels[truth.labels != 65535])
        counts.add(len(truth.detections))
    assert counts == {0, 1, 2}


def test_an_instance_example_even_where_every_class_is_seen(record):
    record = replace(record, thing_names=("box", "ball"))
    assert all(make_example("instance", record, np.random.default_rng(s)) for s in SEEDS)


def test_crowds_and_what_is_not_known_teach_nothing():
    """The left half is known and has a cat; a crowd of cats on the right."""
    left, right = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    left[2:6, :3], right[:, 5:] = True, True
    labels = np.where(np.arange(8) < 4, 0, UNLABELED_8).astype(np.uint8)[None].repeat(8, 0)
    depth = np.where(np.arange(8) < 4, 2.0, np.nan).astype(np.float32)[None].repeat(8, 0)
    record = Record(np.zeros((8, 8, 3), np.uint8), "x", depth, None, labels, ("wall", "dog"),
                    (Thing("cat", left), Thing("cat", right, crowd=True)), ("cat",))
    e = make_example("instance", record, np.random.default_rng(0))
    assert np.array_equal(e.valid, ~right) and (e.choice[right] == IGNORE).all() and (e.choice[left] == OWN).all()
    e = make_example("depth", record, np.random.default_rng(0))
    assert np.array_equal(e.valid, np.isfinite(depth)) and np.isfinite(e.target).all()
    e = make_example("semantic", record, np.random.default_rng(0))
    assert np.array_equal(e.valid, labels == 0) and (e.choice[labels == UNLABELED_8] == IGNORE).all()
    assert make_example("normals", record, np.random.default_rng(0)) is None


def test_what_is_unknown_of_an_expression_teaches_nothing():
    mask, unknown = np.zeros((2, 8, 8), bool)
    mask[2:6, :3], unknown[:, 6:] = True, True
    record = Record(np.zeros((8, 8, 3), np.uint8), "x", expressions=(Expression("the cat", mask, unknown),))
    e = make_example("referring", record, np.random.default_rng(0))
    assert np.array_equal(e.valid, ~unknown) and (e.choice[unknown] == IGNORE).all()
    assert (e.choice[mask] == 0).all() and (e.choice[~mask & ~unknown] == 1).all()


def test_nobody_is_asked_for_the_background():
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 4:] = 1
    record = Record(np.zeros((8, 8, 3), np.uint8), "x", labels=labels, names=("background", "cat", "dog"))
    for seed in SEEDS:
        e = make_example("semantic", record, np.random.default_rng(seed))
        names, _ = legend(e)
        assert names[-1] == "background" and "background" not in names[:-1] and e.valid.all()
        assert (e.choice[:, :4] == len(names) - 1).all()
    bare = replace(record, labels=np.full((8, 8), UNLABELED_8, np.uint8), names=())
    assert make_example("semantic", bare, np.random.default_rng(0)) is None


@pytest.mark.parametrize("task", BARE)
def test_a_record_that_knows_nothing_has_no_example(task):
    assert make_example(task, Record(np.zeros((8, 8, 3), np.uint8)), np.random.default_rng(0)) is None


def test_expressions_that_overlap_are_not_asked_together(record):
    twice = replace(record, expressions=record.expressions[:1] + tuple(
        replace(e, text="the same") for e in record.expressions[:1]))
    for seed in SEEDS:
        assert len(legend(make_example("referring", twice, np.random.default_rng(seed)))[0]) == 2


def test_depth_and_normals_decode_to_the_truth(record):
    e = make_example("depth", record, np.random.default_rng(0))
    depth = TASKS["depth"].decode(e.target, Request("depth")).depth
    assert np.allclose(depth, record.depth, rtol=1e-3) and e.valid.all() and (e.choice == FREE).all()
    e = make_example("normals", record, np.random.default_rng(0))
    normals = TASKS["normals"].decode(e.target, Request("normals")).normals
    assert np.allclose(normals, record.normals, atol=1e-3, equal_nan=True)
    assert not e.valid[0, 0] and e.choice[0, 0] == IGNORE and e.valid[5:].all()


def test_pictures_and_edits(record):
    rgb = record.rgb / 255
    prompts = {}
    for seed in SEEDS:
        e = make_example("edit", record, np.random.default_rng(seed))
        prompts[e.prompt.split()[0]] = e
    assert set(prompts) == {"Turn", "Mirror", "Make"}
    assert np.allclose(prompts["Turn"].target, rgb.mean(-1, keepdims=True), atol=1e-6)
    assert np.allclose(prompts["Mirror"].target, rgb[:, ::-1], atol=1e-6)


def test_a_picture_shows_what_its_prompt_tells_of(record):
    """Of few things of a hundredth of it or more, each is told of, in any order; what is smaller is not."""
    speck = Thing("mug", np.zeros((48, 64), bool), colour="pink")
    speck.mask[0, 0] = True
    told, first = Counter(), Counter()
    for seed in SEEDS:
        e = make_example("picture", replace(record, things=(*record.things, speck)), np.random.default_rng(seed))
        assert np.array_equal(e.target, record.rgb.astype(np.float32) / 255) and e.valid.all()
        found = re.findall(r"\ban? (?:(\w+) )?(box|ball|mug)", e.prompt)
        assert sorted(name for _, name in found) == sorted(t.name for t in record.things)
        told.update(found)
        first[found[0][1]] += 1
    colours = {(t.colour, t.name) for t in record.things}
    assert set(told) == colours | {("", "box"), ("", "ball")} and colours >= {("red", "box"), ("green", "ball")}
    assert sum(told[phrase] for phrase in colours) > 2 * (told["", "box"] + told["", "ball"])
    assert min(first.values()) > 5


def test_of_many_things_some_are_told_of(record):
    parts = np.arange(48 * 64).reshape(48, 64) * 5 // (48 * 64)
    many = replace(record, things=tuple(Thing(name, parts == i) for i, name in enumerate(NAMES)))
    told = [make_example("picture", many, np.random.default_rng(seed)).prompt for seed in range(100)]
    counts = [sum(f"a {name}" in prompt for name in NAMES) for prompt in told]
    assert set(counts) == {1, 2, MOST_TOLD} and all(any(f"a {n}" in p for p in told) for n in NAMES)


def test_things_without_a_colour_are_told_of_by_name(record):
    bare = replace(record, things=tuple(replace(t, colour="") for t in record.things))
    prompts = {make_example("picture", bare, np.random.default_rng(seed)).prompt for seed in SEEDS}
    told = [p.removeprefix("A picture of ").removeprefix("A photo of ") for p in prompts]
    assert {part for p in told for part in re.split(", | and ", p)} == {"a box", "a ball"}


@pytest.mark.parametrize(("phrases", "text"), [
    (["red mug"], "a red mug"), (["orange bowl", "bed"], "an orange bowl and a bed"),
    (["red mug", "orange bowl", "blue chair"], "a red mug, an orange bowl and a blue chair"),
])
def test_phrases_are_listed_as_people_do(phrases, text):
    assert listed(phrases) == text


def test_nothing_to_refer_to_is_no_example(sim_frame):
    empty = record_of(replace(sim_frame, instances=np.full((48, 64), 65535, np.uint16)))
    assert make_example("referring", empty, np.random.default_rng(0)) is None
    assert make_example("picture", empty, np.random.default_rng(0)) is None
    for task in ("semantic", "instance", "edit"):
        assert make_example(task, empty, np.random.default_rng(0)) is not None
