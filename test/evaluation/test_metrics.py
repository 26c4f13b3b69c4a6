"""Metrics against cases small enough to work out by hand, against properties, and against other libraries."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.evaluation.metrics import (
    IOU_THRESHOLDS,
    DepthScore,
    InstanceScore,
    LabelScore,
    NormalScore,
    ReferringScore,
    aligned,
    angles,
    mask_ious,
    matches,
)

NO = 65535
NAN, INF = math.nan, math.inf
seeds = st.integers(0, 2**32 - 1)


def row(*values) -> np.ndarray:
    return np.array([values], np.float32)


def depth(predicted, truth) -> dict[str, float]:
    score = DepthScore()
    score.add(row(*predicted), row(*truth))
    return score.value()


def test_depth_by_hand():
    # Right, 1.2 times too far, 1.3 times too far, half, silent, "nothing there": 2 of 6 right, 4 of 6 answered.
    value = depth([2, 2.4, 2.6, 1, NAN, INF], [2] * 6)
    assert value["delta1"] == pytest.approx(2 / 6)
    assert value["coverage"] == pytest.approx(4 / 6)
    assert value["absrel"] == pytest.approx((0 + 0.2 + 0.3 + 0.5) / 4, rel=1e-6)


def test_depth_leaves_out_what_is_not_known():
    assert depth([1, 9, 9, 9], [1, NAN, INF, 0]) == {"delta1": 1, "absrel": 0, "coverage": 1}


def test_delta1_is_strict_and_zero_and_negative_depths_are_wrong():
    assert depth([1.25, 0.8, 0, -1], [1, 1, 1, 1])["delta1"] == pytest.approx(0.25)  # float32 0.8 is above 4/5
    assert depth([0], [4]) == {"delta1": 0, "absrel": 1, "coverage": 1}


def test_depth_is_the_mean_of_frames_not_of_pixels():
    score = DepthScore()
    score.add(row(1, 1, 1, 1), row(1, 1, 1, 1))
    score.add(row(2), row(1))
    assert score.value() == {"delta1": 0.5, "absrel": 0.5, "coverage": 1}


def test_depth_without_truth_or_answers():
    assert all(map(math.isnan, depth([1, 2], [NAN, INF]).values()))
    value = depth([NAN, NAN], [1, 2])
    assert value["delta1"] == value["coverage"] == 0 and math.isnan(value["absrel"])


@given(seeds, st.floats(0.1, 10))
def test_depth_scaled(seed, k):
    truth = np.random.default_rng(seed).uniform(0.1, 50, (4, 5))
    score = DepthScore()
    score.add(k * truth, truth)
    value = score.value()
    assert value["absrel"] == pytest.approx(abs(k - 1), abs=1e-9)
    if abs(max(k, 1 / k) - 1.25) > 1e-9:
        assert value["delta1"] == (max(k, 1 / k) < 1.25)


def test_alignment_by_hand():
    # 0, 1, 2 onto 1, 2, 6: slope 5 / 2, through the means 1 and 3. Silence stays silent, unknown truth is not fitted.
    fitted = aligned(row(0, 1, 2, NAN, INF, 4), row(1, 2, 6, 5, 5, NAN))
    assert fitted == pytest.approx(np.array([[0.5, 3, 5.5, NAN, INF, 10.5]]), nan_ok=True)


def test_inverse_depth_is_aligned_as_inverse_depth():
    truth = row(1, 2, 4, 8, INF)
    shown = 1 - (1 / truth - 0.1) / 2  # larger is farther
    assert aligned(shown, truth, inverse=True)[0, :4] == pytest.approx(truth[0, :4], rel=1e-6)
    assert aligned(shown, truth, inverse=True)[0, 4] == pytest.approx(8)  # as far as the farthest that is known
    assert np.isnan(aligned(row(NAN, 0.5, 1), row(1, 2, 4), inverse=True)[0, 0])


def test_alignment_of_little():
    assert aligned(row(7, 7), row(1, 3)) == pytest.approx(np.array([[2, 2]]))  # no spread: the mean
    assert np.isnan(aligned(row(NAN, NAN), row(1, 3))).all()
    assert aligned(row(3, 4), row(NAN, 0)) == pytest.approx(np.array([[3, 4]]))  # nothing to fit to


@given(seeds, st.floats(-3, 3), st.floats(-9, 9))
def test_alignment_undoes_scale_and_shift_and_is_numpys(seed, scale, shift):
    truth, noise = np.random.default_rng(seed).uniform(0.5, 9, (2, 4, 5))
    if abs(scale) > 1e-3:
        assert aligned(scale * truth + shift, truth) == pytest.approx(truth, abs=1e-6)
    assert aligned(noise, truth) == pytest.approx(np.polyval(np.polyfit(noise.ravel(), truth.ravel(), 1), noise))


def tilted(*degrees) -> np.ndarray:
    a = np.radians(degrees)
    return np.stack([np.sin(a), np.zeros_like(a), -np.cos(a)], -1)[None].astype(np.float32)


def test_normals_by_hand():
    score = NormalScore()
    score.add(tilted(10, -20, 25, 45, NAN, 5), tilted(0, 0, 0, 0, 0, NAN))
    value = score.value()
    assert value["mean"] == pytest.approx((10 + 20 + 25 + 45) / 4, abs=1e-4)
    assert value["median"] == pytest.approx(25, abs=0.01)  # the upper of the two in the middle, or between them
    assert value["within_11.25"] == pytest.approx(1 / 5)
    assert value["within_22.5"] == pytest.approx(2 / 5)
    assert value["within_30"] == pytest.approx(3 / 5)
    assert value["coverage"] == pytest.approx(4 / 5)


def test_normals_accumulate_over_frames_and_reach_180_degrees():
    score = NormalScore()
    for angle in (0, 1, 180):
        score.add(tilted(angle), tilted(0))
    assert score.value()["median"] == pytest.approx(1, abs=0.01)
    assert score.value()["mean"] == pytest.approx(181 / 3, abs=1e-4)


def test_no_normals():
    assert all(map(math.isnan, NormalScore().value().values()))


@given(seeds)
def test_median_is_numpys(seed):
    rng = np.random.default_rng(seed)
    a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in rng.normal(size=(2, 1, 101, 3)))
    score = NormalScore()
    score.add(a, b)
    errors = np.degrees(np.arccos((a * b).sum(-1)))
    assert score.value()["median"] == pytest.approx(np.median(errors), abs=0.0051)
    assert score.value()["mean"] == pytest.approx(errors.mean())
    assert score.value()["within_30"] == pytest.approx((errors < 30).mean())


def test_small_angles_are_exact():
    assert angles(tilted(0)[0], tilted(0)[0])[0] == 0
    assert angles(tilted(0.001)[0], tilted(0)[0])[0] == pytest.approx(0.001, rel=1e-3)


def test_miou_by_hand():
    score = LabelScore()
    # cup: 1 of 3 (one missed, one too many). dog: asked, not there, not painted.
    score.add(np.array([[0, 255, 0, 255]]), np.array([[0, 0, 255, 255]]), ("cup", "dog"))
    # cup again under another number: 1 of 1. mat: 2 of 3, the unlabelled pixel is a miss.
    score.add(np.array([[1, 0, 0, 255]]), np.array([[1, 0, 0, 0]]), ("mat", "cup"))
    assert score.classes() == {"cup": 2 / 4, "mat": 2 / 3}
    assert score.value()["miou"] == pytest.approx((2 / 4 + 2 / 3) / 2)


def test_an_absent_class_that_is_painted_counts():
    score = LabelScore()
    score.add(np.array([[0, 1]]), np.array([[0, 255]]), ("cup", "dog"))
    assert score.value()["miou"] == 0.5


def test_miou_leaves_out_what_is_not_known():
    score = LabelScore()
    score.add(np.array([[0, 1]]), np.array([[0, 0]]), ("cup", "dog"), np.array([[True, False]]))
    assert score.classes() == {"cup": 1}


def test_miou_of_nothing():
    assert math.isnan(LabelScore().value()["miou"])


@given(seeds, st.permutations(range(4)))
def test_miou_does_not_depend_on_the_order_of_classes(seed, order):
    predicted, truth = np.random.default_rng(seed).integers(0, 4, (2, 6, 6))
    names = ("a", "b", "c", "d")
    one, other = LabelScore(), LabelScore()
    one.add(predicted, truth, names)
    other.add(np.argsort(order)[predicted], np.argsort(order)[truth], tuple(names[i] for i in order))
    assert one.classes() == other.classes()


def test_referring_by_hand():
    score = ReferringScore()
    # First expression 1 of 2, second 3 of 3; in the next frame 0 of 4.
    score.add(np.array([[0, 255, 1, 1, 1]]), np.array([[0, 0, 1, 1, 1]]), 2)
    score.add(np.array([[255, 255, 0, 0]]), np.array([[0, 0, 255, 255]]), 1)
    assert score.value()["ciou"] == pytest.approx(4 / 9)
    assert score.value()["giou"] == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_saying_nothing_about_nothing_is_right():
    score = ReferringScore()
    score.add(np.array([[255]]), np.array([[255]]), 1)
    assert score.value()["giou"] == 1 and math.isnan(score.value()["ciou"])


def instances(predicted, truth, known=None) -> dict[str, float]:
    score = InstanceScore()
    score.add(np.array([predicted]), np.array([truth]), known)
    return score.value()


def test_instances_by_hand():
    score = InstanceScore()
    # IoU 4/5 with the one; the other missed; a false alarm: true at 0.5 ... 0.8, seven of the ten thresholds.
    score.add(np.array([[7, 7, 7, 7, NO, NO, NO, 9]]), np.array([[0, 0, 0, 0, 0, 3, 3, NO]]))
    value = score.value()
    assert value["f1"] == pytest.approx(2 / 4)
    assert value["pmf1"] == pytest.approx(0.7 * 2 / 4)
    # A negative prompt with a false alarm changes presence, not pmF1; one without makes the correlation.
    score.add(np.array([[0, NO]]), np.array([[NO, NO]]))
    assert score.value()["pmf1"] == value["pmf1"] and score.value()["il_mcc"] == 0
    score.add(np.array([[NO, NO]]), np.array([[NO, NO]]))
    mcc = (1 * 1 - 1 * 0) / math.sqrt(2 * 1 * 2 * 1)  # TP 1, FP 1, TN 1, FN 0
    assert score.value()["il_mcc"] == pytest.approx(mcc)
    assert score.value()["cgf1"] == pytest.approx(mcc * value["pmf1"])


def test_panoptic_quality_by_hand():
    score = InstanceScore()
    # cup: one pair of IoU 4/5, one missed, one false alarm: PQ 0.8 / 2, SQ 0.8, RQ 1 / 2.
    score.add(np.array([[7, 7, 7, 7, NO, NO, NO, 9]]), np.array([[0, 0, 0, 0, 0, 3, 3, NO]]), name="cup")
    assert [score.value()[k] for k in ("pq", "sq", "rq")] == pytest.approx([0.4, 0.8, 0.5])
    # dog: not there, found: all 0 but SQ, which has no pair. mat: not there, not found: not judged.
    score.add(np.array([[1, NO]]), np.array([[NO, NO]]), name="dog")
    score.add(np.array([[NO, NO]]), np.array([[NO, NO]]), name="mat")
    assert [score.value()[k] for k in ("pq", "sq", "rq")] == pytest.approx([0.2, 0.8, 0.25])
    # One more cup in another frame, whole: 2 pairs among 6 masks, of IoU 1.8 together.
    score.add(np.array([[0, NO]]), np.array([[5, NO]]), name="cup")
    assert [score.value()[k] for k in ("pq", "sq", "rq")] == pytest.approx([1.8 / 3 / 2, 0.9, 2 / 3 / 2])


def test_half_is_no_panoptic_match():
    assert instances([0, 0, 1, 1], [0, 0, 0, 0])["rq"] == 0


def test_merged_and_split_instances():
    assert instances([0, 0, 0, 0], [0, 0, 0, 1])["f1"] == pytest.approx(2 / 3)  # 3/4 with the first, the second lost
    assert instances([0, 0, 1, 1], [0, 0, 0, 0])["f1"] == pytest.approx(2 / 3)  # two halves: one match, at 0.5
    assert instances([0, 1, 2, 3], [0, 0, 0, 0])["f1"] == 0


def test_unknown_pixels_belong_to_nobody():
    known = np.array([[True, True, True, False, False, False]])
    # Instance 0 loses a pixel of four and matches; instance 1 lies in the unknown and does not count.
    assert instances([0, 0, 0, 0, 1, 1], [5, 5, 5, NO, NO, NO], known)["f1"] == 1


def test_nothing_asked_and_nothing_there():
    assert all(map(math.isnan, InstanceScore().value().values()))
    assert all(map(math.isnan, instances([NO], [NO]).values()))


@given(seeds)
def test_the_truth_is_perfect(seed):
    labels = np.random.default_rng(seed).integers(0, 4, (8, 8))
    truth = np.where(labels == 3, NO, labels)
    score = InstanceScore()
    score.add(truth, truth)
    score.add(np.full((2, 2), NO), np.full((2, 2), NO))
    assert score.value() == dict.fromkeys(("cgf1", "il_mcc", "pmf1", "f1", "pq", "sq", "rq"), 1)


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_tallies_of_frames_add_up_to_the_whole_also_from_json(seed):
    rng = np.random.default_rng(seed)
    frames = [(rng.integers(0, 4, (2, 6, 6)), rng.uniform(0.5, 5, (2, 6, 6)), rng.normal(size=(2, 6, 6, 3)))
              for _ in range(3)]
    for kind, add in ((DepthScore, lambda s, f: s.add(*f[1])), (NormalScore, lambda s, f: s.add(*f[2])),
                      (LabelScore, lambda s, f: s.add(*f[0], ("a", "b", "c", "d"))),
                      (ReferringScore, lambda s, f: s.add(*f[0], 3)),
                      (InstanceScore, lambda s, f: s.add(*f[0], name="a"))):
        whole, summed = kind(), kind()
        for frame in frames:
            add(whole, frame)
            own = kind()
            add(own, frame)
            summed += kind.read(json.loads(json.dumps(own.plain())))
        assert summed.value() == pytest.approx(whole.value(), nan_ok=True)


@given(seeds, st.integers(1, 5), st.integers(1, 5))
@settings(deadline=None)
def test_matches_is_the_best_matching(seed, n, m):
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, m, 8), 4)
    predicted = np.where(rng.random(32) < 0.3, rng.integers(0, n, 32), truth)
    iou = mask_ious(predicted, truth)
    for threshold in IOU_THRESHOLDS:
        hits = iou >= threshold
        assert matches(hits) == hits[optimize.linear_sum_assignment(~hits)].sum()


@given(seeds)
@settings(deadline=None)
def test_mask_ious_are_cocos(seed):
    coco = pytest.importorskip("pycocotools.mask")
    predicted, truth = np.random.default_rng(seed).integers(0, 4, (2, 7, 9))

    def encoded(ids):
        return [coco.encode(np.asfortranarray(ids == i, np.uint8)) for i in np.unique(ids)]

    expected = coco.iou(encoded(predicted), encoded(truth), [0] * len(np.unique(truth)))
    assert mask_ious(predicted, truth) == pytest.approx(np.array(expected))


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_torchmetrics_says_the_same(seed):
    metrics, torch = pytest.importorskip("torchmetrics"), pytest.importorskip("torch")
    rng = np.random.default_rng(seed)

    predicted, truth = rng.integers(0, 4, (2, 6, 6))
    score = LabelScore()
    score.add(predicted, truth, ("a", "b", "c", "d"))
    jaccard = metrics.JaccardIndex("multiclass", num_classes=4, average="macro")
    expected = float(jaccard(torch.tensor(predicted), torch.tensor(truth)))
    assert score.value()["miou"] == pytest.approx(expected, abs=1e-6)

    predicted, truth = rng.uniform(0.5, 5, (2, 6, 6))
    score = DepthScore()
    score.add(predicted, truth)
    percentage = metrics.MeanAbsolutePercentageError()
    assert score.value()["absrel"] == pytest.approx(float(percentage(torch.tensor(predicted), torch.tensor(truth))))

    found, there = rng.integers(0, 2, (2, 12))
    score = InstanceScore()
    for f, t in zip(found, there, strict=True):
        score.add(np.array([[0 if f else NO]]), np.array([[0 if t else NO]]))
    if 0 < found.sum() < 12 and 0 < there.sum() < 12:
        matthews = metrics.MatthewsCorrCoef("binary")
        assert score.value()["il_mcc"] == pytest.approx(float(matthews(torch.tensor(found), torch.tensor(there))),
                                                        abs=1e-6)
