"""The parameters of speed: what `auto` comes to, and that each does what it says on a tiny klein."""

import logging
import sys
from dataclasses import fields

import numpy as np
import pytest
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from vbanana_ros.errors import ModelError, RequestError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.speed import WORKING, Speed, offload
from vbanana_ros.params import FIXED, Params, with_values

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
GIB = 1 << 30


def paint(klein, prompts=("Paint the depth.",)):
    return klein.generate(klein.encode_image(FRAME), klein.encode_prompts(prompts), 2)


@pytest.mark.parametrize("name, value",
                         [("dtype", "int4"), ("compile", "yes"), ("quantize", "fp4"), ("offload", "disk")])
def test_an_unknown_word_is_refused(name, value):
    with pytest.raises(RequestError, match=f"{name} must be one of .*, not '{value}'"):
        Speed(**{name: value})


@pytest.mark.parametrize("free, chosen", [(24, "none"), (16, "text"), (12, "text"), (10, "model"), (None, "none")])
def test_auto_offloads_what_the_gpu_does_not_hold(free, chosen):
    """klein-4B: 8 GiB of text encoder and 8 of the rest, 4 to work with."""
    assert WORKING == 4 * GIB and offload("auto", 8 * GIB, 8 * GIB, None if free is None else free * GIB) == chosen


def test_what_was_asked_for_is_kept_where_there_is_a_gpu():
    assert offload("model", 1, 1, 80 * GIB) == "model" and offload("text", 1, 1, None) == "none"


def test_what_was_picked_is_logged(klein_folder, caplog):
    with caplog.at_level(logging.INFO, "vbanana_ros"):
        load_generator(klein_folder, "cpu", Speed(dtype="bfloat16"))
    assert "on cpu in bfloat16: compile none, quantize none, attention auto, offload none" in caplog.text


def test_an_attention_backend_is_this_models_alone(klein_folder):
    before = _AttentionBackendRegistry.get_active_backend()
    load_generator(klein_folder, "cpu", Speed(attention="_native_math"))
    assert _AttentionBackendRegistry.get_active_backend() == before


def test_an_attention_backend_that_cannot_be_used_is_refused(klein_folder):
    for backend, reason in [("no_such", "cannot be used"), ("flash_hub", "would be downloaded")]:
        with pytest.raises(ModelError, match=f"attention backend '{backend}' {reason}"):
            load_generator(klein_folder, "cpu", Speed(attention=backend))


def test_a_missing_torchao_is_named(klein_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ModelError, match="quantize: float8 needs the package 'torchao'; pip install torchao"):
        load_generator(klein_folder, "cpu", Speed(quantize="float8"))


def test_the_parameters_are_the_nodes_own():
    assert Params().speed() == Speed()
    asked = with_values(Params(), {"dtype": "float16", "compile": "default", "max_sequence_length": 128})
    assert asked.speed() == Speed(dtype="float16", compile="default", max_sequence_length=128)
    assert {field.name for field in fields(Speed)} <= set(FIXED)
    with pytest.raises(RequestError, match="here.yaml: offload must be one of auto, none, text, model, not 'disk'"):
        with_values(Params(), {"offload": "disk"}, "here.yaml")
