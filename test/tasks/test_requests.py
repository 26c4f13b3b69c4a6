"""What a user may ask, what is refused and how; and what all decoders have in common."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vbanana_ros.errors import RequestError
from vbanana_ros.results import Picture
from vbanana_ros.tasks import TASKS, Request, make_request
from vbanana_ros.tasks import base as base_module

REQUESTS = [make_request("depth"), make_request("normals"), make_request("semantic", ["cat", "dog"]),
            make_request("instance", ["cat"]), make_request("referring", ["the left cat"]),
            make_request("picture", text="a cat")]


def test_words_become_a_request():
    request = make_request("semantic", ["  cat   ears ", "dog"], ["light purple", "#80C000"], background="yellow")
    assert request == Request("semantic", ("cat ears", "dog"), ((191, 119, 246), (128, 192, 0)), (255, 255, 0))
    assert make_request("instance", ["mug"]).background == (0, 0, 0)
    assert make_request("instance", ["mug"], background="<88, 50, 82>").background == (88, 50, 82)
    assert make_request("picture", text=" a red cube ").text == "a red cube"
    assert make_request("depth", ["ignored"]) == Request("depth")


def test_missing_colours_are_chosen_apart_from_the_background():
    request = make_request("semantic", [str(i) for i in range(40)], background="red")
    everything = [*request.colors, request.background]
    assert min(math.dist(a, b) for i, a in enumerate(everything) for b in everything[:i]) >= 32


@pytest.mark.parametrize(("colors", "background"), [
    (["red"], (0, 0, 0)), (["black"], (255, 255, 255)), (["black", "white"], (128, 128, 128)),
    (["black", "white", "gray"], (255, 0, 0)),
])
def test_a_free_background_is_found(colors, background):
    assert make_request("referring", list("abc")[:len(colors)], colors).background == background


@pytest.mark.parametrize(("task", "kwargs", "message"), [
    ("smell", {}, "unknown task 'smell': use one of depth, normals, semantic, instance, referring, picture"),
    ("picture", {"text": "  "}, "needs a text"),
    ("semantic", {}, "at least one non-empty class"),
    ("referring", {"labels": ["a", " "]}, "at least one non-empty expression"),
    ("instance", {"labels": ["a", "b"]}, "one class a request, not 2"),
    ("semantic", {"labels": ["cat", "cat "]}, "class 'cat' is listed twice"),
    ("semantic", {"labels": [str(i) for i in range(256)]}, "at most 255"),
    ("semantic", {"labels": ["a", "b"], "colors": ["red"]}, "2 labels but 1 colours"),
    ("semantic", {"labels": ["a", "b"], "colors": ["red", "#f01010"]}, "'a' <255, 0, 0> and 'b' <240, 16, 16>"),
    ("semantic", {"labels": ["a"], "colors": ["red"], "background": "#f01010"}, "'background' <240, 16, 16>"),
    ("semantic", {"labels": ["a"], "colors": ["rde"]}, "unknown colour 'rde': did you mean 'red'?"),
])
def test_refusals_are_one_line_and_say_what_is_wrong(task, kwargs, message):
    with pytest.raises(RequestError) as error:
        make_request(task, **kwargs)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.task)
def test_decoders_take_float_images_only(request_):
    task = TASKS[request_.task]
    for wrong in (np.zeros((4, 4, 3), np.uint8), torch.zeros(4, 4, 3, dtype=torch.uint8)):
        with pytest.raises(TypeError, match="divide 8-bit images by 255"):
            task.decode(wrong, request_)
    for shape in ((4, 4), (4, 4, 4), (3, 4, 8)):
        with pytest.raises(ValueError, match="RGB image"):
            task.decode(np.zeros(shape, np.float32), request_)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.task)
def test_any_layout_and_float_type_decodes_alike_and_is_not_written_to(request_):
    task = TASKS[request_.task]
    rgb = (np.random.default_rng(0).integers(0, 9, (12, 10, 3)) / 8).astype(np.float32)
    rgb.setflags(write=False)
    kept = rgb.copy()
    expected = _arrays(task.decode(rgb, request_))
    flipped = np.ascontiguousarray(rgb[:, ::-1, ::-1])[:, ::-1, ::-1]
    for other in (flipped, rgb.astype(np.float64), rgb.astype(np.float16), torch.from_numpy(kept),
                  torch.from_numpy(kept).permute(2, 0, 1).contiguous().permute(1, 2, 0)):
        for a, b in zip(expected, _arrays(task.decode(other, request_)), strict=True):
            assert np.array_equal(a, np.asarray(b), equal_nan=a.dtype.kind == "f")
    assert np.array_equal(rgb, kept)


@pytest.mark.parametrize("request_", REQUESTS[:3] + REQUESTS[4:5], ids=lambda r: r.task)
def test_blocks_are_not_seen_in_the_result(request_, monkeypatch):
    rgb = np.random.default_rng(0).random((23, 17, 3), np.float32)
    whole = _arrays(TASKS[request_.task].decode(rgb, request_))
    monkeypatch.setattr(base_module, "_BLOCK", 100)
    for a, b in zip(whole, _arrays(TASKS[request_.task].decode(rgb, request_)), strict=True):
        assert np.allclose(a, b, rtol=1e-6, equal_nan=True)


def test_other_devices_get_one_block():
    assert list(base_module.blocks(torch.empty(10**6, 3, device="meta"))) == [slice(0, 10**6)]
    assert list(base_module.blocks(torch.empty(0, 3))) == []


def test_a_picture_is_its_own_answer():
    rgb = np.float32([[[-0.5, 0.5, 1.5]]])
    task, request = TASKS["picture"], REQUESTS[-1]
    assert task.prompt(request) == "a cat"
    assert task.decode(rgb, request).rgb.tolist() == [[[0, 0.5, 1]]]
    assert task.encode(Picture(rgb), request) is rgb


def _arrays(result):
    return [np.asarray(v) for v in vars(result).values() if isinstance(v, np.ndarray | torch.Tensor)]
