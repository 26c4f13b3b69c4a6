"""Instances: each of the decoder's five steps by a picture made for it, and the plain algorithm as oracle."""

from __future__ import annotations

from collections import deque
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.results import UNLABELED_16, Detection, Instances
from vbanana_ros.tasks import TASKS, make_request
from vbanana_ros.tasks.instance import InstanceDecoder, merge, place_color

INSTANCE = TASKS["instance"]
REQUEST = make_request("instance", ["mug"])  # on black


def canvas(height=60, width=80, color=(0, 0, 0)):
    """A picture in 0..255, to be painted on."""
    return np.full((height, width, 3), color, np.float32)


def decode(picture, request=REQUEST, **parameters):
    return INSTANCE.decode(picture.astype(np.float32) / 255, request, InstanceDecoder(**parameters))


def reference(image, background_color, decoder):
    """The paper's five steps and what is too small dropped, pixel by pixel: ids [H, W] by falling area, then box."""
    height, width, _ = image.shape
    distance = np.linalg.norm(image - np.float32(background_color), axis=-1)
    free = (distance >= decoder.tau) & np.isfinite(distance)
    fills = []
    for seed in zip(*np.nonzero(free), strict=True):
        if not free[seed]:
            continue
        queue, fill, color = deque([seed]), set(), image[seed]
        free[seed] = False
        while queue:
            y, x = queue.popleft()
            fill.add((int(y), int(x)))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and free[near] and np.linalg.norm(image[near] - color) <= decoder.tau:
                    free[near] = False
                    queue.append(near)
        fills.append(fill)
    fills = [f for f in fills if len(f) >= decoder.min_area * (height * width)]
    fills = [f for f in fills if _core(f) >= decoder.min_core * len(f)]
    changed = True
    while changed:
        changed = False
        for i, j in combinations(range(len(fills)), 2):
            if _are_one(fills[i], fills[j], image, decoder):
                fills[i] |= fills.pop(j)
                changed = True
                break
    fills = [f for f in fills if len(f) >= decoder.min_instance * (height * width)]
    fills.sort(key=lambda f: (-len(f), _box(f)))
    labels = np.full((height, width), UNLABELED_16, np.uint16)
    for i, fill in enumerate(fills):
        labels[tuple(zip(*fill, strict=True))] = i
    return labels


def _core(fill):
    return sum(all((y + dy, x + dx) in fill for dy in (-1, 0, 1) for dx in (-1, 0, 1)) for y, x in fill)


def _box(fill):
    rows, cols = zip(*fill, strict=True)
    return min(cols), min(rows), max(cols) + 1, max(rows) + 1


def _are_one(a, b, image, decoder):
    colors = [np.mean([image[p] for p in f], axis=0, dtype=float) for f in (a, b)]
    if np.linalg.norm(colors[0] - colors[1]) > decoder.tau:
        return False
    area = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (_box(a), _box(b), _box(a | b))]
    return area[2] <= decoder.merge_box * (area[0] + area[1])


