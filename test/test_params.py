"""Parameters: one form in ROS files, in flags and on the node; every mistake is named with its mend."""

from pathlib import Path

import pytest

from vbanana_ros.errors import RequestError
from vbanana_ros.params import (
    DESCRIPTIONS,
    FIXED,
    NAMES,
    Live,
    Params,
    defaults,
    live,
    prompted,
    read_params,
    with_values,
)

CONFIG = Path(__file__).resolve().parents[1] / "config" / "perception.yaml"


def read(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return read_params(path)


@pytest.mark.parametrize("node", ["/**", "perception_node", "/perception_node", "/robot/perception_node",
                                  "/**/perception_node"])
def test_every_form_of_the_nodes_name_is_understood(tmp_path, node):
    assert read(tmp_path, f"{node}:\n  ros__parameters:\n    seed: 7\n").seed == 7


def test_nested_and_dotted_names_are_the_same(tmp_path):
    nested = read(tmp_path, "/**:\n  ros__parameters:\n    semantic:\n      classes: [mug]\n      background: red\n")
    dotted = read(tmp_path, "/**:\n  ros__parameters:\n    semantic.classes: [mug]\n    semantic.background: red\n")
    assert nested == dotted
    assert nested.semantic.names == ("mug",) and nested.semantic.background == "red"


def test_the_nodes_own_values_win_and_other_nodes_do_not_count(tmp_path):
    text = ("perception_node: {ros__parameters: {seed: 2}}\n/**: {ros__parameters: {seed: 1, stride: 3}}\n"
            "camera: {ros__parameters: {seed: 9, exposure: 1}}\n")
    params = read(tmp_path, text)
    assert (params.seed, params.stride) == (2, 3)


def test_an_empty_section_means_the_defaults(tmp_path):
    assert read(tmp_path, "/**:\n  ros__parameters:\n") == Params()


def test_parameters_of_every_ros_node_do_not_disturb(tmp_path):
    text = "/**: {ros__parameters: {use_sim_time: true, qos_overrides: {/clock: {depth: 1}}}}"
    assert read(tmp_path, text) == Params()


def test_the_shipped_file_is_complete_and_can_be_asked():
    params = read_params(CONFIG)
    text = CONFIG.read_text()
    assert all(name.rpartition(".")[2] + ":" in text for name in NAMES)
    tasks = [r.task for r in params.requests()]
    assert tasks == ["depth", "normals", "semantic", *["instance"] * len(params.instance.names), "referring"]


@pytest.mark.parametrize(("text", "said"), [
    ("", "has no 'ros__parameters'"), ("- a\n- b\n", "has no 'ros__parameters'"), ("seed: 3", "has no 'ros__param"),
    ("/**: {ros__parameters: [1, 2]}", "has no 'ros__parameters'"), ("/**: [", "is not a parameter file"),
    ("other: {ros__parameters: {seed: 1}}", "has no 'ros__parameters'"), ("\x00", "is not a parameter file"),
])
def test_a_file_that_is_none_is_named(tmp_path, text, said):
    with pytest.raises(RequestError, match=said) as raised:
        read(tmp_path, text)
    assert "params.yaml" in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(RequestError, match="no parameter file .*gone.yaml"):
        read_params(tmp_path / "gone.yaml")
    with pytest.raises(RequestError, match="is not a parameter file"):
        read_params(tmp_path)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("seed", "3", "seed must be a whole number, not '3'"), ("seed", True, "a whole number"),
    ("seed", 1.5, "a whole number"), ("model", 3, "model must be a string"), ("tasks", "depth", "a list of strings"),
    ("semantic.classes", ["mug", True], "a list of strings"), ("semantic.background", ["red"], "a string"),
    ("max_range", "far", "max_range must be a number"), ("stride", 0, "stride must be 1 or more"),
    ("seed", -1, "seed must be 0 or more"), ("steps", -1, "steps must be 0 or more"),
    ("min_range", float("nan"), "min_range must be 0 or more"), ("max_range", 0.05, "must be above min_range"),
])
def test_wrong_values_are_named(name, value, said):
    with pytest.raises(RequestError, match=said) as raised:
        with_values(Params(), {name: value}, "some file")
    assert str(raised.value).startswith("some file: ")


@pytest.mark.parametrize(("name", "said"), [
    ("sead", "did you mean 'seed'"), ("semantic.class", "did you mean 'semantic.classes'"),
    ("referring.classes", "unknown parameter 'referring.classes'"), ("zzz", "config/perception.yaml lists them all"),
    ("semantic", "unknown parameter"),
])
def test_unknown_names_are_named_with_the_nearest(name, said):
    with pytest.raises(RequestError, match=said):
        with_values(Params(), {name: 1})


def test_an_integer_is_a_fine_float():
    assert with_values(Params(), {"max_range": 9}).max_range == 9.0


