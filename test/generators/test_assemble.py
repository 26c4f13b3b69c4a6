"""Pipelines changed by a LoRA or a transformer paint what their parts paint; what does not fit is one line."""

import json
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from tiny_klein import tiny_klein
from tiny_kontext import tiny_kontext
from tiny_pix2pix import tiny_pix2pix

from vbanana_ros.errors import ModelError
from vbanana_ros.generators import weights
from vbanana_ros.generators.assemble import open_pipeline
from vbanana_ros.generators.flux2 import KleinGenerator
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import LORA, Profile, check_weights, read_profile, write_profile
from vbanana_ros.generators.write import write_denoiser, write_lora
from vbanana_ros.tasks import TASKS

FRAME = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue."]
PROFILE = Profile("tiny", "flux2", tuple(TASKS), "Apache-2.0", area=32 * 48, base="../klein")
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "to_qkv_mlp_proj"]
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


def paint(generator):
    return generator.generate(generator.encode_image(FRAME), generator.encode_prompts(PROMPTS), 2, seed=1)


def add_lora(pipeline, seed=0, name="transformer"):
    """A LoRA of random weights on the pipeline's denoiser, not yet fused; alpha is not its rank."""
    getattr(pipeline, name).add_adapter(LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS))
    torch.manual_seed(seed)
    for key, parameter in getattr(pipeline, name).named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(parameter, std=0.3)
    return pipeline


def edit(path, **changes):
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not ...}))


def said(folder):
    with pytest.raises(ModelError) as raised:
        load_generator(folder, "cpu")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
    return str(raised.value)


@pytest.fixture(scope="module")
def models(klein_folder, tmp_path_factory):
    """A folder with a base `klein`, and `lora` and `swap` that change it. Copy it before changing it."""
    root = tmp_path_factory.mktemp("changed")
    shutil.copytree(klein_folder, root / "klein")
    tuned = add_lora(Flux2KleinPipeline.from_pretrained(klein_folder, local_files_only=True))
    write_lora(root / "lora", tuned, replace(PROFILE, name="lora"))
    write_denoiser(root / "swap", tiny_klein(seed=7, single_layers=3).transformer, replace(PROFILE, name="swap"))
    return root


@pytest.fixture
def broken(models, tmp_path):
    """A copy of the folder, to break."""
    return shutil.copytree(models, tmp_path / "models")


@pytest.fixture
def offline(monkeypatch):
    """Whoever asks the network fails."""
    def refuse(*_, **__):
        raise AssertionError("asked the network")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_lora_paints_what_the_adapter_paints(models):
    unfused = add_lora(Flux2KleinPipeline.from_pretrained(models / "klein", local_files_only=True))
    fused, base = (load_generator(models / name, "cpu") for name in ("lora", "klein"))
    expected = paint(KleinGenerator(unfused, PROFILE, ""))
    assert np.abs(paint(fused) - expected).max() < 1e-5
    assert np.abs(paint(base) - expected).max() > 1e-2
    assert not any("lora" in name for name, _ in fused.painter.pipeline.transformer.named_parameters())
    assert len({model.weights for model in (fused, base)}) == 2


@pytest.mark.parametrize("make", [tiny_kontext, tiny_pix2pix])
def test_a_lora_is_added_to_the_weights_of_any_family(tmp_path, offline, make):
    base, tuned = make(), make()
    name = "unet" if hasattr(base, "unet") else "transformer"
    base.save_pretrained(tmp_path / "base")
    add_lora(tuned, name=name)
    write_lora(tmp_path / "lora", tuned, replace(PROFILE, base="../base"))
    found = open_pipeline(type(base), tmp_path / "lora", replace(PROFILE, base="../base"), "cpu", torch.float32)
    layers = [layer for layer, module in getattr(tuned, name).named_modules() if hasattr(module, "lora_A")]
    assert layers
    for layer in layers:
        trained, fused = getattr(tuned, name).get_submodule(layer), getattr(found, name).get_submodule(layer).weight
        change = trained.lora_B["default"].weight @ trained.lora_A["default"].weight * 5 / 3
        assert torch.allclose(fused, trained.base_layer.weight + change, atol=1e-5) and change.abs().max() > 0.1
    write_denoiser(tmp_path / "swap", getattr(make(seed=9), name), replace(PROFILE, base="../base"))
    swapped = open_pipeline(type(base), tmp_path / "swap", replace(PROFILE, base="../base"), "cpu", torch.float32)
    for key, weight in getattr(make(seed=9), name).state_dict().items():
        assert torch.equal(getattr(swapped, name).state_dict()[key], weight)


def test_a_transformer_replaces_the_bases(models):
    stock = Flux2KleinPipeline.from_pretrained(models / "klein", local_files_only=True)
    stock.transformer = tiny_klein(seed=7, single_layers=3).transformer
    swapped = load_generator(models / "swap", "cpu")
    assert np.array_equal(paint(swapped), paint(KleinGenerator(stock, PROFILE, "")))
    assert np.abs(paint(swapped) - paint(load_generator(models / "klein", "cpu"))).max() > 1e-2