@given(st.integers(0, 2**31), st.sampled_from(["noise", "patches", "ramps", "specks"]))
@settings(max_examples=60, deadline=None)
def test_the_plain_algorithm_is_the_oracle(seed, kind):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 24, 2)
    image = rng.integers(0, 3, (*(shape // 4 + 1), 3)).repeat(4, 0).repeat(4, 1)[:shape[0], :shape[1]] * 20
    if kind == "noise":
        image = image + rng.normal(0, 6, image.shape)
    elif kind == "ramps":
        image = image + np.linspace(0, 60, shape[1])[None, :, None]
    elif kind == "specks":
        image = np.where(rng.random((*shape, 1)) < 0.3, rng.integers(0, 256, image.shape), image)
    image = (image.clip(0, 255).astype(np.float32) / 255)
    decoder = InstanceDecoder(min_area=float(rng.choice([0, 0.01, 0.05])), min_core=float(rng.choice([0, 0.1])),
                              merge_box=float(rng.choice([0, 1.5, 5])), min_instance=float(rng.choice([0, 0.1])))
    result = INSTANCE.decode(image, REQUEST, decoder)
    assert np.array_equal(result.labels, reference(image * 255, (0, 0, 0), decoder))


def test_step_1_background_ends_below_tau():
    picture = canvas(color=(88, 50, 82))
    request = make_request("instance", ["mug"], background="RGB(88, 50, 82)")
    picture[10:20, 10:20] += np.float32([13, 0, 0])
    picture[30:40, 10:20] += np.float32([14, 0, 0])
    result = decode(picture, request)
    assert [d.box for d in result.detections] == [(10, 30, 10, 10)]
    assert result.confidence[15, 15] == 1 == result.confidence[0, 0]


def test_step_1_the_background_may_be_drawn_a_little_off():
    request = make_request("instance", ["mug"], background=(88, 50, 82))
    picture = canvas(color=(89, 51, 81))
    picture[10:30, 20:50] = (200, 30, 40)
    result = decode(picture, request)
    assert [(d.box, d.area, d.color) for d in result.detections] == [((20, 10, 30, 20), 600, (200, 30, 40))]
    assert (result.labels == UNLABELED_16).sum() == 60 * 80 - 600


def test_step_2_the_seeds_colour_counts_to_tau_inclusive():
    picture = canvas()
    picture[10:40, 10:20] = (200, 0, 0)
    picture[10:40, 20:30] = (200, 14, 0)
    picture[10:40, 30:40] = (200, 0, 15)
    result = decode(picture, merge_box=0)
    assert [d.box[:3] for d in result.detections] == [(10, 10, 20), (30, 10, 10)]


def test_step_2_the_distance_is_euclidean_not_by_channel():
    picture = canvas()
    picture[10:40, 10:20] = (200, 100, 100)
    picture[10:40, 20:30] = (210, 110, 110)  # 17.3 away, 10 a channel
    assert len(decode(picture, merge_box=0).detections) == 2


def test_step_2_a_ball_that_is_cut_off_inside_the_cube_is_no_part():
    picture = canvas()
    picture[10:40, 10:20] = (200, 100, 100)
    picture[10:40, 20:30] = (210, 110, 110)  # in the cube, not in the ball
    picture[10:40, 30:40] = (200, 100, 100)  # in the ball, reached only through what is not
    assert len(decode(picture, merge_box=0).detections) == 3


def test_step_2_a_slow_ramp_is_split():
    picture = canvas()
    picture[10:50, 10:70, 0] = 100 + np.arange(60)  # neighbours are 1 apart
    result = decode(picture, merge_box=0)
    # Each fill takes the seed's column and the 14 after it.
    assert [d.box for d in result.detections] == [(10 + 15 * i, 10, 15, 40) for i in range(4)]


def test_step_2_neighbours_are_four():
    picture = canvas()
    picture[10:20, 10:20] = picture[20:30, 20:30] = (200, 0, 0)
    assert len(decode(picture, merge_box=0).detections) == 2
    assert len(decode(picture).detections) == 1


def test_step_3_small_components_are_dropped():
    picture = canvas(100, 100)
    picture[10:14, 10:15] = (200, 0, 0)  # 20 pixels
    assert len(decode(picture, min_area=20 / 1e4).detections) == 1
    result = decode(picture, min_area=21 / 1e4)
    assert not result.detections and (result.labels == UNLABELED_16).all()
    assert (result.confidence[10:14, 10:15] == 0).all() and result.confidence[0, 0] == 1


def test_step_4_halos_are_dropped():
    picture = canvas()
    picture[8:42, 8:42] = (90, 45, 0)  # a rim of blended colour, two pixels wide
    picture[10:40, 10:40] = (180, 90, 0)
    assert [d.color for d in decode(picture).detections] == [(180, 90, 0)]
    assert len(decode(picture, min_core=0).detections) == 2


@pytest.mark.parametrize(("gap", "count"), [(30, 1), (31, 2)])
def test_step_5_parts_of_one_colour_merge_when_near(gap, count):
    # Two parts 4 x 10; their joint box is (8 + gap) x 10, allowed up to 5 x 80 / 10 = 40: a gap of 32.
    picture = canvas(40, 80)
    picture[10:20, 5:9] = picture[10:20, 9 + gap:13 + gap] = (0, 200, 100)
    assert len(decode(picture, merge_box=4.75).detections) == count
    one = decode(picture).detections
    assert len(one) == 1 and (one[0].box, one[0].area) == ((5, 10, 8 + gap, 10), 80)


@pytest.mark.parametrize(("shift", "count"), [(14, 1), (15, 2)])
def test_step_5_other_colours_stay_apart(shift, count):
    picture = canvas()
    picture[10:20, 10:20] = (200, 100, 0)
    picture[10:20, 25:35] = (200, 100 + shift, 0)
    assert len(decode(picture).detections) == count


def test_blended_rims_leave_masks_slightly_small_and_nothing_else():
    """A rim pixel is further than tau from both sides, so it is in no mask; no third instance may come of it."""
    large = np.zeros((240, 320), np.float32)
    large[40:140, 60:200] = 1
    share = np.pad(large, 1)
    share = sum(share[dy:dy + 240, dx:dx + 320] for dy in range(3) for dx in range(3))[..., None] / 9
    result = decode(share * np.float32([30, 180, 220]))
    detection, = result.detections
    assert detection.box == (61, 41, 138, 98) and detection.color == (30, 180, 220) and detection.area == 138 * 98
    rim = (share[..., 0] > 0.06) & (share[..., 0] < 0.94)
    assert (result.labels[rim] == UNLABELED_16).all() and (result.confidence[rim] == 0).all()


def test_noise_far_below_tau_changes_no_mask():
    rng = np.random.default_rng(0)
    picture = canvas(color=(10, 10, 10))
    picture[10:30, 10:30], picture[35:55, 40:70] = (250, 120, 30), (30, 120, 250)
    clean = decode(picture)
    noisy = decode(picture + rng.uniform(-2, 2, picture.shape))  # two pixels at most 4 sqrt(3) < 14 apart
    assert np.array_equal(noisy.labels, clean.labels)
    assert all(d.score > 0.85 for d in noisy.detections)


def test_specks_do_not_matter():
    rng = np.random.default_rng(0)
    picture = canvas(240, 320)
    picture[50:150, 100:200] = (200, 100, 50)
    specks = rng.random((240, 320)) < 0.05
    specks[48:152, 98:202] = False
    picture[specks] = rng.integers(60, 256, (specks.sum(), 3))
    result = decode(picture)
    assert [d.box for d in result.detections] == [(100, 50, 100, 100)]
    assert (result.confidence[specks] == 0).all()


def test_colours_that_are_no_numbers_belong_to_nothing():
    picture = canvas()
    picture[10:30, 10:30] = (200, 100, 50)
    picture[15, 15], picture[0, 0], picture[2, 2, 0] = np.nan, np.nan, np.inf
    result = decode(picture)
    assert [d.area for d in result.detections] == [399]
    assert result.labels[15, 15] == UNLABELED_16 and result.confidence[15, 15] == result.confidence[2, 2] == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 1), (1, 4)])
