"""bfloat16 where it is fast: the devices that have it, and a recipe that asks for it."""

from types import MappingProxyType

import pytest
import torch

from vbanana_ros.generators.precision import multiplies_bf16
from vbanana_ros.tuning.recipe import Recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(("able", "fast"), [
    ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False), ({"avx512_bf16": True}, True),
    ({"amx_bf16": True, "avx512_bf16": False}, True), ({"neon": True, "bf16": True}, True), ({}, False),
])
def test_processors(monkeypatch, able, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(able), raising=False)
    assert multiplies_bf16(CPU) is fast
    assert [Recipe(precision=p).in_bf16(CPU) for p in ("auto", "bf16", "fp32")] == [fast, True, False]


def test_a_torch_that_does_not_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not multiplies_bf16(CPU)


@pytest.mark.parametrize("native", [True, False])
def test_gpus_that_emulate_it_have_it_not(monkeypatch, native):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert multiplies_bf16(torch.device("cuda")) is native
