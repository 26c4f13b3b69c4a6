"""nano as a student: hand-computed losses, batches, and exports that load."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vbanana_ros.camera import frustum
from vbanana_ros.errors import ModelError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.nano_text import NanoTextEncoder
from vbanana_ros.generators.nano_unet import NanoUNet
from vbanana_ros.results import DepthMap
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tuning import scenes
from vbanana_ros.tuning.batches import Batches
from vbanana_ros.tuning.examples import FREE, IGNORE, OWN
from vbanana_ros.tuning.nano import (
    GUIDANCE,
    PICTURE_STEPS,
    SHIFT,
    UNCALIBRATED,
    UNTOLD,
    NanoStudent,
    palette_loss,
    velocity_error,
)
from vbanana_ros.tuning.probe import Probe
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.scenes import load_frame, scene_path
from vbanana_ros.tuning.tune import make_student
from vbanana_ros.tuning.tuner import tune
from vbanana_ros.tuning.vocabulary import VOCABULARY

TINY = {"size": (32, 32), "images": 2, "answers": 2, "pictures": 1, "picture_size": (16, 48), "warmup": 2}


def test_palette_loss_by_hand():
    """One coloured phrase in column 2 (1 is a phrase without colour); three free pixels, one in the colour."""
    a = 0.7
    logits = torch.tensor([0.0, -torch.inf, a]).reshape(1, 3, 1, 1).expand(1, 3, 1, 5).clone()
    choice = torch.tensor([[[FREE, FREE, FREE, 0, IGNORE]]])
    free, colored = math.log(1 + math.exp(a)), math.log(1 + math.exp(-a))
    w_free, w_colored = math.sqrt(5 / 3), math.sqrt(5)
    expected = (3 * w_free * free + w_colored * colored) / (3 * w_free + w_colored)
    guess = logits.log_softmax(1)
    assert palette_loss(guess, choice, torch.tensor([[False, True]])) == pytest.approx(expected, rel=1e-5)


def test_palette_loss_without_colours_is_zero():
    choice = torch.full((2, 3, 3), FREE)
    assert palette_loss(torch.randn(2, 2, 3, 3), choice, torch.zeros(2, 1, dtype=torch.bool)) == 0


def test_instances_take_the_own_colours_that_fit_them_best():
    """Two instances and three own colours: the best pairing counts, whatever the order; the background by its slot."""
    p = torch.tensor([[0.01, 0.05, 0.14, 0.8], [0.01, 0.09, 0.7, 0.2], [0.9, 0.0, 0.1, 0.0], [0.9, 0.0, 0.1, 0.0]])
    guess = torch.cat([torch.full((4, 1), 1e-9), p], 1).log().T.reshape(1, 5, 1, 4)  # free, the phrase, three own
    choice = torch.tensor([[[OWN, OWN + 1, 0, 0]]])
    colored = torch.tensor([[True]])
    weight = math.sqrt(4 / 2)
    expected = -(2 * math.log(0.8) + 2 * math.log(0.7) + 2 * weight * math.log(0.9)) / (4 + 2 * weight)
    swapped = torch.tensor([[[OWN + 1, OWN, 0, 0]]])
    assert palette_loss(guess, choice, colored) == palette_loss(guess, swapped, colored) == pytest.approx(expected)


def test_more_instances_than_colours_leave_some_out():
    guess = torch.zeros(1, 4, 1, 5).log_softmax(1)
    choice = torch.arange(OWN, OWN + 5).reshape(1, 1, 5)
    assert palette_loss(guess, choice, torch.tensor([[True]])) == pytest.approx(math.log(4))


def test_palette_loss_weight_is_capped():
    logits = torch.zeros(1, 2, 100, 100, requires_grad=True)
    choice = torch.full((1, 100, 100), FREE)
    choice[0, 0, 0] = 0
    palette_loss(logits.log_softmax(1), choice, torch.tensor([[True]])).backward()
    free, colored = logits.grad[0, 0, 5, 5].abs(), logits.grad[0, 0, 0, 0].abs()
    assert colored / free == pytest.approx(15 / math.sqrt(1e4 / 9999), rel=1e-3)


@pytest.mark.parametrize("target", ["x0", "flow"])
def test_a_batch_fits_together(scenes_folder, feed, student, target):
    made = student(0, **TINY | {"pictures": 2, "target": target})
    for step in range(8):
        batch = Batches(feed(scenes_folder), made.recipe, made.collate, 0)[step]
        n, rows = len(batch["owner"]), len(batch["ids"]) - len(batch["texts"])
        assert rows + len(batch["texts"]) == n + 2 and rows == n + len(batch["edit_sample"])
        assert len(batch["texts"]) == len(batch["text_time"]) == len(batch["text_sample"])
        assert not len(batch["texts"]) or batch["texts"].shape[1:] == batch["text_sample"].shape[1:] == (3, 16, 48)
        assert len(batch["answer_sample"]) == len(batch["answer_time"]) == (n if target == "flow" else 0)
        assert len(batch["edit_image"]) == len(batch["edit_sample"]) == len(batch["edit_time"])
        assert batch["images"].shape == (2, 3, 32, 32) and batch["owner"].unique().tolist() == [0, 1]
        assert batch["targets"].shape == (rows, 3, 16, 16) and batch["targets"].abs().max() <= 1
        assert batch["valid"].shape == (n, 1, 16, 16)
        assert batch["choice"].shape == (n, 16, 16) and batch["choice"].dtype == torch.int64
        assert batch["facts"].shape == (n if target == "flow" else 2, 7, 8, 8) and batch["phase"].max() <= 1
        depths = torch.isfinite(batch["depth"]).flatten(1).any(1)
        assert (depths & batch["is_normals"]).sum() == 0 and len(depths) == n
        # No row chooses a colour that its prompt does not have.
        chosen = batch["choice"].masked_fill(batch["choice"] >= OWN, -1).amax((1, 2))
        assert (chosen < batch["colored"].sum(1)[:n]).all()
        terms = made(batch)
        assert all(torch.isfinite(term) and term.requires_grad for term in terms.values())


def test_every_weight_has_a_gradient_whatever_is_drawn(scenes_folder, feed, student):
    """As several processes want it: where nothing is painted from text, that of its details is zero."""
    for pictures in (0, 6):
        made = student(0, **TINY | {"pictures": pictures})
        batch = Batches(feed(scenes_folder), made.recipe, made.collate, 0)[0]
        terms = made(batch)
        sum(terms.values()).backward()
        assert all(weight.grad is not None for weight in made.parameters())
        painted = [bool(len(batch["texts"])), terms["picture"] > 0, made.unet.detail.conv_out.weight.grad.any()]
        assert painted == [pictures > 0] * 3


def test_it_is_told_the_camera_of_most_images(scenes_folder, feed, student):
    """That of the record as it was cut; of those that have none, and of some others, nothing."""
    tiny = student(**TINY)
    batches = Batches(feed(scenes_folder), tiny.recipe, tiny.collate, seed=1)
    told = []
    for step in range(40):
        drawn, rng = batches.draw(step)
        drawn.records[0] = replace(drawn.records[0], K=None)
        first, second = tiny.collate(drawn, rng)["frustums"].numpy()
        assert np.isnan(first).all()
        if np.isfinite(second).all():
            record = drawn.records[1]
            assert np.array_equal(second, frustum(record.K, *record.rgb.shape[:2]))
        told.append(np.isfinite(second).all())
    assert 1 - 3 * UNCALIBRATED < np.mean(told) < 1


def test_gradients_are_numbers_where_no_camera_is_known(student):
    unet = student(**TINY).unet
    sample = torch.zeros(2, 3, 32, 32)
    features = unet.encode(sample, sample, torch.ones(2), torch.full((2, 4), torch.nan))
    sum(level.square().sum() for level in features.levels).backward()
    assert all(torch.isfinite(p.grad).all() for p in unet.encoder[1].parameters())


def test_targets_are_every_second_pixel_from_the_phase(scenes_folder, feed, student, monkeypatch):
    """What is painted from a phase is compared with the answer at the same pixels."""
    monkeypatch.setattr(scenes, "mirror", lambda frame: frame)
    made = student(0, **TINY | {"size": (48, 64), "pictures": 0, "answers": 1})
    frame = load_frame(scene_path(scenes_folder, 0, 0))  # the three scenes differ by their colours alone
    whole = np.asarray(TASKS["depth"].encode(DepthMap(frame.depth, frame.depth), Request("depth")))
    phases = set()
    for step in range(12):
        batch = Batches(feed(scenes_folder, depth=1.0), made.recipe, made.collate, 0)[step]
        row, column = batch["phase"].tolist()
        phases.add((row, column))
        expected = torch.from_numpy(2 * whole[row::2, column::2] - 1).permute(2, 0, 1)
        assert torch.equal(batch["targets"][0], expected) and torch.equal(batch["targets"][1], expected)
        assert torch.equal(batch["depth"][0], torch.from_numpy(frame.depth[row::2, column::2]))
    assert phases == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_terms_in_decoded_units_are_added_with_their_weights(scenes_folder, feed, student):
    """The same batch and weights: the other terms stay, and a term is proportional to its weight."""
    terms = {}
    for weight in (0.0, 1.0, 2.0):
        made = student(0, **TINY | {"log_depth": weight, "angle": weight}).eval()
        batch = Batches(feed(scenes_folder, depth=1.0, normals=1.0), made.recipe, made.collate, 0)[0]
        terms[weight] = {name: float(term.detach()) for name, term in made(batch).items()}
    assert terms[0.0].keys() == terms[1.0].keys() - {"log_depth", "angle"}
    assert terms[1.0]["rgb"] == terms[0.0]["rgb"]
    for name in ("log_depth", "angle"):
        assert terms[2.0][name] == pytest.approx(2 * terms[1.0][name], rel=1e-5) and terms[1.0][name] > 0


def test_pictures_are_taught_at_the_noise_that_the_sampler_meets(scenes_folder, feed, student):
    """Many are nothing but noise, the rest as noisy as their time says: evenly spread down to the sampler's last."""
    made = student(0, **TINY | {"images": 1, "answers": 1, "pictures": 40, "blank": 0.4})
    batches = Batches(feed(scenes_folder), made.recipe, made.collate, 0)
    batch = [batches[step] for step in range(16)]
    time, sample, clean = (torch.cat([b[key] for b in batch]) for key in ("text_time", "text_sample", "texts"))
    scheduler = made.generator().pipeline.scheduler
    scheduler.set_timesteps(sigmas=[1.0, 0.5, 1 / PICTURE_STEPS])
    middle, last = scheduler.sigmas[1:3].tolist()
    assert middle == pytest.approx(SHIFT / (1 + SHIFT))
    some = time[time < 1].sort().values
    assert len(some) > 150 and some[0] > last - 1e-6
    assert (time == 1).float().mean() == pytest.approx(0.4, abs=0.08)
    assert torch.allclose(some, torch.linspace(last, 1, len(some)), atol=0.1)
    noise = (sample - (1 - time)[:, None, None, None] * clean) / time[:, None, None, None]
    assert noise[time > 0.5].std() == pytest.approx(1, abs=0.02)