def test_the_smallest_pictures(shape):
    result = decode(canvas(*shape, color=(200, 0, 0)), min_core=0)
    assert (result.labels == 0).all() and result.detections[0].area == shape[0] * shape[1]


def test_round_trip_largest_first():
    rng = np.random.default_rng(1)
    labels = np.full((120, 160), UNLABELED_16, np.uint16)
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    sides = rng.permutation([30, 25, 20, 15])
    detections = []
    for i, side in enumerate(sides):
        labels[20:20 + side, 5 + 40 * i:5 + 40 * i + side] = i
        detections.append(Detection(i, "mug", 1.0, (5.0 + 40 * i, 20.0, float(side), float(side)), int(side**2),
                                    colors[i]))
    truth = Instances(labels, tuple(detections), np.ones(labels.shape, np.float32))
    result = INSTANCE.decode(INSTANCE.encode(truth, REQUEST), REQUEST)
    assert [d.area for d in result.detections] == [900, 625, 400, 225]
    for d in result.detections:
        other = next(t for t in detections if t.color == d.color)
        assert (d.box, d.area, d.name, d.score) == (other.box, other.area, "mug", pytest.approx(1, abs=1e-5))
        assert np.array_equal(result.labels == d.id, labels == other.id)
    assert result.labels.dtype == np.uint16 and result.confidence.dtype == np.float32


