"""The quiz: scored as the evaluation scores, pictured as it was asked."""

import cv2
import numpy as np
import pytest

from vbanana_ros.errors import InputError
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.tuning.quiz import Quiz, score_of


class Perfect:
    """A generator that paints the targets of a quiz, in its order; wrong: black instead."""

    capabilities = Capabilities(1, 1 << 30, 16, 1, 1, True, False, "Apache-2.0")

    def __init__(self, quiz, wrong=False):
        self.targets, self.wrong = iter([[e.target for e in asked] for _, asked in quiz.asked]), wrong

    def encode_image(self, rgb, K=None):
        return rgb

    def encode_prompts(self, texts):
        return texts

    def generate(self, image, prompts, steps=1, seed=0):
        targets = np.stack(next(self.targets))
        return np.zeros_like(targets) if self.wrong else targets


@pytest.fixture
def quiz(scenes_folder, feed):
    return Quiz.of_held_out(feed(scenes_folder, held=scenes_folder), 4)


def test_the_truth_scores_full_marks_and_black_next_to_none(quiz):
    assert len(quiz.asked) == 6  # three views and their mirror images
    figures = quiz.scores(quiz.paint(Perfect(quiz))).value()
    assert {"depth", "normals", "semantic", "instance"} <= figures.keys()
    assert figures["depth"]["delta1"] == 1 and figures["normals"]["within_11.25"] == 1
    assert figures["semantic"]["miou"] == 1
    assert score_of(quiz.scores(quiz.paint(Perfect(quiz)))) > 0.9
    assert score_of(quiz.scores(quiz.paint(Perfect(quiz, wrong=True)))) < 0.3


def test_the_same_questions_every_time(quiz, scenes_folder, feed):
    again = Quiz.of_held_out(feed(scenes_folder, held=scenes_folder), 4)
    assert [[e.prompt for e in asked] for _, asked in quiz.asked] == [
        [e.prompt for e in asked] for _, asked in again.asked]


def test_what_the_student_does_not_read_is_not_asked(quiz, scenes_folder, feed):
    def check(prompt):
        if "normal" not in prompt:
            raise InputError("too long")

    few = Quiz.of_held_out(feed(scenes_folder, held=scenes_folder), 4, check=check)
    assert len(few.asked) == len(quiz.asked)
    assert [e.prompt for _, asked in few.asked for e in asked] == [
        e.prompt for _, asked in quiz.asked for e in asked if "normal" in e.prompt] != []


def test_pictures_show_image_target_and_answer(quiz, tmp_path):
    painted = quiz.paint(Perfect(quiz))
    sheet = quiz.picture(painted, tmp_path / "samples" / "sheet.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "samples" / "sheet.png"))[..., ::-1], sheet)
    height, width = quiz.asked[0][0].rgb.shape[:2]
    assert sheet.shape[1] == 3 * width and sheet.shape[0] % (height + 14) == 0
    assert np.array_equal(sheet[:height, :width], quiz.asked[0][0].rgb)
    assert np.array_equal(sheet[:height, width:2 * width], sheet[:height, 2 * width:])


def test_without_held_out_records_there_is_nothing_to_ask(scenes_folder, feed):
    assert Quiz.of_held_out(feed(scenes_folder), 4).asked == []
