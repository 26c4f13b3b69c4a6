"""The paper's metrics, each from its definition: accumulators that take frame after frame.

What vision_banana (arXiv 2604.20329) reports: delta1 and AbsRel, angular errors, mIoU, cIoU and gIoU, and the
cgF1 family of SAM 3; beside them panoptic quality of instances. All values are shares in 0..1 unless a unit is said;
NaN where nothing was added.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from vbanana_ros.results import UNLABELED_16

DELTA1 = 1.25
WITHIN = (11.25, 22.5, 30.0)  # degrees
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
FOUND_SHARE = 0.01  # of a picture's pixels
_BINS_PER_DEGREE = 100


class Tally:
    """A dataclass of sums, each a number, list, Counter, numpy array or Tally: two of a kind add up, field by field.

    So the tallies of single frames, kept as JSON, make the figures of a whole run, to the last bit.
    """

    def __iadd__(self, other: Tally) -> Tally:
        for f in fields(self):
            setattr(self, f.name, operator.iadd(getattr(self, f.name), getattr(other, f.name)))
        return self

    def plain(self) -> dict[str, Any]:
        """What JSON can hold, of the fields that are not empty."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Tally:
        """The inverse of plain. Raises KeyError, TypeError or ValueError for what plain did not make."""
        empty = cls()
        return cls(**{name: _like(getattr(empty, name), value) for name, value in plain.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Tally):
        return value.plain()
    if isinstance(value, np.ndarray):
        return value.tolist() if value.any() else None
    return value


def _like(template: Any, plain: Any) -> Any:
    """A plain value as the kind of a template."""
    if isinstance(template, Tally):
        return template.read(plain)
    return np.array(plain, template.dtype) if isinstance(template, np.ndarray) else type(template)(plain)


@dataclass
class DepthScore(Tally):
    """delta1 and AbsRel of metric depth (Eigen et al. 2014, arXiv 1406.2283), each the mean of the frames' figures.

    A frame's delta1: the share of the pixels with ground truth where max(p/t, t/p) < 1.25. No answer (NaN or inf)
    counts as wrong. Its AbsRel: the mean of |p - t| / t over those with an answer. Their share is the coverage, so
    that an AbsRel made good by silence can be seen. Nothing is cropped or capped, and no scale or shift is fitted
    here: see `aligned`.
    """

    delta1: list[float] = field(default_factory=list)
    absrel: list[float] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """A frame: float [H, W] each, metres. Pixels with truth NaN, inf or 0 are not evaluated."""
        known = np.isfinite(truth) & (truth > 0)
        if not known.any():
            return
        p, t = predicted[known].astype(np.float64), truth[known].astype(np.float64)
        given = np.isfinite(p)
        near = given & (p > 0) & (p < DELTA1 * t) & (t < DELTA1 * p)
        self.delta1.append(float(near.mean()))
        self.coverage.append(float(given.mean()))
        if given.any():
            self.absrel.append(float((np.abs(p - t) / t)[given].mean()))

    def value(self) -> dict[str, float]:
        """`delta1`, `absrel` and `coverage`."""
        return {name: _mean(getattr(self, name)) for name in ("delta1", "absrel", "coverage")}


def aligned(predicted: np.ndarray, truth: np.ndarray, inverse: bool = False) -> np.ndarray:
    """A depth of unknown scale and shift, fitted to the truth by least squares over the pixels that have both.

    float [H, W] each -> float64 [H, W] in the unit of the truth; pixels without an answer stay as they are. So are
    affine-invariant depths judged (Ke et al. 2023, arXiv 2312.02145, in depth; Ranftl et al. 2019, arXiv 1907.01341,
    in inverse depth). inverse: predicted is affine in inverse depth, so it is fitted to that, and is nowhere farther
    than the farthest truth.
    """
    both = np.isfinite(predicted) & np.isfinite(truth) & (truth > 0)
    if not both.any():
        return predicted.astype(np.float64)
    if inverse:
        with np.errstate(divide="ignore"):
            fitted = aligned(predicted, np.where(both, 1 / truth, np.nan))
        return 1 / np.maximum(fitted, 1 / truth[both].max())
    p, t = predicted[both].astype(np.float64), truth[both].astype(np.float64)
    spread = p - p.mean()
    scale = _ratio(spread @ t, spread @ spread) if spread.any() else 0.0
    known = np.isfinite(predicted)
    return np.where(known, scale * (np.where(known, predicted, 0) - p.mean()) + t.mean(), predicted)


@dataclass
class NormalScore(Tally):
    """Angular errors of surface normals, over all pixels of all frames (Fouhey et al., ICCV 2013).

    Mean and median are over the pixels with an answer, whose share is the coverage; the shares within 11.25, 22.5
    and 30 degrees are over all pixels with ground truth, no answer being outside. Errors are kept as a histogram
    of hundredths of a degree, so the median is right to half of that and memory does not grow.
    """

    total: float = 0.0
    known: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(180 * _BINS_PER_DEGREE + 1, np.int64))
    within: np.ndarray = field(default_factory=lambda: np.zeros(len(WITHIN), np.int64))

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """A frame: float [H, W, 3] each, unit vectors in one common frame of axes. Truth NaN is not evaluated."""
        known = np.isfinite(truth).all(-1)
        error = angles(predicted[known], truth[known])
        self.known += len(error)
        error = error[np.isfinite(error)]
        self.total += float(error.sum())
        self.histogram += np.bincount((error * _BINS_PER_DEGREE).astype(np.int64), minlength=len(self.histogram))
        self.within += (error[:, None] < WITHIN).sum(0)

    def value(self) -> dict[str, float]:
        """`mean` and `median`, degrees; `within_11.25`, `within_22.5`, `within_30` and `coverage`."""
        given = int(self.histogram.sum())
        middle = int(np.searchsorted(self.histogram.cumsum(), (given + 1) / 2)) + 0.5
        shares = {f"within_{limit:g}": _ratio(n, self.known) for limit, n in zip(WITHIN, self.within, strict=True)}
        return {"mean": _ratio(self.total, given), "median": middle / _BINS_PER_DEGREE if given else math.nan,
                **shares, "coverage": _ratio(given, self.known)}


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles in degrees, float64 [N], between unit vectors [N, 3]; NaN where either is."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    # Kahan's form: arccos of float32 vectors' products is off by 0.03 degrees near zero.
    return np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1)))


