"""Suites through generators that know the answers, wholly or with a known mistake; tables and files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import vbanana_ros.evaluation as evaluation
from vbanana_ros.errors import InputError, SimError
from vbanana_ros.evaluation import Case, Question, Scores, Suite, evaluate, run
from vbanana_ros.evaluation.real import VOC_CLASSES, real_suites
from vbanana_ros.evaluation.suite import labelled
from vbanana_ros.evaluation.table import markdown, write_json
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.results import UNLABELED_16, DepthMap, Detection, Instances, NormalMap, Result
from vbanana_ros.tasks import TASKS, make_request
from vbanana_ros.tasks.instance import place_color

H, W = 48, 64
SEED = 3  # of palettes that keep clear of mid-gray


class Oracle:
    """A Generator that paints, about each picture of some cases, the true answers, changed by `spoil`."""

    name, weights = "oracle", "0" * 64
    capabilities = Capabilities(1, 1 << 30, 16, 1, 1, True, False, "Apache-2.0")

    def __init__(self, cases: Iterable[Case], spoil: Callable[[Question], Result] = lambda q: q.truth) -> None:
        self.spoil = spoil
        self.questions = {(case.rgb.tobytes(), TASKS[q.request.task].prompt(q.request)): q
                          for case in cases for q in case.questions}

    def encode_prompts(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def encode_image(self, rgb: np.ndarray) -> bytes:
        return rgb.tobytes()

    def generate(self, image: bytes, prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        asked = [self.questions[image, prompt] for prompt in prompts]
        return np.stack([TASKS[q.request.task].encode(self.spoil(q), q.request) for q in asked])


class Gray(Oracle):
    """Paints mid-gray, a colour that means nothing in any code, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__(())

    def generate(self, image: bytes, prompts: Sequence[str], steps: int = 1, seed: int = 0) -> np.ndarray:
        return np.full((len(prompts), H, W, 3), 0.5, np.float32)


def a_case() -> Case:
    """Everything asked of one frame: a slope, a wall that faces the camera, two halves, two boxes."""
    sure, rng = np.ones((H, W), np.float32), np.random.default_rng(SEED)
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
    return evaluate(Oracle([case], spoil), [case]).value()


def check_perfect(scores: Scores, f1: float = 1.0) -> None:
    value = scores.value()
    for task, metric, best in (("depth", "delta1", 1), ("depth", "absrel", 0), ("depth", "coverage", 1),
                               ("normals", "mean", 0), ("normals", "median", 0.005), ("normals", "within_11.25", 1),
                               ("semantic", "miou", 1), ("referring", "ciou", 1), ("referring", "giou", 1),
                               ("instance", "il_mcc", 1)):
        if task in value:
            assert value[task][metric] == pytest.approx(best, abs=1e-3), (task, metric)
    if "instance" in value:
        assert value["instance"]["f1"] >= f1


def test_the_truth_painted_and_decoded_is_perfect():
    case = a_case()
    scores = evaluate(Oracle([case]), [case])
    check_perfect(scores)
    assert scores.frames == 1
    assert scores.asked == {"depth": 1, "normals": 1, "semantic": 1, "referring": 1, "instance": 2}


def test_depth_too_far():
    def spoil(q):
        return replace(q.truth, depth=q.truth.depth * 1.2) if q.request.task == "depth" else q.truth

    value = values(spoil)["depth"]
    assert value["delta1"] == 1 and value["absrel"] == pytest.approx(0.2, abs=1e-4)


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
    assert value == {"cgf1": 0, "il_mcc": 0, "pmf1": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}


def test_nonsense_scores_nothing():
    value = evaluate(Gray(), [a_case()]).value()
    assert value["depth"]["delta1"] == value["depth"]["coverage"] == value["normals"]["within_30"] == 0
    assert math.isnan(value["depth"]["absrel"]) and math.isnan(value["normals"]["mean"])
    assert value["semantic"]["miou"] == value["referring"]["ciou"] == value["instance"]["pmf1"] == 0


@pytest.fixture(scope="module")
def sim_cases():
    pytest.importorskip("mujoco")
    from vbanana_ros.evaluation.sim import sim_suite

    try:
        return list(sim_suite(8))  # of which the last asks for what is not there
    except SimError as error:  # names the Debian package libosmesa6
        pytest.skip(str(error))


def test_the_truth_of_simulated_scenes_is_perfect(sim_cases):
    assert all(case.rgb.shape == (480, 640, 3) for case in sim_cases)
    check_perfect(evaluate(Oracle(sim_cases), sim_cases), f1=0.9)