def test_some_pictures_are_taught_without_their_text(scenes_folder, feed, student):
    """So that guidance has something to lead away from: UNTOLD of them, whose one phrase has no words."""
    made = student(0, **TINY | {"images": 1, "answers": 1, "pictures": 40})
    batches, told = Batches(feed(scenes_folder), made.recipe, made.collate, 0), []
    for step in range(8):
        batch = batches[step]
        texts = batch["ids"][len(batch["ids"]) - len(batch["texts"]):]
        told += (texts > 1).flatten(1).any(1).tolist()
    assert 1 - np.mean(told) == pytest.approx(UNTOLD, abs=0.05)


def test_the_error_of_velocity_by_hand():
    """What is sampled with is (x_t - x0) / t; near t = 0 it is not divided by less than a tenth."""
    clean, target = torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, 3, 4, 4)
    assert velocity_error(clean, target, torch.tensor([0.5, 0.01])) == pytest.approx((1.0 + 25.0) / 2)


def test_gradients_are_the_same_with_less_memory(scenes_folder, feed, student):
    gradients = []
    for checkpointing in (False, True):
        made = student(0, **TINY | {"checkpointing": checkpointing})
        sum(made(Batches(feed(scenes_folder), made.recipe, made.collate, 0)[0]).values()).backward()
        gradients.append([p.grad for p in made.parameters() if p.grad is not None])
    assert len(gradients[0]) > 50
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_the_default_model_is_small_on_disk_and_paints_the_same_in_fp16(tmp_path):
    torch.manual_seed(0)
    full = NanoStudent(NanoTextEncoder(VOCABULARY), NanoUNet(), Recipe(size=(32, 32))).eval()
    (tmp_path / "nano").mkdir()
    (tmp_path / "nano" / "stale").touch()
    full.export(tmp_path / "nano", "Random.", "# nano, random")
    assert sum(p.stat().st_size for p in (tmp_path / "nano").rglob("*")) <= 40e6
    assert [p.name for p in tmp_path.iterdir()] == ["nano"] and not (tmp_path / "nano" / "stale").exists()
    generator = load_generator(tmp_path / "nano", "cpu")
    assert generator.name == "nano" and generator.profile.about == "Random."
    assert (generator.profile.picture_area, generator.profile.picture_steps, generator.profile.guidance) == (
        96 * 128, PICTURE_STEPS, GUIDANCE)
    assert (tmp_path / "nano" / "README.md").read_text() == "# nano, random"
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    prompts = ["Paint the depth.", "the cat is red."]
    painted, exact = (g.generate(g.encode_image(frame), g.encode_prompts(prompts))
                      for g in (generator, full.generator()))
    assert np.abs(painted - exact).max() < 0.01