@dataclass
class LabelScore(Tally):
    """mIoU (Everingham et al., PASCAL VOC, IJCV 2015) over class NAMES, as class lists and colours differ by frame.

    Intersection and union of a class are summed over all frames in which it was asked for, and the mean is over the
    classes whose union is not empty. A pixel without a label is a miss of its class; a pixel of a class that was
    not asked for is a false alarm of whichever class it got. Background is no class.
    """

    intersection: Counter[str] = field(default_factory=Counter)
    union: Counter[str] = field(default_factory=Counter)

    def add(self, predicted: np.ndarray, truth: np.ndarray, names: tuple[str, ...],
            known: np.ndarray | None = None) -> None:
        """A frame: integers [H, W], indices into names, anything else no label; known: bool [H, W], None for all."""
        for name, (both, either) in zip(names, overlaps(predicted, truth, len(names), known), strict=True):
            self.intersection[name] += both
            self.union[name] += either

    def classes(self) -> dict[str, float]:
        """IoU of each class, by name."""
        return {name: self.intersection[name] / n for name, n in sorted(self.union.items()) if n}

    def value(self) -> dict[str, float]:
        """`miou`."""
        return {"miou": _mean(list(self.classes().values()))}


@dataclass
class ReferringScore(Tally):
    """cIoU and gIoU of referring expressions, as LISA defines them (Lai et al. 2023, arXiv 2308.00692).

    cIoU: intersections summed over all expressions by unions summed over all. gIoU: mean of the expressions' IoUs;
    where neither truth nor answer has a pixel that is 1.
    """

    both: list[int] = field(default_factory=list)
    either: list[int] = field(default_factory=list)

    def add(self, predicted: np.ndarray, truth: np.ndarray, count: int, known: np.ndarray | None = None) -> None:
        """A frame with count expressions: integers [H, W], index of the expression, anything else none."""
        for both, either in overlaps(predicted, truth, count, known):
            self.both.append(both)
            self.either.append(either)

    def value(self) -> dict[str, float]:
        """`ciou` and `giou`."""
        ious = [b / e if e else 1.0 for b, e in zip(self.both, self.either, strict=True)]
        return {"ciou": _ratio(sum(self.both), sum(self.either)), "giou": _mean(ious)}


