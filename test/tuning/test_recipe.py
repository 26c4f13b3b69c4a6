"""Recipes: the learning rate's way, and what is refused."""

import pytest

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.recipe import Recipe, learning_rate


def test_learning_rate_warms_up_stays_and_falls():
    recipe = Recipe(rate=2.0, warmup=10, decay=0.5)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[49] == 2.0
    assert rates[75] == pytest.approx(1.0) and rates[99] == pytest.approx(0.04)
    assert max(abs(a - b) for a, b in zip(rates, rates[1:], strict=False)) <= 0.2 + 1e-9


@pytest.mark.parametrize("wrong", [{"target": "x1"}, {"precision": "fp8"}, {"freeze": "all"}])
def test_an_unknown_choice_is_named(wrong):
    with pytest.raises(InputError, match=f"no {[*wrong][0]} '{[*wrong.values()][0]}'; choose"):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_blank_is_a_share(wrong):
    with pytest.raises(InputError, match=f"blank {wrong} is no share of the pictures; give 0 to 1"):
        Recipe(blank=wrong)
    assert Recipe(blank=0.0).blank == 0.0 and Recipe(blank=1.0).blank == 1.0


def test_prompts_are_spread_evenly_over_the_images():
    assert [Recipe(images=6, answers=0.5).asked(i) for i in range(6)] == [0, 1, 0, 1, 0, 1]
    assert [Recipe(images=8, answers=0.625).asked(i) for i in range(8)] == [0, 1, 0, 1, 1, 0, 1, 1]
    assert [Recipe(answers=2).asked(i) for i in range(3)] == [2, 2, 2]
    assert [Recipe(answers=1.5).asked(i) for i in range(4)] == [1, 2, 1, 2]


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_answers_are_a_number_of_prompts(wrong):
    with pytest.raises(InputError, match=f"answers {wrong} is no number of prompts about an image; give one above 0"):
        Recipe(answers=wrong)


@pytest.mark.parametrize(("images", "answers"), [(1, 0.5), (3, 0.25)])
def test_a_batch_asks_something(images, answers):
    with pytest.raises(InputError, match=f"{images} images with {answers} answers each ask nothing; give more"):
        Recipe(images=images, answers=answers)
