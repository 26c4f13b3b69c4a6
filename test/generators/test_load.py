"""Model directories: a good one loads silently, every bad one is one line that names the thing and the mend."""

import json
import logging.handlers
import shutil
import warnings

import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file, save_file

from vbanana_ros.errors import ModelError
from vbanana_ros.generators import load
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import check_weights, read_profile, write_profile

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(nano_folder, tmp_path):
    """A copy to break."""
    return shutil.copytree(nano_folder, tmp_path / "model")


def edit(folder, **changes):
    path = folder / "vbanana.json"
    profile = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in profile.items() if v is not ...}))


def said(folder, device="cpu"):
    with pytest.raises(ModelError) as raised:
        load_generator(folder, device)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    return str(raised.value)


def test_it_loads_without_a_word(folder, capfd):
    said = logging.handlers.BufferingHandler(100)  # diffusers keeps the standard error that it was imported with
    diffusers_logging.add_handler(said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator = load_generator(folder, "cpu")
    diffusers_logging.remove_handler(said)
    assert capfd.readouterr() == ("", "") and said.buffer == []
    assert generator.name == "tiny" and generator.capabilities.max_area == 48 * 64
    assert next(generator.pipeline.unet.parameters()).dtype == torch.float32
    assert generator.capabilities.tasks == ("depth", "normals", "semantic", "instance", "referring", "picture")


def test_the_profile_round_trips(folder):
    profile = read_profile(folder)
    before = (folder / "vbanana.json").read_text()
    write_profile(folder, profile)
    assert (folder / "vbanana.json").read_text() == before and read_profile(folder) == profile
    assert set(profile.sha256) == {WEIGHTS, "text_encoder/diffusion_pytorch_model.safetensors",
                                   "probe/model.safetensors"}


def test_one_checksum_stands_for_all_weights(folder):
    whole = check_weights(folder, read_profile(folder))
    edit(folder, sha256={})
    assert check_weights(folder, read_profile(folder)) == whole and len(whole) == 64


def test_a_missing_directory(tmp_path):
    text = said(tmp_path / "gone")
    assert "no model directory" in text and "gone" in text and "vbanana models" in text


def test_a_directory_without_a_profile(tmp_path):
    text = said(tmp_path)
    assert "has no vbanana.json" in text and str(tmp_path) in text


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"name": "x"}', "\xff", '{"name": "x", "colour": 1}'])
def test_a_broken_profile(folder, text):
    (folder / "vbanana.json").write_bytes(text.encode("latin-1"))
    assert "vbanana.json' is not a profile" in said(folder)


@pytest.mark.parametrize(("changes", "expected"), [
    ({"tasks": ["depth", "smell"]}, "unknown task 'smell'"),
    ({"depth_code": "inverse"}, "unknown depth code 'inverse'; known are"),
    ({"normals_axes": "left"}, "unknown normals axes 'left'"),
    ({"family": "flux9"}, "of family 'flux9'; known are nano"), ({"base": 3}, "must be strings"),
    ({"tasks": "depth"}, "tasks must be a list"), ({"tasks": None}, "tasks must be a list"),
    ({"picture_area": -1}, "not a whole number from 0 on"),
    ({"area": "big"}, "whole numbers above 0"), ({"steps": 0}, "whole numbers above 0"),
    ({"instance_decoder": [1]}, "instance_decoder must map"),
    ({"instance_decoder": {"area": 1}}, "unknown parameter 'area' of the instance decoder"),
    ({"manhattan": "yes"}, "manhattan is 'yes', not true or false"),
    ({"family": ["nano"]}, "must be strings"), ({"sha256": []}, "sha256 must map"),
    ({"license": ...}, "is not a profile"),
])
def test_a_profile_that_asks_for_the_unknown(folder, changes, expected):
    edit(folder, **changes)
    assert expected in said(folder)


def test_changed_missing_and_cut_weights(folder):
    weights = folder / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert "is corrupt (checksum differs); copy" in said(folder)
    weights.unlink()
    assert "is missing; copy" in said(folder)


@pytest.mark.parametrize("kept", [0, 5, 3000, -10])
def test_cut_weights_without_a_checksum(folder, kept):
    edit(folder, sha256={})
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:kept])
    assert "cannot be loaded" in said(folder)


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "text_encoder/config.json", WEIGHTS])
def test_other_files_that_are_missing(folder, name):
    edit(folder, sha256={})
    (folder / name).unlink()
    assert "cannot be loaded" in said(folder)


def test_weights_of_another_shape(folder):
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"key_dim": 8', '"key_dim": 4'))
    assert "cannot be loaded" in said(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_weights_of_an_earlier_nano(folder):
    weights = {name: tensor for name, tensor in load_file(folder / WEIGHTS).items() if name != "edges.nearness"}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    edit(folder, sha256=...)
    assert "lacks the weights 'edges.nearness': nano of an earlier version; tune it anew" in said(folder)


def test_a_gpu_that_is_not_there(folder):
    for device in ("cuda", "cuda:1"):
        text = said(folder, device)
        assert device in text and "use device auto or cpu" in text


@pytest.mark.parametrize("device", ["gpu", "cudax", "cuda:", "", "mps"])
def test_a_device_of_no_name(folder, device):
    assert f"unknown device {device!r}" in said(folder, device)


def test_auto_takes_what_there_is(folder):
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert load_generator(folder).pipeline.device.type == expected


def test_shipped_models_are_found_by_name_only(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(load, "SHIPPED", folder.parent)
    (folder.parent / "no model").mkdir()
    assert load.shipped() == [folder]
    assert load_generator("model", "cpu").name == "tiny"
    for name in (".", "..", "", "no model"):
        with pytest.raises(ModelError):
            load_generator(name, "cpu")
    monkeypatch.setattr(load, "SHIPPED", tmp_path / "gone")
    assert load.shipped() == []