def test_votes_and_smoothing(tmp_path):
    params = read(tmp_path, "/**: {ros__parameters: {votes: 5, depth: {smoothing: 0.5}}}")
    assert (params.votes, params.depth_smoothing) == (5, 0.5)
    for values, said in (({"votes": 0}, "votes must be 1 or more"), ({"votes": 65}, "votes must be 1 to 64"),
                         ({"depth.smoothing": -1.0}, "depth.smoothing must be 0 or more"),
                         ({"depth_smoothing": 1.0}, "did you mean 'depth.smoothing'")):
        with pytest.raises(RequestError, match=said):
            with_values(Params(), values)


def test_both_ranges_may_move_at_once():
    params = with_values(Params(), {"min_range": 40, "max_range": 50})
    assert (params.min_range, params.max_range) == (40, 50)


def test_requests_follow_tasks_and_split_the_classes_of_instance():
    params = with_values(Params(), {"tasks": ["instance", "depth"], "instance.classes": ["mug", "box"]})
    assert [(r.task, r.labels) for r in params.requests()] == [
        ("instance", ("mug",)), ("instance", ("box",)), ("depth", ())]


@pytest.mark.parametrize(("values", "said"), [
    ({"tasks": ["dept"]}, "unknown task 'dept'"), ({"tasks": []}, "no task asked for"),
    ({"tasks": ["instance"], "instance.classes": []}, "needs at least one class"),
    ({"tasks": ["picture"]}, "needs a text"), ({"semantic.colors": ["red"]}, "6 labels but 1 colours"),
    ({"semantic.classes": ["a"], "semantic.colors": ["redd"]}, "unknown colour 'redd'"),
    ({"semantic.classes": ["a", "b"], "semantic.colors": ["red", "#ff0001"]}, "too near"),
])
def test_what_cannot_be_asked_is_named(values, said):
    with pytest.raises(RequestError, match=said):
        with_values(Params(), values).requests()


def test_every_parameter_of_the_node_is_described_and_in_the_shipped_file_with_a_comment():
    text = CONFIG.read_text()
    assert set(defaults()) == set(DESCRIPTIONS) and set(FIXED) < set(DESCRIPTIONS)
    for name in defaults():
        lines = [line for line in text.splitlines() if line.strip().startswith(name.rpartition(".")[2] + ": ")]
        assert lines and all("#" in line for line in lines), name
        assert all(("configure" in line or "read at start" in line) == (name in FIXED) for line in lines), name


def test_the_defaults_are_those_of_the_classes():
    values = defaults()
    assert with_values(Params(), values) == Params() and live(values) == Live()


def test_the_nodes_own_parameters_are_read():
    own = live({"cameras": ["front", "rear"], "image_transport": "compressed", "max_rate.semantic": 1,
                "autostart": False, "seed": 3})
    assert (own.cameras, own.image_transport, own.autostart) == (("front", "rear"), "compressed", False)
    assert own.max_rate["semantic"] == 1.0 and own.max_rate["depth"] == 0.0


@pytest.mark.parametrize(("values", "said"), [
    ({"cameras": ["a", "a"]}, "cameras has 'a'"), ({"cameras": ["a/b"]}, "letters, digits"),
    ({"cameras": "front"}, "a list of strings"), ({"image_transport": "theora"}, "raw or compressed, not 'theora'"),
    ({"max_rate.depth": -1.0}, "0 or more, not -1.0"), ({"max_rate.depth": 2000.0}, "0 to 1000, not 2000.0"),
    ({"max_rate.depth": "fast"}, "a number"),
])
def test_wrong_values_of_the_nodes_own_are_named(values, said):
    with pytest.raises(RequestError, match=said):
        live(values)


@pytest.mark.parametrize(("prompt", "values"), [
    ({"task": "semantic", "classes": ["mug"], "colors": ["red"]},
     {"semantic.classes": ["mug"], "semantic.colors": ["red"]}),
    ({"task": "semantic", "classes": ["mug"]}, {"semantic.classes": ["mug"], "semantic.colors": []}),
    ({"task": "instance", "classes": ["mug"]},
     {"instance.classes": ["mug"], "tasks": ["depth", "semantic", "instance"]}),
    ({"task": "referring", "classes": ["the red mug"]},
     {"referring.expressions": ["the red mug"], "referring.colors": [], "tasks": ["depth", "semantic", "referring"]}),
    ({"task": "picture", "text": "a mug"}, {"picture": "a mug", "tasks": ["depth", "semantic", "picture"]}),
    ({"task": "depth"}, {}),
])
def test_a_prompt_means_parameters(prompt, values):
    assert prompted(("depth", "semantic"), **prompt) == values


@pytest.mark.parametrize(("prompt", "said"), [
    ({"task": "dept"}, "unknown task 'dept'"), ({"task": "depth", "classes": ["mug"]}, "no use for classes"),
    ({"task": "instance", "classes": ["mug"], "colors": ["red"]}, "no use for colors"),
    ({"task": "semantic", "classes": ["mug"], "text": "mug"}, "no use for text"),
])
def test_a_prompt_with_words_of_no_use_is_refused(prompt, said):
    with pytest.raises(RequestError, match=said):
        prompted((), **prompt)
