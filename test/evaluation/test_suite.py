"""Suites through generators that know the answers, wholly or with a known mistake; tables, pages and files."""

from __future__ import annotations

import gzip
import json
import math
import re
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import vbanana_ros.evaluation as evaluation
from vbanana_ros.camera import Camera
from vbanana_ros.errors import InputError, SimError
from vbanana_ros.evaluation import Case, Exam, Question, Scores, Suite, evaluate, run
from vbanana_ros.evaluation.ranking import Ranking
from vbanana_ros.evaluation.real import real_suites
from vbanana_ros.evaluation.store import Store
from vbanana_ros.evaluation.suite import labelled
from vbanana_ros.evaluation.table import markdown, write_json
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.profile import Profile
from vbanana_ros.results import UNLABELED_16, DepthMap, Detection, Instances, NormalMap, Result
from vbanana_ros.tasks import TASKS, dialect, make_request
from vbanana_ros.tasks.instance import place_color
from vbanana_ros.tuning.sets.voc import NAMES as VOC_NAMES
from vbanana_ros.votes import ballots

H, W = 48, 64
SEED = 3  # of palettes that keep clear of mid-gray


class Oracle:
    """A Generator that paints, about each picture of some cases, the true answers, changed by `spoil`."""

    name, weights = "oracle", "0" * 64
    capabilities = Capabilities(1, 1 << 30, 16, 1, 1, True, False, "Apache-2.0", max_images=8)

    def __init__(self, cases: Iterable[Case], spoil: Callable[[Question], Result] = lambda q: q.truth) -> None:
        self.spoil, self.frames, self.batches = spoil, 0, []
        self.questions = {(case.rgb.tobytes(), TASKS[q.request.task].prompt(q.request)): q
                          for case in cases for q in case.questions}

    def encode_prompts(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def encode_image(self, rgb: np.ndarray, K: np.ndarray | None = None) -> bytes | list[bytes]:
        self.batches.append(len(rgb) if rgb.ndim == 4 else 1)
        return [one.tobytes() for one in rgb] if rgb.ndim == 4 else rgb.tobytes()

    def generate(self, image: bytes | list[bytes], prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        if isinstance(image, list):
            return np.stack([self.generate(one, prompts) for one in image])
        self.frames += 1
        asked = [self.questions[image, prompt] for prompt in prompts]
        return np.stack([TASKS[q.request.task].encode(self.spoil(q), q.request) for q in asked])


class Gray(Oracle):
    """Paints mid-gray, a colour that means nothing in any code, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__(())

    def generate(self, image: bytes, prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        return np.full((len(prompts), H, W, 3), 0.5, np.float32)


def a_case(seed: int = SEED) -> Case:
    """Everything asked of one frame: a slope, a wall that faces the camera, two halves, two boxes."""
    sure, rng = np.ones((H, W), np.float32), np.random.default_rng(seed)
    depth = np.broadcast_to(np.linspace(1, 4, W, dtype=np.float32), (H, W))
    normals = np.broadcast_to(np.array([0, 0, -1], np.float32), (H, W, 3))
    halves = np.zeros((H, W), np.uint8)
    halves[:, W // 2:] = 1
    boxes = np.full((H, W), UNLABELED_16, np.uint16)
    boxes[10:30, 8:24], boxes[10:30, 40:56] = 0, 1
    there, absent = (make_request("instance", [name], background="black") for name in ("box", "mug"))
    found = tuple(Detection(i, "box", 1.0, (0, 0, 0, 0), 320, place_color(boxes == i, there.background))
                  for i in range(2))
    return Case(rng.integers(0, 256, (H, W, 3), np.uint8), (
        Question(make_request("depth"), DepthMap(depth, sure)),
        Question(make_request("normals"), NormalMap(normals, sure)),
        labelled("semantic", ("wall", "floor", "dog"), halves, rng),
        labelled("referring", ("the left half",), np.where(halves, 255, 0).astype(np.uint8), rng),
        Question(there, Instances(boxes, found, sure)),
        Question(absent, Instances(np.full((H, W), UNLABELED_16, np.uint16), (), sure)),
    ))


def values(spoil: Callable[[Question], Result] = lambda q: q.truth) -> dict[str, dict[str, float]]:
    case = a_case()
    return evaluate(Exam(Oracle([case], spoil)), [case]).value()


def check_perfect(scores: Scores, f1: float = 1.0) -> None:
    value = scores.value()
    for task, metric, best in (("depth", "delta1", 1), ("depth", "absrel", 0), ("depth", "coverage", 1),
                               ("normals", "mean", 0), ("normals", "median", 0.005), ("normals", "within_11.25", 1),
                               ("semantic", "miou", 1), ("referring", "ciou", 1), ("referring", "giou", 1),
                               ("instance", "il_mcc", 1)):
        if task in value and not math.isnan(value[task][metric]):
            assert value[task][metric] == pytest.approx(best, abs=1e-3), (task, metric)
    if "instance" in value:
        assert value["instance"]["f1"] >= f1


def test_the_truth_painted_and_decoded_is_perfect():
    case = a_case()
    scores = evaluate(Exam(Oracle([case])), [case])
    check_perfect(scores)
    assert scores.frames == 1
    assert scores.asked == {"depth": 1, "normals": 1, "semantic": 1, "referring": 1, "instance": 2}


def test_depth_too_far():
    def spoil(q):
        return replace(q.truth, depth=q.truth.depth * 1.2) if q.request.task == "depth" else q.truth

    value = values(spoil)["depth"]
    assert value["delta1"] == 1 and value["absrel"] == pytest.approx(0.2, abs=1e-4)


def test_relative_depth_is_aligned_and_metric_depth_where_asked():
    case = a_case()
    question, truth = case.questions[0], case.questions[0].truth
    scores = Scores()
    scores.add(question, replace(truth, depth=truth.depth / 7 + 1, metric=False))
    assert list(scores.value()) == ["depth_aligned"] and scores.asked == {"depth_aligned": 1}
    assert scores.value()["depth_aligned"] == pytest.approx({"delta1": 1, "absrel": 0, "coverage": 1}, abs=1e-6)

    def spoil(q):
        return replace(q.truth, depth=q.truth.depth * 2) if q.request.task == "depth" else q.truth

    value = evaluate(Exam(Oracle([case], spoil), align=True), [case]).value()
    assert value["depth"]["delta1"] == 0 and value["depth_aligned"]["delta1"] == 1
    assert "| depth, aligned | delta1 ↑" in markdown({"sim": scores}, "")


def test_a_model_of_another_dialect_is_asked_and_judged_in_it():
    """Inverse depth in grey, normals with x the other way, instances on black: painted as the profile says, perfect."""
    case = a_case()
    profile = Profile("banana", "flux2", tuple(TASKS), "Apache-2.0", 1 << 20, depth_code="inverse-gray",
                      normals_axes="+x+y+z", instance_background="black", prompts={"depth": "Depth, near is bright."})
    scores = evaluate(Exam(Foreign(case, profile)), [case])
    check_perfect(scores)
    assert "depth" not in scores.value() and scores.asked["depth_aligned"] == 1
    assert scores.value()["depth_aligned"] == pytest.approx({"delta1": 1, "absrel": 0, "coverage": 1}, abs=1e-4)


class Foreign(Oracle):
    """Paints the truth in the dialect of a profile."""

    def __init__(self, case: Case, profile: Profile) -> None:
        super().__init__([case])
        self.profile, self.tasks = profile, dialect(profile)
        self.questions = {self.tasks[q.request.task].prompt(q.request): q for q in case.questions}

    def generate(self, image: bytes, prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        asked = [self.questions[prompt] for prompt in prompts]
        return np.stack([self.tasks[q.request.task].encode(q.truth, q.request) for q in asked])


def test_normals_tilted():
    tilt = np.radians(20)

    def spoil(q):
        tilted = np.array([np.sin(tilt), 0, -np.cos(tilt)], np.float32)
        return replace(q.truth, normals=np.broadcast_to(tilted, (H, W, 3))) if q.request.task == "normals" else q.truth

    value = values(spoil)["normals"]
    assert value["mean"] == pytest.approx(20, abs=1e-3) and value["median"] == pytest.approx(20, abs=0.01)
    assert (value["within_11.25"], value["within_22.5"]) == (0, 1)


def test_labels_moved():
    def spoil(q):
        if q.request.task not in ("semantic", "referring"):
            return q.truth
        labels = q.truth.labels.copy()
        labels[:, :8] = 255 if q.request.task == "referring" else 2
        return replace(q.truth, labels=labels)

    value = values(spoil)  # of 32 columns 8 are lost; the dog, which is not there, gets them: 24/32, 32/32, 0/8
    assert value["semantic"]["miou"] == pytest.approx((24 / 32 + 1 + 0) / 3)
    assert value["referring"] == {"ciou": 0.75, "giou": 0.75}


def test_an_instance_lost_and_one_dreamt_up():
    def spoil(q):
        if q.request.labels == ("box",):
            return replace(q.truth, detections=q.truth.detections[:1])
        if q.request.labels == ("mug",):
            box = a_case().questions[4].truth
            return box
        return q.truth

    value = values(spoil)["instance"]
    # Boxes: one of two, whole, so PQ and RQ are 1 / 1.5; mugs: two that are not there, so 0.
    assert value == pytest.approx({"cgf1": 0, "il_mcc": 0, "pmf1": 2 / 3, "f1": 2 / 3,
                                   "pq": 1 / 3, "sq": 1, "rq": 1 / 3})


def test_nonsense_scores_nothing():
    value = evaluate(Exam(Gray()), [a_case()]).value()
    assert value["depth"]["delta1"] == value["depth"]["coverage"] == value["normals"]["within_30"] == 0
    assert math.isnan(value["depth"]["absrel"]) and math.isnan(value["normals"]["mean"])
    assert value["semantic"]["miou"] == value["referring"]["ciou"] == value["instance"]["pmf1"] == 0


@pytest.fixture(scope="module")
def sim_cases():
    pytest.importorskip("mujoco")
    from vbanana_ros.evaluation.sim import SimCases
    from vbanana_ros.sim import Renderer

    try:
        with Renderer(640, 480) as renderer:
            return list(SimCases(renderer, 8))
    except SimError as error:  # names the Debian package libosmesa6
        pytest.skip(str(error))


def test_the_truth_of_simulated_scenes_is_perfect(sim_cases):
    assert all(case.rgb.shape == (480, 640, 3) for case in sim_cases)
    check_perfect(evaluate(Exam(Oracle(sim_cases)), sim_cases), f1=0.9)


def test_simulated_questions_are_fair(sim_cases):
    from vbanana_ros.evaluation.sim import SimCases
    from vbanana_ros.sim import Renderer

    for case in sim_cases:
        tasks = [q.request.task for q in case.questions]
        assert tasks[:3] == ["depth", "normals", "semantic"] and tasks.count("instance") in (0, 1, 2)
        for q in case.questions:
            here = set(np.unique(q.truth.labels)) if hasattr(q.truth, "labels") else set()
            if q.request.task == "semantic":
                assert 1 <= len(q.request.labels) <= 12 and here & set(range(12))
            if q.request.task == "referring":
                assert 1 <= len(q.request.labels) <= 3 and set(range(len(q.request.labels))) <= here
    asked = {len(q.request.labels) for case in sim_cases for q in case.questions if q.request.task == "semantic"}
    assert max(asked) > 8
    with Renderer(640, 480) as renderer:
        again = SimCases(renderer, 500)[5]
    assert again.rgb.tobytes() == sim_cases[5].rgb.tobytes()
    assert [q.request for q in again.questions] == [q.request for q in sim_cases[5].questions]


def test_the_floor_is_told_where_that_is_asked_for(sim_cases):
    """Of depth that is painted too small by a quarter; the lowest of the true points lie on it, where it is seen."""
    lowest = []
    for case in sim_cases:
        points = Camera(640, 480, case.K).rays() * case.questions[0].truth.depth[..., None]
        above = 1 - points[np.isfinite(points).all(-1)] @ case.floor  # in heights of the camera
        lowest.append(above.min())
    assert min(lowest) > -0.001 and sum(above < 0.001 for above in lowest) == 4
    asked = [replace(case, questions=case.questions[:1])
             for case, above in zip(sim_cases, lowest, strict=True) if above < 0.001]
    small = [replace(case, questions=tuple(replace(q, truth=replace(q.truth, depth=0.75 * q.truth.depth))
                                           for q in case.questions)) for case in asked]
    plain, told = ([evaluate(Exam(Oracle(small), floor=floor), [case]).value()["depth"]["absrel"] for case in asked]
                   for floor in (False, True))
    assert np.allclose(plain, 0.25, atol=0.01)
    assert np.allclose(sorted(told), [0, 0, 0, 0.25], atol=0.025)  # of the last too little floor is seen


@pytest.fixture
def data(tmp_path):
    """Folders in the formats of NYU, KITTI, COCO and VOC, with one tiny frame each; Redwood is missing."""
    rng = np.random.default_rng(0)

    def write(path, array):
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / path), array[..., ::-1] if array.ndim == 3 else array)

    def picture():
        return rng.integers(0, 256, (H, W, 3), np.uint8)

    for folder, rgb, depth, unit in (("nyu_metric3d", "rgb_0.jpg", "sync_depth_0.png", 1000),
                                     ("kitti_metric3d", "rgb_0.png", "depth_0.png", 256)):
        raw = np.full((H, W), 2 * unit, np.uint16)
        raw[:, :16] = 0
        write(tmp_path / folder / rgb, picture())
        write(tmp_path / folder / depth, raw)

    coco = tmp_path / "coco_panopticapi"
    segments = np.zeros((H, W, 3), np.uint8)
    segments[:, 16:40], segments[:, 40:] = (4, 1, 0), (5, 0, 0)  # ids 260 and 5; 0 is nothing
    write(coco / "panoptic_examples_7.png", segments)
    write(coco / "input_images_7.jpg", picture())
    (coco / "panoptic_examples.json").write_text(json.dumps({
        "categories": [{"id": 1, "name": "person", "isthing": 1},
                       {"id": 187, "name": "sky-other-merged", "isthing": 0}],
        "images": [{"id": 7, "file_name": "7.jpg"}],
        "annotations": [{"image_id": 7, "file_name": "7.png", "segments_info": [
            {"id": 260, "category_id": 187}, {"id": 5, "category_id": 1}]}]}))

    classes, objects = np.zeros((2, H, W), np.uint8)
    classes[10:30, 8:56], classes[30] = VOC_NAMES.index("person"), 255
    objects[10:30, 8:24], objects[10:30, 24:56] = 1, 2
    write(tmp_path / "voc_labelme" / "1_class.png", classes)
    write(tmp_path / "voc_labelme" / "1_object.png", objects)
    write(tmp_path / "voc_labelme" / "1.jpg", picture())
    return tmp_path


def test_real_formats(data):
    found = list(real_suites(data))
    assert [s if isinstance(s, str) else s.name for s in found] == [
        "nyu", f"redwood: skipped, no folder {str(data / 'open3d_redwood')!r}", "kitti", "coco", "voc"]
    nyu, _, kitti, coco, voc = found
    for suite in (nyu, kitti):
        metres = suite.cases[0].questions[0].truth.depth
        assert np.isnan(metres[:, :16]).all() and (metres[:, 16:] == 2).all()
    question, *instances = coco.cases[0].questions
    assert [q.request.labels[0] for q in instances] == ["person"]  # the only thing of this set
    assert question.request.labels == ("person", "sky") and question.known.sum() == H * 48
    assert (question.truth.labels[:, 16:40] == 1).all() and (question.truth.labels[:, 40:] == 0).all()
    semantic, persons, absent = voc.cases[0].questions
    assert semantic.request.labels == persons.request.labels == ("person",)
    assert [d.area for d in persons.truth.detections] == [320, 640]
    assert not semantic.known[30].any() and semantic.known[:30].all()
    assert not persons.known[30].any() and persons.known[:30].all()
    assert absent.request.labels[0] in set(VOC_NAMES) - {"person", "background"} and not absent.truth.detections
    for suite in (nyu, kitti, coco, voc):
        check_perfect(evaluate(Exam(Oracle(suite.cases)), suite.cases))


def test_a_broken_sample_is_named(data):
    (data / "coco_panopticapi" / "panoptic_examples.json").write_text("{")
    with pytest.raises(InputError, match="coco_panopticapi"):
        list(real_suites(data))


def test_the_truth_of_the_real_frames_is_perfect():
    folder = Path("../shared/data")
    if not folder.is_dir():
        pytest.skip("no real frames: ../shared/data is not there")
    for suite in real_suites(folder):
        if isinstance(suite, Suite):
            check_perfect(evaluate(Exam(Oracle(suite.cases)), suite.cases), f1=0.9)


def test_markdown_is_a_table():
    case = a_case()
    text = markdown({"sim": evaluate(Exam(Oracle([case])), [case])}, "vbanana evaluate")
    lines = text.splitlines()
    assert lines[0].startswith("| frames") and set(lines[1]) == {"|", "-"}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    assert len(rows) == 19 and all(len(row) == 5 for row in rows)
    assert ["sim (1)", "semantic", "mIoU ↑", "100.0", "69.9 (Cityscapes val)"] in rows
    assert "Made by `vbanana evaluate`" in lines[-1]


def test_json_is_strict_and_atomic(tmp_path):
    case = a_case()
    path = tmp_path / "new" / "scores.json"
    write_json(path, {"sim": evaluate(Exam(Gray()), [case])}, {"model": "gray"})
    record = json.loads(path.read_text())
    assert record["model"] == "gray" and record["suites"]["sim"]["frames"] == 1
    assert record["suites"]["sim"]["depth"] == {"delta1": 0, "absrel": None, "coverage": 0, "requests": 1}
    assert record["suites"]["sim"]["semantic"]["classes"] == {"floor": 0, "wall": 0}
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]
    with pytest.raises(InputError, match="cannot write"):
        write_json(path / "below", {}, {})


def test_run_prints_the_table_and_writes_the_file(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Gray())
    run("nano", "real", data, json_path=tmp_path / "out.json")
    out, err = capsys.readouterr()
    assert out.startswith("| frames") and f"vbanana evaluate --model nano --suite real --data {data}" in out
    assert "redwood: skipped" in err
    record = json.loads((tmp_path / "out.json").read_text())
    assert set(record["suites"]) == {"nyu", "kitti", "coco", "voc"}
    assert (record["model"], record["weights"], record["suite"]) == ("oracle", "0" * 64, "real")


def test_run_without_real_frames(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Gray())
    monkeypatch.chdir(tmp_path)
    run("nano", "real")
    out, err = capsys.readouterr()
    assert out == "" and "real frames: skipped, no folder '../shared/data'" in err
    with pytest.raises(InputError, match="no folder"):
        run("nano", "real", tmp_path / "nowhere")


def test_run_on_simulated_scenes(sim_cases, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Oracle(sim_cases))
    run("nano", "sim", count=2)
    assert "| sim (2) | depth     | delta1 ↑" in capsys.readouterr().out


class Noisy(Oracle):
    """Paints the truth with noise that is the same each time; killed at the frame `last`."""

    last = math.inf

    def generate(self, image: bytes | list[bytes], prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        if self.frames >= self.last:
            raise KeyboardInterrupt
        painted = super().generate(image, prompts, steps, seed)
        noise = np.random.default_rng(seed).normal(0, 0.15, painted.shape).astype(np.float32)
        return np.clip(painted + noise, 0, 1)


class Damaged(list):
    """Cases the third of which cannot be read."""

    def __getitem__(self, place: int) -> Case:
        if place == 2:
            raise InputError("c.png is cut; copy it again")
        return super().__getitem__(place)


class OnlyDamaged(Damaged):
    """One case, which cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Case:
        return super().__getitem__(2)


def depths(count: int) -> list[Case]:
    """Frames of which depth alone is asked, the same request."""
    return [replace(case, questions=case.questions[:1], name=f"<{i}>.png")
            for i, case in enumerate(a_case(seed) for seed in range(count))]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_run_that_was_killed_goes_on_to_the_same_figures(tmp_path, batch):
    cases = [a_case(seed) for seed in range(5)]
    whole = evaluate(Exam(Noisy(cases), batch), cases)
    assert whole.value() != evaluate(Exam(Oracle(cases)), cases).value()
    killed = Noisy(cases)
    killed.last = 3
    with pytest.raises(KeyboardInterrupt):
        evaluate(Exam(killed, batch), cases, Store(tmp_path))
    kept = {p.name for p in tmp_path.iterdir()}
    assert kept == {f"{i:06d}.json.gz" for i in range(3 // batch * batch)}
    resumed = Noisy(cases)
    assert evaluate(Exam(resumed, batch), cases, Store(tmp_path)).record() == whole.record()
    assert resumed.frames == 5 - len(kept)
    again = Noisy(cases)
    assert evaluate(Exam(again, batch), cases, Store(tmp_path)).record() == whole.record() and not again.frames


def test_a_result_that_was_cut_is_asked_again(tmp_path):
    cases = [a_case()]
    whole = evaluate(Exam(Oracle(cases)), cases, Store(tmp_path))
    path, = tmp_path.iterdir()
    for content in (path.read_bytes()[:-9], b"", gzip.compress(b"[1]"), gzip.compress(b'{"depth": {"delta2": []}}')):
        path.write_bytes(content)
        generator = Oracle(cases)
        assert evaluate(Exam(generator), cases, Store(tmp_path)).record() == whole.record() and generator.frames == 1


def test_frames_that_are_asked_the_same_share_a_batch():
    cases = depths(5)
    generator, alone = Oracle(cases), Oracle(cases)
    assert evaluate(Exam(generator, batch=2), cases).value() == evaluate(Exam(alone), cases).value()
    assert generator.batches == [2, 2, 1] and alone.batches == [1] * 5
    cases[1:3] = [a_case(1), a_case(2)]
    generator = Oracle(cases)
    check_perfect(evaluate(Exam(generator, batch=8), cases))
    assert sorted(generator.batches) == [1, 1, 3]


def test_damaged_frames_are_skipped_counted_and_named(tmp_path):
    cases = depths(4)
    for _ in range(2):
        scores = evaluate(Exam(Oracle(cases), batch=2), Damaged(cases), Store(tmp_path))
        assert scores.frames == 3 and scores.skipped == ["c.png is cut; copy it again"]
    assert len(list(tmp_path.iterdir())) == 3
    assert "| set (3, 1 skipped) | depth" in markdown({"set": scores}, "")
    assert scores.record()["skipped"] == scores.skipped


def test_no_frame_is_held_longer_than_its_batch():
    alive = []

    class Watched(list):
        def __getitem__(self, place: int) -> Case:
            case = replace(super().__getitem__(place))
            alive.append(weakref.ref(case))
            assert sum(ref() is not None for ref in alive) <= 3  # a batch, and the one before until it is let go
            return case

    cases = depths(9)
    evaluate(Exam(Oracle(cases)), Watched(cases))
    assert len(alive) == 9


def test_what_a_model_cannot_do_is_not_asked():
    case = a_case()
    generator = Oracle([case])
    generator.capabilities = replace(Oracle.capabilities, tasks=("depth", "normals"))
    assert list(evaluate(Exam(generator), [case]).value()) == ["depth", "normals"]


def test_votes_mend_a_legend_that_is_misread():
    """The generator takes two classes for one another under their first legend only."""
    case = a_case()
    asked = case.questions[2]
    first, *others = ballots(asked.request, 3)
    swapped = replace(asked.truth, labels=1 - asked.truth.labels)
    generator = Oracle([replace(case, questions=(replace(asked, truth=swapped),) + tuple(
        replace(asked, request=ballot, truth=replace(asked.truth, colors=ballot.colors)) for ballot in others))])
    only = [replace(case, questions=(asked,))]
    assert evaluate(Exam(generator), only).value()["semantic"]["miou"] == 0
    assert evaluate(Exam(generator, votes=3), only).value()["semantic"]["miou"] == 1


def a_set(monkeypatch, cases: Sequence[Case]) -> None:
    """A public set `toys` of these cases."""
    monkeypatch.setattr(evaluation, "_check", lambda suite, data: None)
    monkeypatch.setattr(evaluation, "record_suite", lambda name, data, split, count: Suite(name, cases))


def test_run_refuses_a_folder_of_another_run(tmp_path, monkeypatch, capsys):
    cases = depths(2)
    a_set(monkeypatch, cases)
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Oracle(cases))
    run("nano", "toys", tmp_path, out=tmp_path / "out")
    run("nano", "toys", tmp_path, out=tmp_path / "out", batch=2)
    with pytest.raises(InputError, match="holds a run whose suite is 'toys', not 'plays'; name another folder"):
        run("nano", "plays", tmp_path, out=tmp_path / "out")
    with pytest.raises(InputError, match="whose votes is 1, not 3"):
        run("nano", "toys", tmp_path, out=tmp_path / "out", votes=3)
    monkeypatch.setattr(Oracle, "weights", "1" * 64)
    with pytest.raises(InputError, match="whose weights is '000"):
        run("nano", "toys", tmp_path, out=tmp_path / "out")
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(InputError, match="run.json' cannot be read; name another folder"):
        run("nano", "toys", tmp_path, out=tmp_path / "out")


def test_run_of_frames_that_are_all_damaged(tmp_path, monkeypatch):
    a_set(monkeypatch, OnlyDamaged())
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Gray())
    with pytest.raises(InputError, match="no frame of toys can be asked about: c.png is cut"):
        run("nano", "toys", tmp_path)


def test_unknown_suites_and_sets_without_a_folder():
    with pytest.raises(InputError, match="no suite 'simm'; choose from sim, real, all, .*nyuv2"):
        run("nano", "simm")
    with pytest.raises(InputError, match="ade20k is not shipped; name its folder with --data"):
        run("nano", "ade20k")


def test_frames_are_ranked_by_their_own_figures():
    ranking = Ranking()
    for place, share in enumerate([0.5, 0.9, math.nan, 0.1, 0.7]):
        ranking.add(place, SimpleNamespace(value=lambda share=share: {"semantic": {"miou": share}}))
    assert ranking.picked("semantic") == {"best": (0.9, 1), "median": (0.7, 4), "worst": (0.1, 3)}
    alone = Ranking()
    alone.add(7, SimpleNamespace(value=lambda: {"depth": {"delta1": 0.0}}))
    assert alone.picked("depth") == {"best": (0.0, 7)}


def test_the_page_is_whole_in_itself_and_shows_three_frames_a_task(tmp_path, monkeypatch, capsys):
    cases = Damaged(replace(a_case(seed), name=f"<{seed}>.png") for seed in range(6))
    a_set(monkeypatch, cases)
    readable = [case for i, case in enumerate(list.copy(cases)) if i != 2]
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Noisy(readable))
    run("nano", "toys", tmp_path, html_path=tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    bare = re.sub(r"base64,[^\"]+", "", html)
    assert not re.search(r"https?:|@import|url\(|<link|<!--", bare)
    assert bare.count("<figcaption>") == 5 * 3 * 4
    assert [bare.count(f"<h3>{name}</h3>") for name in ("best", "median", "worst")] == [5, 5, 5]
    assert re.search(r"&lt;\d&gt;\.png", bare) and not re.search(r"<\d>", bare)
    for text in ("1 skipped", "c.png is cut", "0.882 (mean of 6 real sets)", "toys · instance", "truth",
                 "painted", "decoded", "mIoU"):
        assert text in bare
    assert len(html) < 3_000_000


def test_figures_are_of_the_speed_that_a_parameter_file_asks_for(tmp_path, monkeypatch, capsys):
    params = tmp_path / "fast.yaml"
    params.write_text("/**: {ros__parameters: {dtype: bfloat16}}\n")
    seen = []
    monkeypatch.setattr(evaluation, "load_generator",
                        lambda model, device, speed: (seen.append(speed.dtype), Gray())[1])
    folder = Path(__file__).parents[1]
    with pytest.raises(InputError):
        evaluation.run(suite="folder", data=folder, params_file=params)
    assert seen == ["bfloat16"]
