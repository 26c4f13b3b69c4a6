"""Known checkpoints: each is told by its files, and listed with all that is known of it."""

import json
import shutil

import pytest

from vbanana_ros.errors import ModelError
from vbanana_ros.generators import load
from vbanana_ros.generators.catalogue import print_models
from vbanana_ros.generators.known import find_profile, known
from vbanana_ros.generators.load import load_generator
from vbanana_ros.tasks import TASKS

KLEIN_4B = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680}
KLEIN_9B = {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32, "joint_attention_dim": 12288}
QWEN = {"num_layers": 60, "num_attention_heads": 24, "joint_attention_dim": 3584}
KONTEXT = {"num_layers": 19, "num_single_layers": 38, "joint_attention_dim": 4096, "guidance_embeds": True}
KLEIN = {"_class_name": "Flux2KleinPipeline"}
DISTILLED = KLEIN | {"is_distilled": True}


def put(folder, index, denoiser=None, part="transformer"):
    (folder / part).mkdir(parents=True)
    if index is not None:
        (folder / "model_index.json").write_text(json.dumps(index))
    if denoiser is not None:
        (folder / part / "config.json").write_text(json.dumps(denoiser))
    return folder


@pytest.mark.parametrize(("name", "folder", "index", "denoiser"), [
    ("FLUX.2-klein-4B", "model", DISTILLED, KLEIN_4B),
    ("FLUX.2-klein-base-4B", "model", KLEIN | {"is_distilled": False}, KLEIN_4B),
    ("FLUX.2-klein-base-4B", "FLUX.2-klein-4B", KLEIN, KLEIN_4B),
    ("FLUX.2-klein-9B", "model", DISTILLED, KLEIN_9B), ("FLUX.2-klein-base-9B", "model", KLEIN, KLEIN_9B),
    ("FLUX.2-klein-9b-kv", "FLUX.2-klein-9b-kv", DISTILLED, KLEIN_9B),
    ("FLUX.2-klein-9b-kv", "my-kv", {"_class_name": "Flux2KleinKVPipeline"}, KLEIN_9B),
    ("Open-Vision-Banana", "Open-Vision-Banana", None, KLEIN_9B),
    ("Open-Vision-Banana-4B", "open_vision_banana", None, KLEIN_4B),
    ("Qwen-Image-Edit-2509", "model", {"_class_name": "QwenImageEditPlusPipeline"}, QWEN),
    ("Qwen-Image-Edit-2511", "model", {"_class_name": "QwenImageEditPlusPipeline"}, QWEN | {"zero_cond_t": True}),
    ("FLUX.1-Kontext-dev", "model", {"_class_name": "FluxKontextPipeline"}, KONTEXT),
])
def test_a_checkpoint_is_told_by_its_files(tmp_path, name, folder, index, denoiser):
    assert find_profile(put(tmp_path / folder, index, denoiser)).name == name


def test_a_unet_is_told_too(tmp_path):
    index = {"_class_name": "StableDiffusionInstructPix2PixPipeline"}
    folder = put(tmp_path / "model", index, {"in_channels": 8, "cross_attention_dim": 768}, "unet")
    assert find_profile(folder).family == "instruct_pix2pix"


def test_its_own_profile_comes_first(klein_folder):
    assert find_profile(klein_folder).name == "klein"


@pytest.mark.parametrize(("index", "denoiser", "found"), [
    (KLEIN, KLEIN_9B | {"num_layers": 9}, "found a Flux2KleinPipeline with num_layers 9, num_single_layers 24"),
    ({"_class_name": "FluxPipeline"}, KONTEXT, "found a FluxPipeline with num_layers 19"),
    (KLEIN, None, "found a Flux2KleinPipeline without a transformer"),
    (None, KLEIN_9B, "found a transformer without a base with num_layers 8"),
    (None, None, "found no model_index.json"),
])
def test_an_unknown_directory_is_described(tmp_path, index, denoiser, found):
    folder = put(tmp_path / "model", index, denoiser)
    with pytest.raises(ModelError) as raised:
        load_generator(folder, "cpu")
    text = str(raised.value)
    assert "has no vbanana.json and is none of the known models" in text and found in text and str(folder) in text
    assert "\n" not in text and "add a vbanana.json" in text


def test_a_lora_alone_is_described(tmp_path):
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="found a LoRA without a base"):
        find_profile(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_broken_files_are_no_match(tmp_path, text):
    folder = put(tmp_path / "model", DISTILLED)
    (folder / "transformer" / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match="none of the known models"):
        find_profile(folder)


def test_a_known_directory_that_is_partial_is_told_so(tmp_path):
    folder = put(tmp_path / "model", DISTILLED | {"vae": ["diffusers", "AutoencoderKLFlux2"],
                                                  "transformer": ["diffusers", "Flux2Transformer2DModel"]}, KLEIN_4B)
    with pytest.raises(ModelError, match=r"is incomplete: no \*\.safetensors in folder 'transformer'"):
        load_generator(folder, "cpu")


def test_a_model_over_a_base_names_the_base_that_is_missing(tmp_path):
    folder = put(tmp_path / "Open-Vision-Banana", None, KLEIN_9B)
    with pytest.raises(ModelError, match="FLUX.2-klein-base-9B'; put it there"):
        load_generator(folder, "cpu")


def test_every_known_model_is_complete():
    models = known()
    names = [one.profile.name for one in models]
    assert len(set(names)) == len(names) == 11
    for one in models:
        profile = one.profile
        assert profile.family in load.FAMILIES and set(profile.tasks) <= set(TASKS) and profile.license
        assert one.tuned or "Untuned" in profile.about
        assert 0 < one.download_gb < 100 and 0 < one.memory_gb < 100
        assert not one.fetch or one.fetch.startswith(f"hf download {one.repo} --local-dir models/{profile.name}")
        assert not profile.base or profile.base.removeprefix("../") in names


def test_the_list_reads_well_in_a_pipe(nano_folder, monkeypatch, capsys):
    monkeypatch.setattr(load, "SHIPPED", nano_folder.parent)
    print_models()
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "\x1b" not in out and str(nano_folder) in out
    assert rows["model"].split() == ["model", "licence", "download", "GPU", "memory", "steps", "tasks"]
    table = [line.split("  ") for line in out.splitlines() if line.startswith("FLUX.2-klein-4B  ")][0]
    assert [cell.strip() for cell in table if cell.strip()] == [
        "FLUX.2-klein-4B", "Apache-2.0", "16 GB", "18 GB", "4", "all, untuned"]
    for one in known():
        assert one.fetch in out and one.profile.about in out
        assert sum(line.startswith(one.profile.name + "  ") for line in out.splitlines()) == 2


def test_the_fetched_part_of_a_model_is_enough(klein_folder, tmp_path):
    """The fetch lines leave single-file checkpoints out; where they are, they are not read."""
    folder = shutil.copytree(klein_folder, tmp_path / "klein")
    expected = load_generator(folder, "cpu").weights
    (folder / "flux-2-klein-4b.safetensors").write_bytes(b"half a file")
    assert load_generator(folder, "cpu").weights == expected