def test_torch_in_torch_out_with_the_same_numbers():
    picture = canvas()
    picture[10:30, 10:30] = (200, 100, 50)
    ours, theirs = decode(picture), INSTANCE.decode(torch.from_numpy(picture / 255), REQUEST)
    assert theirs.labels.dtype == torch.int32 and np.array_equal(theirs.labels.numpy(), ours.labels)
    assert np.array_equal(theirs.confidence.numpy(), ours.confidence) and theirs.detections == ours.detections
    painted = INSTANCE.encode(theirs, REQUEST)
    assert isinstance(painted, torch.Tensor) and np.array_equal(painted.numpy(), INSTANCE.encode(ours, REQUEST))


@pytest.mark.parametrize("torch_too", [False, True])
def test_merge_of_classes_renumbers_and_the_surer_wins(torch_too):
    def instances(name, columns, confidence):
        labels = np.full((2, 6), UNLABELED_16, np.uint16)
        labels[:, columns] = 0
        sure = np.full((2, 6), 0.9, np.float32)
        sure[:, columns] = confidence
        detection = Detection(0, name, confidence, (0.0, 0.0, 1.0, 1.0), 1, (1, 2, 3))
        if torch_too:
            return Instances(torch.from_numpy(labels.astype(np.int32)), (detection,), torch.from_numpy(sure))
        return Instances(labels, (detection,), sure)

    parts = [instances("a", slice(0, 3), 0.5), instances("b", slice(2, 4), 0.8), instances("c", slice(3, 5), 0.6)]
    result = merge(parts)
    assert isinstance(result.labels, torch.Tensor) == torch_too
    labels, confidence = np.asarray(result.labels), np.asarray(result.confidence)
    assert labels[0].tolist() == [0, 0, 1, 1, 2, UNLABELED_16]
    assert confidence[0] == pytest.approx([0.5, 0.5, 0.8, 0.8, 0.6, 0.9])
    assert [(d.id, d.name) for d in result.detections] == [(0, "a"), (1, "b"), (2, "c")]
    assert merge(parts[:1]).detections == parts[0].detections


def test_background_is_sure_only_where_all_classes_agree():
    empty = np.full((1, 2), UNLABELED_16, np.uint16)
    a, b = (Instances(empty, (), np.float32([c])) for c in ([1, 0], [0.5, 1]))
    assert merge([a, b]).confidence.tolist() == [[0.5, 0]]


def test_place_color_says_where_and_how_large():
    mask = np.zeros((100, 100), bool)
    mask[0:10, 80:100] = True
    red, green, blue = place_color(mask, (0, 0, 0))
    assert (red, green) == (round(255 * 0.9), round(255 * 0.05)) and 155 <= blue <= 255
    assert place_color(mask, (0, 0, 200))[2] <= 100
    assert place_color(np.ones((4, 4), bool), (0, 0, 0))[2] == 255


def test_prompt():
    request = make_request("instance", ["price tag"], background=(88, 50, 82))
    assert INSTANCE.prompt(request) == ("Generate an instance segmentation visualization of this image. "
                                        "Each price tag is colored differently. Background is RGB(88, 50, 82).")