def test_tuning_starts_from_a_model(student, tmp_path):
    student(1).export(tmp_path / "model", "tiny", "tiny")
    started = make_student(str(tmp_path / "model"), Recipe())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in started.parameters())
    for part in ("text_encoder", "unet", "probe"):
        first, second = (getattr(s, part).parameters() for s in (started, student(1)))
        assert all(torch.allclose(ours, theirs, atol=1e-3) for ours, theirs in zip(first, second, strict=True))


def test_a_model_without_a_probe_or_with_one_of_other_classes_starts_with_a_new_one(student, tmp_path):
    student(1).export(tmp_path / "model", "tiny", "tiny")
    kept = tmp_path / "model" / "probe" / "model.safetensors"
    save_file({name: value[:1].contiguous() for name, value in load_file(kept).items()}, kept)
    profile = json.loads((tmp_path / "model" / "vbanana.json").read_text())
    del profile["sha256"]["probe/model.safetensors"]
    (tmp_path / "model" / "vbanana.json").write_text(json.dumps(profile))
    new = Probe(32).state_dict()
    for _ in range(2):
        probe = make_student(str(tmp_path / "model"), Recipe()).probe.state_dict()
        assert all(probe[name].shape == value.shape for name, value in new.items())
        shutil.rmtree(kept.parent, ignore_errors=True)


