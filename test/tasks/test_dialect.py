"""Dialects: a profile's own prompts, codes and axes; what is unknown is named with what is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.generators.profile import Profile
from vbanana_ros.results import DepthMap, Detection, Instances, NormalMap
from vbanana_ros.tasks import TASKS, dialect, make_request

PLAIN = Profile("banana", "flux2", tuple(TASKS), "Apache-2.0", 1 << 20)
REQUESTS = [make_request("depth"), make_request("normals"),
            make_request("semantic", ["cat", "dog"], ["red", "#80C000"]),
            make_request("instance", ["cat"], background="yellow"),
            make_request("referring", ["the left cat", "a dog"]), make_request("picture", text="a {cat}")]


def prompt(request, **written):
    return dialect(replace(PLAIN, prompts={request.task: written}))[request.task].prompt(request)


def test_a_model_that_says_nothing_speaks_the_papers():
    assert dialect() is TASKS
    spoken = dialect(PLAIN)
    assert list(spoken) == list(TASKS)
    for request in REQUESTS:
        assert spoken[request.task].prompt(request) == TASKS[request.task].prompt(request)
    assert "a {cat}" == spoken["picture"].prompt(REQUESTS[5])


def test_templates_are_filled():
    semantic, instance, referring = REQUESTS[2], REQUESTS[3], REQUESTS[4]
    assert prompt(REQUESTS[0], text="Depth.") == "Depth."
    assert dialect(replace(PLAIN, prompts={"depth": "Depth."}))["depth"].prompt(REQUESTS[0]) == "Depth."
    assert prompt(semantic, text="Paint {pairs}.") == (
        'Paint "cat": <255, 0, 0>, "dog": <128, 192, 0>, "background": <0, 0, 0>.')
    assert prompt(semantic, text="{pairs}; the rest {background:hex}", pair="{name} {color:hex}", between=" / ") == (
        "cat #ff0000 / dog #80c000; the rest #000000")
    assert prompt(instance, text="every {name} on {background:word}") == "every cat on yellow"
    assert prompt(referring, text="Segment: {pairs}", pair="{name} = {color:rgb}", first="{name} is {color:word}") == (
        "Segment: left cat is red, a dog = RGB(0, 255, 0), background = RGB(0, 0, 0)")
    assert prompt(REQUESTS[5], text="Draw {text}!") == "Draw a {cat}!"


@pytest.mark.parametrize(("task", "written", "said"), [
    ("depth", "{color}", "the prompt of depth names {color}; it has nothing to name"),
    ("semantic", "classes", "the prompt of semantic does not name {pairs}: 'classes'"),
    ("semantic", "{pairs.x}", "names {pairs.x}; it may name {pairs}, {background}"),
    ("semantic", "{pairs} {background:loud}", "names {background:loud}"), ("semantic", "{pairs!r}", "names {pairs!r}"),
    ("semantic", {"text": "{pairs}", "pair": "{name}"}, "does not name {color}"),
    ("semantic", {"text": "{pairs}", "peer": "x"}, "must be a text, or have texts for text, pair, first, between"),
    ("instance", "{name", "is no template"), ("instance", 3, "must be a text"), ("smell", "x", "unknown task 'smell'"),
])
def test_what_is_no_wording_is_refused(task, written, said):
    with pytest.raises(ValueError) as raised:
        dialect(replace(PLAIN, prompts={task: written}))
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(("changes", "said"), [
    ({"depth_code": "viridis"}, "unknown depth code 'viridis'; known are hilbert, gray, log-gray, inverse-gray"),
    ({"normals_axes": "+x+y+x"}, "unknown normals axes '+x+y+x'"), ({"normals_axes": "xyz"}, "as '-x+y+z' or '+x+y+z'"),
    ({"instance_background": "blak"}, "instance_background: unknown colour 'blak'"),
    ({"instance_decoder": {"area": 1}}, "unknown parameter 'area' of the instance decoder; known are tau, min_area"),
    ({"instance_decoder": {"tau": "14"}}, "tau of the instance decoder is '14', not a number from 0 on"),
    ({"instance_decoder": {"tau": True}}, "tau of the instance decoder is True"),
    ({"instance_decoder": {"merge_box": -1}}, "merge_box of the instance decoder is -1"),
])
def test_unknown_codes_are_named_with_the_known(changes, said):
    with pytest.raises(ValueError) as raised:
        dialect(replace(PLAIN, **changes))
    assert said in str(raised.value) and "\n" not in str(raised.value)


@given(st.permutations("xyz"), st.tuples(*[st.sampled_from("+-")] * 3), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_any_axes_paint_the_same_normals(axes, signs, seed):
    """Each channel grows with its axis of the painted frame, x right, y up, z back; what is decoded is the same."""
    task = dialect(replace(PLAIN, normals_axes="".join(map("".join, zip(signs, axes, strict=True)))))["normals"]
    normals = np.random.default_rng(seed).normal(size=(3, 4, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    painted = task.encode(NormalMap(normals, np.ones((3, 4), np.float32)), REQUESTS[1])
    frame = dict(zip("xyz", np.moveaxis(normals * np.float32([1, -1, -1]), -1, 0), strict=True))
    for channel, axis, sign in zip(np.moveaxis(painted, -1, 0), axes, signs, strict=True):
        assert np.allclose(2 * channel - 1, frame[axis] * (1 if sign == "+" else -1), atol=1e-5)
    decoded = task.decode(painted, REQUESTS[1])
    assert np.allclose(decoded.normals, normals, atol=1e-5) and decoded.normals.flags.c_contiguous


def test_the_papers_axes_under_their_old_name_are_the_papers_to_the_bit():
    rgb = np.random.default_rng(0).random((20, 30, 3), np.float32)
    for axes in ("right-up-back", "-x+y+z"):
        task = dialect(replace(PLAIN, normals_axes=axes))["normals"]
        result = task.decode(rgb, REQUESTS[1])
        assert result.normals.tobytes() == TASKS["normals"].decode(rgb, REQUESTS[1]).normals.tobytes()
        assert task.encode(result, REQUESTS[1]).tobytes() == TASKS["normals"].encode(result, REQUESTS[1]).tobytes()


def test_instances_on_the_models_own_background():
    request = make_request("instance", ["cat"], background="white")
    task = dialect(replace(PLAIN, instance_background="black", prompts={"instance": "All {name}s."}))["instance"]
    labels = np.full((20, 20), 65535, np.uint16)
    labels[5:15, 5:15] = 0
    cat = Detection(0, "cat", 1.0, (5, 5, 10, 10), 100, (255, 0, 0))
    truth = Instances(labels, (cat,), np.ones((20, 20), np.float32))
    painted = task.encode(truth, request)
    assert painted[0, 0].tolist() == [0, 0, 0] and task.prompt(request) == "All cats."
    found = task.decode(painted, request)
    assert np.array_equal(found.labels, labels) and len(found.detections) == 1
    assert len(TASKS["instance"].decode(painted, request).detections) == 2  # white was asked, so black is a thing
    spoken = dialect(replace(PLAIN, instance_background="black"))["instance"].prompt(request)
    assert spoken.endswith("Background is RGB(0, 0, 0).")


def test_instances_by_the_models_own_decoder():
    """Two things in one colour, a box of 10 and one of 4 pixels a side, in a joint box of 25 x 10."""
    request = make_request("instance", ["cat"])
    painted = np.zeros((20, 40, 3), np.float32)
    painted[5:15, 5:15] = painted[5:9, 26:30] = (1, 0, 0)
    painted[17:20, 5:9] = (1, 0, 0)  # too small for an instance, but part of one
    for decoder, areas in (({"merge_box": 2.0}, [112, 16]), ({"merge_box": 2.0, "min_instance": 0.03}, [112]),
                           ({"merge_box": 2.0, "min_area": 0.03}, [100]), ({"min_instance": 0.03}, [128])):
        task = dialect(replace(PLAIN, instance_decoder=decoder))["instance"]
        assert [d.area for d in task.decode(painted, request).detections] == areas


@pytest.mark.parametrize(("code", "metric"), [("hilbert", True), ("gray", True), ("log-gray", True),
                                              ("inverse-gray", False)])
def test_every_code_says_whether_it_is_metric(code, metric):
    task = dialect(replace(PLAIN, depth_code=code))["depth"]
    depth = np.float32([[1, 2], [4, 8]])
    result = task.decode(task.encode(DepthMap(depth, depth), REQUESTS[0]), REQUESTS[0])
    assert task.metric == result.metric == metric
    assert (np.diff(result.depth.ravel()) > 0).all()  # larger is farther in all of them
