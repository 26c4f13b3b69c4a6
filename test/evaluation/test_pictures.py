"""Pictures from text: what is found again counts, what is found everywhere shows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import vbanana_ros.evaluation as evaluation
from vbanana_ros.errors import InputError
from vbanana_ros.evaluation import Exam, evaluate, run
from vbanana_ros.evaluation.metrics import FOUND_SHARE, PictureScore
from vbanana_ros.evaluation.page import Page
from vbanana_ros.evaluation.pictures import ABSENT, OBJECTS, PROMPTS, PictureCases, prompts
from vbanana_ros.evaluation.ranking import Ranking
from vbanana_ros.evaluation.suite import Suite
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.nano_text import parse_prompt

H, W = 48, 64


class Painter:
    """Paints stripes, one an object of the prompt, whose colours say the class; finds them again, or whatever is asked.

    sees: "own" what it painted, "all" every class that it is asked for, "none" nothing.
    """

    name, weights = "painter", "0" * 64
    capabilities = Capabilities(1, 1 << 30, 16, 1, 3, True, False, "Apache-2.0", max_images=4)

    def __init__(self, sees: str = "own") -> None:
        self.sees, self.painted = sees, []

    def encode_prompts(self, texts):
        return texts

    def encode_image(self, rgb, K=None):
        return rgb

    def generate(self, image, texts, steps=1, seed=0):
        if image is None:
            self.painted.append((texts, steps, seed))
            return np.stack([self._picture(text) for text in texts])
        return np.stack([self._segmentation(image, text) for text in texts])

    def _picture(self, text):
        there = [i for i, name in enumerate(OBJECTS) if name in text.split() or f"{name}," in text.split()]
        stripes = np.full((H, W, 3), 250 / 255, np.float32)
        for place, i in enumerate(there):
            stripes[:, 10 * place:10 * place + 10] = (i + 1) / 255
        return stripes

    def _segmentation(self, rgb, text):
        *classes, background = [p for p in parse_prompt(text) if p.color is not None]
        answer = np.zeros((H, W, 3), np.float32) + np.float32(background.color) / 255
        for k, phrase in enumerate(classes):
            mask = rgb[..., 0] == OBJECTS.index(phrase.words[0]) + 1
            if self.sees == "all":
                mask = np.arange(W)[None].repeat(H, 0) // 8 == k
            answer[mask & (self.sees != "none")] = np.float32(phrase.color) / 255
        return answer


def test_prompts_are_always_the_same_hundred():
    every = prompts()
    assert len(every) == len({p.text for p in every}) == PROMPTS == 100 and every == prompts()
    assert every[0].text == "A photo of a blue ball and a green table" and every[0].classes == ("ball", "table")
    assert {len(p.classes) for p in every} == {1, 2, 3} and {c for p in every for c in p.classes} == {*OBJECTS}
    three = next(p for p in every if len(p.classes) == 3)
    assert three.text.count(", ") == 1 and three.text.count(" and ") == 1
    assert not any(" a orange" in p.text for p in every)
    assert all("green plant" in p.text for p in every if "plant" in p.classes)


def test_each_picture_is_searched_for_its_own_objects_and_for_those_of_another():
    painter = Painter()
    cases = PictureCases(painter, 12)
    for place, (case, prompt) in enumerate(zip(cases, prompts(), strict=False)):
        assert case.name == prompt.text and painter.painted[-1] == ([prompt.text], 3, place)
        own, other = case.questions
        assert own.kind == other.kind == "picture" and own.request.task == "semantic"
        assert own.truth.own and not other.truth.own
        assert {own.request.labels[i] for i in own.truth.labels} == {*prompt.classes}
        assert not {*other.request.labels} & {*prompt.classes}
        for question in (own, other):
            assert len(question.request.labels) == len(question.truth.labels) + ABSENT
    assert len(cases) == 12 and len(PictureCases(painter, 500)) == 100
    assert [c.request for c in cases[3].questions] == [c.request for c in PictureCases(painter)[3].questions]


@pytest.mark.parametrize(("sees", "found", "feigned"), [("own", 1, 0), ("all", 1, 1), ("none", 0, 0)])
def test_the_figures(sees, found, feigned):
    painter = Painter(sees)
    scores = evaluate(Exam(painter, batch=4), PictureCases(painter, 10))
    assert scores.value() == {"picture": {"pictures": found, "objects": found, "feigned": feigned}}
    assert scores.frames == 10 and scores.asked == {"picture": 20}
    assert type(scores).read(json.loads(json.dumps(scores.plain()))).value() == scores.value()


def test_an_object_is_found_from_a_hundredth_of_the_picture_on():
    score, labels = PictureScore(), np.full((20, 50), 255, np.uint8)
    labels[0, :10], labels[1, :9] = 0, 1
    assert FOUND_SHARE == 0.01
    score.add(labels, (0, 1), own=True)
    score.add(labels, (0,), own=True)
    score.add(labels, (1, 2, 0), own=False)
    assert score.value() == pytest.approx({"pictures": 0.5, "objects": 2 / 3, "feigned": 1 / 3})


def test_a_model_that_cannot_paint_is_named():
    painter = Painter()
    painter.capabilities = replace(painter.capabilities, tasks=("semantic", "depth"))
    with pytest.raises(InputError, match="painter.*cannot do task 'picture'"):
        PictureCases(painter)


def test_the_table_and_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "load_generator", lambda model, device, speed: Painter())
    run(suite="pictures", count=3, json_path=tmp_path / "s.json", html_path=tmp_path / "s.html", out=tmp_path / "out")
    table = capsys.readouterr().out
    assert "| pictures (3) | picture | all objects found again, % of pictures ↑ | 100.0 |" in table
    assert "| objects of other prompts found, % ↓" in table and "--suite pictures --count 3" in table
    assert json.loads((tmp_path / "s.json").read_text())["suites"]["pictures"]["picture"]["objects"] == 1
    html = (tmp_path / "s.html").read_text()
    assert "from text" in html and "A photo of a blue ball and a green table" in html and "pictures · picture" in html


def test_the_page_shows_pictures_without_a_truth():
    painter, page, ranking = Painter(), Page(), Ranking()
    suite = Suite("pictures", PictureCases(painter, 3))
    exam = Exam(painter)
    for place, scores in enumerate(exam.scores(suite.cases)):
        ranking.add(place, scores)
    page.add(suite, exam, ranking)
    section, = page._sections
    assert section.count('<div class="strip">') == 3 and "from text" in section and "truth" not in section