def overlaps(predicted: np.ndarray, truth: np.ndarray, count: int,
             known: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Pixels of intersection and of union of each label 0..count-1, over the known pixels."""
    if known is not None:
        predicted, truth = predicted[known], truth[known]
    found = []
    for label in range(count):
        p, t = predicted == label, truth == label
        found.append((int(np.count_nonzero(p & t)), int(np.count_nonzero(p | t))))
    return found


@dataclass
class InstanceScore(Tally):
    """SAM 3's metrics of prompted instances (arXiv 2511.16719; github.com/facebookresearch/sam3, eval/cgf1_eval.py).

    pmF1: over the positive prompts (something is there) true and false positives and misses are summed; the F1 of
    each IoU threshold 0.5, 0.55 ... 0.95 is taken, then the mean of the ten. F1: the same at 0.5 alone.
    IL_MCC: Matthews' correlation, over all prompts, of "something is there" with "something was found"; 0 for an
    answer that is always the same, NaN where only one kind of prompt was given. cgF1 = pmF1 * IL_MCC.
    Every decoded instance counts: there is no score threshold.
    presence: prompts, by whether something is there (row) and was found (column).

    Panoptic quality of the same masks (Kirillov et al. 2019, arXiv 1801.00868): of each class, over the prompts of
    both kinds, instances match at an IoU above 0.5; SQ is the mean IoU of the pairs, RQ their F1, PQ = SQ * RQ, and
    each is then averaged over the classes that are there or were found (SQ over those with a pair).
    """

    true: np.ndarray = field(default_factory=lambda: np.zeros(len(IOU_THRESHOLDS), np.int64))
    found: int = 0
    there: int = 0
    presence: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    pairs: Counter[str] = field(default_factory=Counter)
    iou: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)

    def add(self, predicted: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None, name: str = "") -> None:
        """A prompt about a class in a frame: instance ids, integers [H, W], UNLABELED_16 on the background.

        Not known pixels belong to nobody, and an instance that has most of its pixels there is not counted, as in
        panoptic quality (Kirillov et al. 2019, arXiv 1801.00868).
        """
        iou = mask_ious(predicted, truth, known)
        n_found, n_there = iou.shape
        self.presence[int(n_there > 0), int(n_found > 0)] += 1
        self.pairs[name] += int(np.count_nonzero(iou > 0.5))
        self.iou[name] += float(iou[iou > 0.5].sum())
        self.masks[name] += n_found + n_there
        if n_there:
            self.true += [matches(iou >= threshold) for threshold in IOU_THRESHOLDS]
            self.found += n_found
            self.there += n_there

    def value(self) -> dict[str, float]:
        """`cgf1`, `il_mcc`, `pmf1`, `f1`, `pq`, `sq` and `rq`."""
        f1 = [_ratio(2 * n, self.found + self.there) for n in self.true]
        pmf1, mcc = float(np.mean(f1)), self._correlation()
        judged = [name for name, n in self.masks.items() if n]
        pq = _mean([2 * self.iou[name] / self.masks[name] for name in judged])
        sq = _mean([self.iou[name] / n for name, n in self.pairs.items() if n])
        rq = _mean([2 * self.pairs[name] / self.masks[name] for name in judged])
        return {"cgf1": pmf1 * mcc, "il_mcc": mcc, "pmf1": pmf1, "f1": f1[0], "pq": pq, "sq": sq, "rq": rq}

    def _correlation(self) -> float:
        (tn, fp), (fn, tp) = self.presence.tolist()
        if not (tp + fn) * (fp + tn):
            return math.nan
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / math.sqrt(product) if product else 0.0


@dataclass
class PictureScore(Tally):
    """Objects that a painter finds again in its own pictures from text; see `evaluation.pictures`.

    wanted, found: objects of each picture's prompt, and those of them that were found. others, feigned: those of other
    prompts that pictures were searched for, and those that were found all the same.
    """

    wanted: list[int] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    others: int = 0
    feigned: int = 0

    def add(self, predicted: np.ndarray, labels: Sequence[int], own: bool) -> None:
        """The segmentation of a picture, integers [H, W]; labels: those to be found; own: of the picture's prompt."""
        found = sum(bool(np.mean(predicted == label) >= FOUND_SHARE) for label in labels)
        if own:
            self.wanted.append(len(labels))
            self.found.append(found)
        else:
            self.others += len(labels)
            self.feigned += found

    def value(self) -> dict[str, float]:
        """`pictures`: share of those whose objects were all found; `objects`: share found; `feigned`: of others'."""
        whole = [float(f == w) for f, w in zip(self.found, self.wanted, strict=True)]
        return {"pictures": _mean(whole), "objects": _ratio(sum(self.found), sum(self.wanted)),
                "feigned": _ratio(self.feigned, self.others)}


def mask_ious(predicted: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """IoU of every instance of one id image with every one of another: float64 [n_predicted, n_truth]."""
    p_ids, p = np.unique(predicted, return_inverse=True)
    t_ids, t = np.unique(truth, return_inverse=True)
    p, t = p.reshape(predicted.shape), t.reshape(truth.shape)
    p_size, t_size = np.bincount(p.ravel()), np.bincount(t.ravel())
    if known is not None:
        p, t = p[known], t[known]
    pairs = np.bincount((p * len(t_ids) + t).ravel(), minlength=len(p_ids) * len(t_ids))
    pairs = pairs.reshape(len(p_ids), len(t_ids))
    p_known, t_known = pairs.sum(1), pairs.sum(0)
    rows = (p_ids != UNLABELED_16) & (2 * p_known >= p_size)
    cols = (t_ids != UNLABELED_16) & (2 * t_known >= t_size)
    both = pairs[np.ix_(rows, cols)]
    return both / (p_known[rows, None] + t_known[None, cols] - both)


def matches(hits: np.ndarray) -> int:
    """How many pairs a one-to-one matching has at most; hits: bool [n, m], IoU of disjoint masks at least 0.5.

    Disjoint masks with an IoU above one half match in one way only (Kirillov et al. 2019). At one half exactly a
    mask may have two halves as partners, which have none but it: so hits are a forest of stars, each good for one
    pair, and a forest has as many trees as it has nodes less edges.
    """
    return int(np.count_nonzero(hits.any(1)) + np.count_nonzero(hits.any(0)) - np.count_nonzero(hits))


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b else math.nan


def _mean(values: list[float]) -> float:
    return _ratio(math.fsum(values), len(values))