def test_what_is_exported_does_not_say_where_it_came_from(student, tmp_path):
    student(1).export(tmp_path / "first", "tiny", "tiny")
    make_student(str(tmp_path / "first"), Recipe()).export(tmp_path / "second", "tiny", "tiny")
    for part in ("text_encoder", "unet"):
        first, second = ((tmp_path / name / part / "config.json").read_text() for name in ("first", "second"))
        assert first == second and str(tmp_path) not in second


SEES = {"time_embedding", "conv_in", "conv_in_looks", "down", "back", "read"}
KNOWS_TEXT = {"word", "place", "mid", "up", "instruction", "to_query", "to_paint", "edges", "detail", "own_keys"}


@pytest.mark.parametrize(("freeze", "frozen", "moved"), [("image", SEES, KNOWS_TEXT), ("text", KNOWS_TEXT, SEES)])
def test_what_is_frozen_stays_as_it_was(scenes_folder, feed, student, tmp_path, freeze, frozen, moved):
    made = student(0, **TINY | {"freeze": freeze})
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    after = dict(tune(made, feed(scenes_folder), tmp_path, 3, workers=0).named_parameters())
    same = {name: torch.equal(before[name], after[name]) for name in before}
    kept, changed = ({name.split(".")[1] for name in same if same[name] is stayed} for stayed in (True, False))
    assert changed >= moved and not kept & moved
    assert kept >= frozen and not changed & frozen
    about = json.loads((tmp_path / "model" / "vbanana.json").read_text())["about"]
    assert about.startswith(f"All weights but the {freeze}'s of nano, tuned on 6 images")


def test_a_lora_over_nano_is_refused(nano_folder):
    for start in (None, str(nano_folder)):
        with pytest.raises(ModelError, match="train whole; leave --lora away"):
            make_student(start, replace(Recipe(), lora=4))
