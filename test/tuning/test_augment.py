"""Augmentation: pictures stay pictures, crops stay true."""

from dataclasses import replace

import numpy as np
import pytest

from vbanana_ros.tuning.augment import PLACE_WORDS, augment, crop
from vbanana_ros.tuning.records import Expression, Record, Thing
from vbanana_ros.tuning.scenes import record_of

SEEDS = range(40)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_picture_stays_a_picture(sim_frame, strength):
    for seed in SEEDS:
        image = augment(sim_frame.rgb, np.random.default_rng(seed), strength)
        assert image.dtype == np.float32 and image.shape == (48, 64, 3)
        assert image.min() >= 0 and image.max() <= 1
        assert np.array_equal(image, augment(sim_frame.rgb, np.random.default_rng(seed), strength))


def test_strength_0_is_what_it_was():
    image = augment(np.full((2, 2, 3), 100, np.uint8), np.random.default_rng(0))
    assert image[0, 0] == pytest.approx([0.42012, 0.43816, 0.42558], abs=1e-4)


def test_more_strength_changes_more():
    rgb = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    apart = [np.mean([np.abs(augment(rgb, np.random.default_rng(s), strength) - rgb / 255).mean() for s in SEEDS])
             for strength in (0.1, 0.4, 1.0)]
    assert apart[0] < apart[1] < apart[2] and apart[0] < 0.05


def test_any_size(sim_frame):
    for shape in ((1, 1), (3, 200), (16, 16)):
        rgb = np.full((*shape, 3), 128, np.uint8)
        assert all(augment(rgb, np.random.default_rng(s), 1.0).shape == rgb.shape for s in SEEDS)


def board() -> Record:
    """Depth says the column and labels the row of each pixel; a thing in the middle and one in a corner."""
    rows, columns = np.mgrid[:40, :60]
    middle, corner = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    middle[18:22, 28:32], corner[:3, :3] = True, True
    return Record(np.stack([columns, rows, rows], -1).astype(np.uint8), "x", (columns + 1).astype(np.float32), None,
                  rows.astype(np.uint8), tuple(f"row {i}" for i in range(40)),
                  (Thing("cup", middle), Thing("mug", corner)), ("cup", "mug"),
                  (Expression("the cup", middle, corner), Expression("the leftmost mug", corner)),
                  np.array([[50.0, 0, 29.5], [0, 50, 19.5], [0, 0, 1]]))


def test_a_crop_is_one_window_of_everything():
    whole, cropped = board(), 0
    for seed in SEEDS:
        part = crop(whole, np.random.default_rng(seed), 1.0)
        if part is whole:
            continue
        cropped += 1
        assert part.rgb.shape == whole.rgb.shape
        assert np.abs(part.rgb[..., 0] + 1.0 - part.depth).max() <= 1.01
        assert np.abs(part.rgb[..., 1] - part.labels.astype(float)).max() <= 1.01
        assert part.depth.dtype == np.float32 and part.labels.dtype == np.uint8
        cup = next(t for t in part.things if t.name == "cup")
        assert cup.mask.dtype == bool and set(np.unique(part.labels[cup.mask])) == {18, 19, 20, 21}
        assert [e.text for e in part.expressions] == ["the cup"] and part.expressions[0].unknown.dtype == bool
        # A ray through a pixel of the crop is that through the same place of the whole.
        x = (0.0 - part.K[0, 2]) / part.K[0, 0]
        assert x * 50 + 29.5 == pytest.approx(part.depth[0, 0] - 1, abs=0.51)
        assert part.K[0, 0] > 50 and np.ptp(part.depth) < 59
    assert 10 < cropped < 30


def test_no_strength_is_no_crop(sim_frame):
    record = record_of(sim_frame)
    assert all(crop(record, np.random.default_rng(s)) is record for s in SEEDS)


def test_crops_of_a_view_are_records(sim_frame):
    record = record_of(sim_frame)
    for seed in SEEDS:
        part = crop(record, np.random.default_rng(seed), 1.0)
        assert {t.name for t in part.things} <= {t.name for t in record.things} and part.names == record.names
        if part is not record:
            assert not any(PLACE_WORDS & {*e.text.split()} for e in part.expressions)
    bare = replace(record, depth=None, normals=None, labels=None, things=None, expressions=())
    assert all(crop(bare, np.random.default_rng(s), 1.0).things is None for s in SEEDS)


def test_a_crop_that_knows_no_depth_is_not_taken():
    depth = np.full((40, 60), np.nan, np.float32)
    depth[0, 0] = 1.0
    record = replace(board(), depth=depth)
    assert all((crop(record, np.random.default_rng(s), 1.0).depth > 0).any() for s in SEEDS)