def test_simulated_questions_are_fair(sim_cases):
    from vbanana_ros.evaluation.sim import sim_suite

    for case in sim_cases:
        tasks = [q.request.task for q in case.questions]
        assert tasks[:3] == ["depth", "normals", "semantic"] and tasks.count("instance") in (0, 1, 2)
        for q in case.questions:
            here = set(np.unique(q.truth.labels)) if hasattr(q.truth, "labels") else set()
            if q.request.task == "semantic":
                assert 1 <= len(q.request.labels) <= 8 and here & set(range(8))
            if q.request.task == "referring":
                assert 1 <= len(q.request.labels) <= 3 and set(range(len(q.request.labels))) <= here
    again = next(sim_suite(1))
    assert again.rgb.tobytes() == sim_cases[0].rgb.tobytes()
    assert [q.request for q in again.questions] == [q.request for q in sim_cases[0].questions]


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
    (coco / "panoptic_coco_categories.json").write_text(json.dumps(
        [{"id": 1, "name": "person"}, {"id": 187, "name": "sky-other-merged"}]))
    (coco / "panoptic_examples.json").write_text(json.dumps({"annotations": [{"file_name": "7.png", "segments_info": [
        {"id": 260, "category_id": 187}, {"id": 5, "category_id": 1}]}]}))

    classes, objects = np.zeros((2, H, W, 3), np.uint8)
    classes[10:30, 8:56], classes[30] = (192, 128, 128), (224, 224, 192)  # VOC's colours of person and of unsure
    objects[10:30, 8:24], objects[10:30, 24:56] = (128, 0, 0), (0, 128, 0)  # of 1 and of 2
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
    question = coco.cases[0].questions[0]
    assert question.request.labels == ("person", "sky") and question.known.sum() == H * 48
    assert (question.truth.labels[:, 16:40] == 1).all() and (question.truth.labels[:, 40:] == 0).all()
    semantic, persons, absent = voc.cases[0].questions
    assert semantic.request.labels == persons.request.labels == ("person",)
    assert [d.area for d in persons.truth.detections] == [320, 640]
    assert not semantic.known[30].any() and semantic.known[:30].all()
    assert absent.request.labels[0] in set(VOC_CLASSES) - {"person"} and not absent.truth.detections
    for suite in (nyu, kitti, coco, voc):
        check_perfect(evaluate(Oracle(suite.cases), suite.cases))


def test_a_broken_sample_is_named(data):
    (data / "coco_panopticapi" / "panoptic_examples.json").write_text("{")
    with pytest.raises(InputError, match="coco_panopticapi.*copy it again"):
        list(real_suites(data))


def test_the_truth_of_the_real_frames_is_perfect():
    folder = Path("../shared/data")
    if not folder.is_dir():
        pytest.skip("no real frames: ../shared/data is not there")
    for suite in real_suites(folder):
        if isinstance(suite, Suite):
            check_perfect(evaluate(Oracle(suite.cases), suite.cases), f1=0.99)


def test_markdown_is_a_table():
    case = a_case()
    text = markdown({"sim": evaluate(Oracle([case]), [case])}, "vbanana evaluate")
    lines = text.splitlines()
    assert lines[0].startswith("| frames") and set(lines[1]) == {"|", "-"}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    assert len(rows) == 16 and all(len(row) == 5 for row in rows)
    assert ["sim (1)", "semantic", "mIoU ↑", "100.0", "69.9 (Cityscapes val)"] in rows
    assert "Made by `vbanana evaluate`" in lines[-1]


def test_json_is_strict_and_atomic(tmp_path):
    case = a_case()
    path = tmp_path / "new" / "scores.json"
    write_json(path, {"sim": evaluate(Gray(), [case])}, {"model": "gray"})
    record = json.loads(path.read_text())
    assert record["model"] == "gray" and record["suites"]["sim"]["frames"] == 1
    assert record["suites"]["sim"]["depth"] == {"delta1": 0, "absrel": None, "coverage": 0, "requests": 1}
    assert record["suites"]["sim"]["semantic"]["classes"] == {"floor": 0, "wall": 0}
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]
    with pytest.raises(InputError, match="cannot be written"):
        write_json(path / "below", {}, {})


def test_run_prints_the_table_and_writes_the_file(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device: Gray())
    run("nano", "real", data, 3, tmp_path / "out.json", "cpu")
    out, err = capsys.readouterr()
    assert out.startswith("| frames") and f"vbanana evaluate --model nano --suite real --data {data}" in out
    assert "redwood: skipped" in err
    assert set(json.loads((tmp_path / "out.json").read_text())["suites"]) == {"nyu", "kitti", "coco", "voc"}


def test_run_without_real_frames(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device: Gray())
    monkeypatch.chdir(tmp_path)
    run("nano", "real", None, 3, None, "cpu")
    out, err = capsys.readouterr()
    assert out == "" and "real frames: skipped, no folder '../shared/data'" in err
    with pytest.raises(InputError, match="no folder"):
        run("nano", "real", tmp_path / "nowhere", 3, None, "cpu")


def test_run_on_simulated_scenes(sim_cases, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device: Oracle(sim_cases))
    run("nano", "sim", None, 2, None, "cpu")
    assert "| sim (2) | depth     | delta1 ↑" in capsys.readouterr().out
