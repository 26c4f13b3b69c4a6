"""Batches: a function of seed and step, and what is drawn for them."""

import numpy as np
import pytest
import torch

from vbanana_ros.errors import InputError
from vbanana_ros.generators.grid import pixels
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.batches import Batches, depth_of, fit_image, fit_map, timesteps

TINY = {"size": (32, 32), "images": 2, "answers": 2, "pictures": 1}


def same(first, second):
    """Equal, bit for bit; what is not known (NaN) too."""
    return first.keys() == second.keys() and all(
        torch.equal(first[k].nan_to_num(-9), second[k].nan_to_num(-9)) for k in first)


def test_a_batch_is_a_function_of_seed_and_step(scenes_folder, feed, student):
    made = student(0, **TINY)
    first, again, other = (Batches(feed(scenes_folder), made.recipe, made.collate, seed) for seed in (1, 1, 2))
    again[0], again[7]
    assert same(first[3], again[3])
    assert not same(first[3], first[4]) and not same(first[3], other[3])


def test_to_overfit_the_same_few_batches_come_again_as_they_are(scenes_folder, feed, student):
    made = student(0, **TINY | {"overfit": 2})
    batches = Batches(feed(scenes_folder), made.recipe, made.collate, 0)
    assert same(batches[1], batches[3]) and same(batches[0], batches[4]) and not same(batches[0], batches[1])
    drawn, _ = batches.draw(0)
    exact = fit_image(drawn.records[0].rgb.astype(np.float32) / 255, (32, 32))
    assert torch.equal(drawn.images[0], exact)


def test_examples_belong_to_their_images_and_know_what_they_ask(scenes_folder, feed, student):
    made = student(0, **TINY)
    drawn, _ = Batches(feed(scenes_folder), made.recipe, made.collate, 0).draw(0)
    assert len(drawn.owners) == len(drawn.examples) and set(drawn.owners) == {0, 1} and len(drawn.records) == 2
    assert len(drawn.pictures) == 1 and drawn.broken == []
    for example in drawn.examples:
        known = np.isfinite(depth_of(example)).any()
        assert known == (example.request.task == "depth")


def test_images_that_are_asked_nothing_still_teach_the_probe(scenes_folder, feed, student):
    made = student(0, **TINY | {"images": 5, "answers": 0.4})
    batches = Batches(feed(scenes_folder), made.recipe, made.collate, 0)
    batch = batches[0]
    assert batches.draw(0)[0].owners == [2, 4] == batch["owner"].tolist()
    assert len(batch["images"]) == len(batch["facts"]) == 5 and len(batch["targets"]) == len(batch["choice"]) == 2
    assert torch.isfinite(batch["facts"][[0, 1, 3], 0]).any((1, 2)).all()
    batch["facts"][batch["owner"], :6] = np.nan
    batch["facts"][batch["owner"], 6] = UNLABELED_8
    made(batch)["probe"].backward()
    assert all(weight.grad.any() for weight in made.unet.conv_in.parameters())


def test_examples_whose_prompt_is_not_read_are_left_out_and_named(scenes_folder, feed, student):
    def check(prompt):
        if "depth" in prompt or "normal" not in prompt:
            raise InputError(f"{prompt[:20]!r} is too long")

    made = student(0, **TINY | {"answers": 1})
    drawn, _ = Batches(feed(scenes_folder), made.recipe, made.collate, 0, check=check).draw(0)
    assert {e.request.task for e in drawn.examples} == {"normals"} and len(drawn.images) == 2
    assert all(e.image for e in drawn.pictures) and drawn.broken and "is too long" in drawn.broken[0]
    with pytest.raises(InputError, match="next to nothing of depth that can be used .*is too long.*; give sets"):
        Batches(feed(scenes_folder, depth=1.0), made.recipe, made.collate, 0, check=check).draw(0)


def test_maps_are_never_blended_and_images_are():
    half = np.zeros((4, 4), np.float32)
    half[:, 2:] = 1
    assert set(fit_map(half, (3, 3)).unique().tolist()) == {0.0, 1.0}
    image = fit_image(np.repeat(half[..., None], 3, 2), (4, 1))
    assert torch.equal(image, torch.zeros(3, 4, 1))


def test_training_sees_images_and_answers_where_use_does():
    """At a size that is no whole share of the record's, as of scenes of 320x240 at 288x224."""
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    seen, used = fit_image(rgb.astype(np.float32) / 255, (21, 27))[None], pixels(rgb, 21, 27, "cpu", torch.float32)
    assert (seen - used).abs().max() < 1.01 / 127.5  # in use the pixels are whole numbers
    grown = fit_image(rgb.astype(np.float32) / 255, (48, 48))
    assert grown.shape == (3, 48, 48) and grown.min() >= -1 and grown.max() <= 1

    columns = np.tile(np.arange(32, dtype=np.float32), (24, 1))
    middles = (np.arange(27) + 0.5) * 32 / 27 - 0.5
    assert np.abs(fit_map(columns, (21, 27))[0].numpy() - middles).max() <= 0.5


def test_timesteps_are_between_clean_and_noise():
    times = timesteps(1000, np.random.default_rng(0))
    assert 0 < times.min() and times.max() < 1 and 0.5 < times.median() < 0.65
