"""FLUX.2 klein as a student, of the real classes with tiny random weights: gradients, codes and pipeline agree."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_klein import pass_through, tiny_klein

from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import Profile, write_profile
from vbanana_ros.tasks import TASKS
from vbanana_ros.tuning.batches import Batches
from vbanana_ros.tuning.quiz import Quiz
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.scenes import save_frame, scene_path
from vbanana_ros.tuning.tune import make_student
from vbanana_ros.tuning.tuner import tune

SIZE = (16, 24)
TINY = {"size": SIZE, "images": 2, "pictures": 0, "warmup": 5, "precision": "fp32", "max_length": 320,
        "most_classes": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A klein whose VAE keeps what it encodes: sides in multiples of 2, tokens of 2x2 pixels."""
    folder = tmp_path_factory.mktemp("models") / "base"
    pipeline = tiny_klein(heads=3, head_dim=32, layers=1, single_layers=2, blocks=(32,))
    pass_through(pipeline.vae)
    pipeline.save_pretrained(folder, safe_serialization=True)
    write_profile(folder, Profile("base", "flux2", tuple(TASKS), "Apache-2.0", area=1024, picture_steps=4))
    return folder


@pytest.fixture
def handful(tmp_path, sim_frame):
    """A folder of four scenes to be told apart: things elsewhere, in other colours, darker with distance."""
    folder = tmp_path / "handful"
    folder.mkdir()
    for i, order in enumerate(([0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1])):
        maps = {name: np.roll(getattr(sim_frame, name)[::3, 8:56:2], 5 * i, 1)
                for name in ("depth", "normals", "classes", "instances")}
        hues = np.random.default_rng(7).uniform(60, 255, (256, 3))[maps["classes"]][..., order]
        rgb = hues * (1.2 / (1 + maps["depth"] / 4)).clip(0, 1)[..., None]
        save_frame(scene_path(folder, i, 0), replace(sim_frame, rgb=rgb.astype(np.uint8), **maps))
    return folder


def test_the_vae_keeps_an_image(base):
    pipeline = load_generator(base, "cpu").painter.pipeline
    image = 2 * torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        kept = pipeline.vae.decode(pipeline.vae.encode(image).latent_dist.mode(), return_dict=False)[0]
    assert (kept - image).abs().max() < 2e-3


def test_a_lora_overfits_a_handful_of_scenes(base, handful, feed, tmp_path):
    """Depth and legends of a few scenes by heart, through tuner, model directory, pipeline and decoders."""
    recipe = Recipe(**TINY | {"images": 8, "lora": 64, "rate": 1e-2, "ema": 0.9, "overfit": 1})
    fed = feed(handful, depth=1.0, semantic=1.0)
    student = make_student(str(base), recipe)
    tune(student, fed, tmp_path / "out", 180, check_every=60, workers=0)
    generator = load_generator(tmp_path / "out" / "model", "cpu")
    quiz = Quiz.of_batches(Batches(fed, recipe, student.collate, 0, student.tasks), 1)
    figures = quiz.scores(quiz.paint(generator)).value()
    assert figures["depth"]["delta1"] > 0.9 and figures["semantic"]["miou"] > 0.9
    before = quiz.scores(quiz.paint(load_generator(base, "cpu"))).value()
    assert before["depth"]["delta1"] < 0.5 and before["semantic"]["miou"] < 0.5


def test_only_the_lora_is_trained_and_written(base, scenes_folder, feed, tmp_path):
    student = make_student(str(base), Recipe(**TINY | {"lora": 4}))
    before = {k: v.clone() for k, v in student.state_dict().items()}
    tune(student, feed(scenes_folder, normals=1.0), tmp_path, 2, workers=0)
    changed = [name for name, value in student.state_dict().items() if not torch.equal(value, before[name])]
    assert changed and all("lora" in name for name in changed)
    assert {"attn.to_q", "attn.to_add_out", "ff.linear_in", "ff_context.linear_out", "attn.to_qkv_mlp_proj"} <= {
        name.partition("blocks.0.")[2].partition(".lora")[0] for name in changed}
    written = sorted(p.name for p in (tmp_path / "model").iterdir())
    assert written == ["README.md", "pytorch_lora_weights.safetensors", "vbanana.json"]
    profile = json.loads((tmp_path / "model" / "vbanana.json").read_text())
    assert profile["noise"] == "image" and profile["steps"] == 1 and profile["max_length"] == 320


@pytest.mark.parametrize("lora", [0, 4])
def test_what_is_written_paints_what_was_trained(base, scenes_folder, feed, tmp_path, lora):
    student = make_student(str(base), Recipe(**TINY | {"lora": lora}))
    tune(student, feed(scenes_folder), tmp_path, 3, workers=0)
    assert (tmp_path / "model" / "transformer").is_dir() == (lora == 0)
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    painted = [g.generate(g.encode_image(frame), g.encode_prompts(["Paint the depth."]))
               for g in (student.eval().generator(), load_generator(tmp_path / "model", "cpu"))]
    assert np.abs(painted[0] - painted[1]).max() < 1e-3


@pytest.mark.parametrize("recipe", [{"target": "flow"}, {"pictures": 4}, {"checkpointing": True}, {"log_depth": 1.0}])
def test_every_recipe_gives_gradients_to_every_adapter(base, scenes_folder, feed, recipe):
    student = make_student(str(base), Recipe(**TINY | {"lora": 2} | recipe)).train()
    terms = student(Batches(feed(scenes_folder, depth=1.0), student.recipe, student.collate, 0)[0])
    sum(terms.values()).backward()
    wanted = {"target": {"flow"}, "pictures": {"rgb", "picture", "edit"}, "checkpointing": {"rgb"},
              "log_depth": {"rgb", "log_depth"}}
    assert terms.keys() == wanted[[*recipe][0]]
    grown = {name: p.grad for name, p in student.named_parameters() if p.requires_grad and "lora_B" in name}
    assert len(grown) > 10 and all(grad is not None and grad.abs().max() > 0 for grad in grown.values())


def test_with_checkpointing_the_gradients_are_the_same(base, scenes_folder, feed):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        student = make_student(str(base), Recipe(**TINY | {"lora": 2, "checkpointing": checkpointing})).train()
        sum(student(Batches(feed(scenes_folder), student.recipe, student.collate, 0)[0]).values()).backward()
        gradients.append([p.grad for p in student.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_a_prompt_that_is_too_long_is_left_out(base, scenes_folder, feed):
    student = make_student(str(base), Recipe(**TINY | {"lora": 2}))
    student.check("Paint the depth.")
    with pytest.raises(InputError, match="tokens is longer than the 320 that the model reads"):
        student.check("a wall, " * 300)


def test_a_change_to_a_base_is_no_base(base, scenes_folder, feed, tmp_path):
    tune(make_student(str(base), Recipe(**TINY | {"lora": 2})), feed(scenes_folder), tmp_path, 1, workers=0)
    with pytest.raises(InputError, match="is itself a change to .*; start from that base"):
        make_student(str(tmp_path / "model"), Recipe(**TINY | {"lora": 2}))


def test_a_family_that_cannot_be_tuned_is_named(base, tmp_path):
    write_profile(tmp_path, Profile("other", "kontext", tuple(TASKS), "Apache-2.0", area=1024))
    with pytest.raises(ModelError, match="family 'kontext', which cannot be tuned yet; nano and flux2 can"):
        make_student(str(tmp_path), Recipe())