def test_the_base_needs_no_transformer_where_it_is_replaced(broken):
    expected = load_generator(broken / "swap", "cpu")
    shutil.rmtree(broken / "klein" / "transformer")
    edit(broken / "klein" / "vbanana.json", sha256={})
    found = load_generator(broken / "swap", "cpu")
    assert np.array_equal(paint(found), paint(expected)) and found.weights == expected.weights


def test_a_directory_may_change_nothing_of_its_base(models, tmp_path):
    write_profile(tmp_path, replace(PROFILE, base=str(models / "klein")))
    found, base = load_generator(tmp_path, "cpu"), load_generator(models / "klein", "cpu")
    assert np.array_equal(paint(found), paint(base)) and found.weights == base.weights


def test_a_whole_pipeline_may_have_a_lora(broken):
    shutil.copy(broken / "lora" / LORA, broken / "klein")
    assert np.array_equal(paint(load_generator(broken / "klein", "cpu")), paint(load_generator(
        shutil.copytree(broken / "klein", broken / "again"), "cpu")))
    assert "is changed by a base or a LoRA of its own" in said(broken / "lora")


def test_a_safety_checker_is_not_looked_for(broken):
    edit(broken / "klein" / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    load_generator(broken / "klein", "cpu")


def test_it_never_asks_the_network(models, offline):
    for name in ("klein", "lora", "swap"):
        load_generator(models / name, "cpu")


def test_it_loads_without_a_word(models, capfd):
    load_generator(models / "lora", "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["text_encoder", "vae", "tokenizer", "scheduler", "transformer"])
def test_a_folder_that_is_missing_is_named(broken, name):
    edit(broken / "klein" / "vbanana.json", sha256={})
    shutil.rmtree(broken / "klein" / name)
    for model in ("klein", "lora"):
        assert f"is incomplete: folder {name!r} is missing; copy" in said(broken / model)


@pytest.mark.parametrize(("name", "expected"), [
    ("transformer/config.json", "'transformer/config.json' is missing"),
    (TRANSFORMER, "no *.safetensors in folder 'transformer'"),
    ("text_encoder/model.safetensors", "no *.safetensors in folder 'text_encoder'"),
    ("model_index.json", "is no whole pipeline: it has no model_index.json"),
])
def test_a_file_that_is_missing_is_named(broken, name, expected):
    edit(broken / "klein" / "vbanana.json", sha256={})
    (broken / "klein" / name).unlink()
    assert expected in said(broken / "klein")


def test_a_shard_that_is_missing_is_named(broken):
    folder = broken / "klein" / "text_encoder"
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "'text_encoder/model-00002-of-00002.safetensors' is missing" in said(broken / "klein")


@pytest.mark.parametrize("kept", [0, 5, 100, 3000, -10])
@pytest.mark.parametrize("name", [
    f"swap/{TRANSFORMER}", f"lora/{LORA}", "klein/vae/diffusion_pytorch_model.safetensors",
])
def test_half_copied_weights(broken, name, kept):
    for model in ("klein", "lora", "swap"):
        edit(broken / model / "vbanana.json", sha256={})
    (broken / name).write_bytes((broken / name).read_bytes()[:kept])
    assert "is no whole safetensors file" in said(broken / ("swap" if name.startswith("swap") else "lora"))


def test_a_pointer_in_place_of_weights(broken):
    edit(broken / "klein" / "vbanana.json", sha256={})
    (broken / "klein" / TRANSFORMER).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 7751105712\n")
    text = said(broken / "klein")
    assert "is a Git LFS pointer" in text and "git lfs pull" in text and TRANSFORMER in text


def test_weights_of_the_base_that_have_changed(broken):
    path = broken / "klein" / TRANSFORMER
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "is corrupt (checksum differs)" in said(broken / "lora")
    load_generator(broken / "swap", "cpu")  # which does not read them


def test_a_base_that_is_missing(broken):
    edit(broken / "lora" / "vbanana.json", base="../gone")
    text = said(broken / "lora")
    assert "the base of" in text and "gone'" in text and "correct base in vbanana.json" in text


def test_a_base_that_is_no_whole_pipeline(broken):
    edit(broken / "lora" / "vbanana.json", base="../swap")
    assert "is changed by a base" in said(broken / "lora")
    edit(broken / "lora" / "vbanana.json", base="../swap/transformer")
    assert "is no whole pipeline" in said(broken / "lora")


def test_a_directory_of_another_family(broken, nano_folder):
    shutil.copy(broken / "klein" / "vbanana.json", shutil.copytree(nano_folder, broken / "nano"))
    edit(broken / "nano" / "vbanana.json", sha256={})
    text = said(broken / "nano")
    assert "holds a NanoPipeline, but family 'flux2' runs a Flux2KleinPipeline" in text
    edit(broken / "klein" / "vbanana.json", family="nano")
    assert "cannot be loaded" in said(broken / "klein")


@pytest.mark.parametrize(("other", "expected"), [
    (tiny_klein(heads=4), "has 32 channels there and 64 here"),
    (tiny_klein(layers=0), "this one has no 'transformer.transformer_blocks.0."),
])
def test_a_lora_for_another_base(broken, other, expected):
    shutil.rmtree(broken / "klein" / "transformer")
    other.transformer.save_pretrained(broken / "klein" / "transformer")
    edit(broken / "klein" / "vbanana.json", sha256={})
    text = said(broken / "lora")
    assert "is a LoRA for another base" in text and expected in text and "name the base" in text


@pytest.mark.parametrize("keys", [["weight"], ["unet.to_q.lora_A.weight"], ["transformer.proj_out.norm"]])
def test_a_lora_that_is_none(broken, keys):
    save_file({key: torch.zeros(2, 2) for key in keys}, broken / "lora" / LORA)
    edit(broken / "lora" / "vbanana.json", sha256={})
    assert any(words in said(broken / "lora") for words in ("holds no LoRA weights", "for another base", "is no LoRA"))


@pytest.mark.parametrize(("changes", "expected"), [
    ({"joint_attention_dim": 24}, "joint_attention_dim is 24, in"), ({"in_channels": 8}, "in_channels is 8, in"),
    ({"guidance_embeds": True}, "guidance_embeds is True"),
    ({"_class_name": "FluxTransformer2DModel"}, "_class_name is FluxTransformer2DModel"),
])
def test_a_transformer_that_does_not_fit(broken, changes, expected):
    edit(broken / "swap" / "transformer" / "config.json", **changes)
    text = said(broken / "swap")
    assert "does not fit its base" in text and expected in text and "name the base" in text


def test_a_transformer_without_some_of_its_weights(broken):
    edit(broken / "swap" / "vbanana.json", sha256={})
    kept = load_file(broken / "swap" / TRANSFORMER)
    gone = kept.pop("proj_out.weight")
    save_file(kept, broken / "swap" / TRANSFORMER, {"format": "pt"})
    assert "lacks the weights 'proj_out.weight'" in said(broken / "swap")
    save_file(kept | {"proj_out.weight": gone[:, :-1].contiguous()}, broken / "swap" / TRANSFORMER, {"format": "pt"})
    assert "cannot be loaded" in said(broken / "swap")


def test_a_unet_for_a_base_with_a_transformer(broken):
    (broken / "swap" / "transformer").rename(broken / "swap" / "unet")
    edit(broken / "swap" / "vbanana.json", sha256={})
    assert "replaces a unet, but base" in said(broken / "swap")


def test_large_weights_are_told_apart_by_samples(models, monkeypatch):
    profile = read_profile(models / "swap")
    small = check_weights(models / "swap", profile)
    monkeypatch.setattr(weights, "LARGE", 1)
    large = check_weights(models / "swap", profile)
    assert len(large) == 64 and large != small
    assert check_weights(models / "swap", replace(profile, sha256={})) == large
    assert check_weights(models / "lora", read_profile(models / "lora")) != large


def test_large_weights_are_read_whole_only_where_a_checksum_is_known(models, monkeypatch):
    monkeypatch.setattr(weights, "LARGE", 1)
    read = []
    monkeypatch.setattr(weights, "sha256_of", lambda path: read.append(path.name))
    check_weights(models / "swap", replace(PROFILE, base=""))
    assert read == []


def test_one_changed_tensor_is_another_model(models, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGE", 1)
    tensors = load_file(models / "swap" / TRANSFORMER)
    names = [weights.check_file(models / "swap" / TRANSFORMER)]
    for name in ("proj_out.weight", "transformer_blocks.0.attn.to_q.weight"):
        save_file(tensors | {name: tensors[name] + 1}, tmp_path / "changed.safetensors", {"format": "pt"})
        names.append(weights.check_file(tmp_path / "changed.safetensors"))
    assert len(set(names)) == 3


def test_a_directory_appears_whole_or_not_at_all(broken, monkeypatch):
    with pytest.raises(ModelError, match="the base of"):
        write_denoiser(broken / "new", tiny_klein().transformer, replace(PROFILE, base="../gone"))
    before = (broken / "swap" / TRANSFORMER).read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("vbanana_ros.generators.write.write_profile", fail)
    with pytest.raises(OSError):
        write_denoiser(broken / "swap", tiny_klein().transformer, PROFILE)
    assert (broken / "swap" / TRANSFORMER).read_bytes() == before and not (broken / "new").exists()
    monkeypatch.undo()
    write_denoiser(broken / "swap", tiny_klein().transformer, PROFILE)
    assert (broken / "swap" / TRANSFORMER).read_bytes() != before
    assert sorted(path.name for path in broken.iterdir()) == ["klein", "lora", "swap"]
