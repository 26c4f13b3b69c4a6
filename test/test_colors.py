"""Colours: every notation, words and their misspellings, palettes that can be told apart."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbanana_ros.colors import (
    MIN_DISTANCE,
    check_distinct,
    color_words,
    find_color,
    format_color,
    palette,
    parse_color,
    random_palette,
)
from vbanana_ros.errors import RequestError

triples = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.mark.parametrize(("text", "rgb"), [
    ("red", (255, 0, 0)), ("  Light   Purple ", (191, 119, 246)), ("green", (0, 255, 0)), ("grey", (128, 128, 128)),
    ("#80C000", (128, 192, 0)), ("<255, 165, 0>", (255, 165, 0)), ("(255, 255, 0)", (255, 255, 0)),
    ("RGB(88, 50, 82)", (88, 50, 82)), ("rgb (1,2,3)", (1, 2, 3)), ("[1, 2, 3]", (1, 2, 3)),
    ((1, 2, 3), (1, 2, 3)), ([1, 2, 3], (1, 2, 3)), (np.uint8([1, 2, 255]), (1, 2, 255)),
])
def test_every_notation_is_understood(text, rgb):
    assert parse_color(text) == rgb
    assert all(type(c) is int for c in parse_color(text))


@given(triples)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_again(rgb):
    for style in ("tuple", "hex", "rgb", "word"):
        text = format_color(rgb, style)
        assert parse_color(text) == rgb
        assert find_color(text + " and more") == (rgb, len(text))


@pytest.mark.parametrize(("color", "message"), [
    ("purpel", "unknown colour 'purpel': did you mean 'purple'?"),
    ("qqqqqqqq", "use a word such as"),
    ("#80C00", "unknown colour"), ("<256, 0, 0>", "not three numbers in 0-255"), ("(1, 2)", "unknown colour"),
    ((1, 2), "not three numbers"), ((0, 0, 256), "not three numbers"), ((0, -1, 0), "not three numbers"),
    ((0.5, 0.5, 0.5), "not three numbers"), (7, "not three numbers"),
])
def test_errors_are_one_line_and_name_the_mend(color, message):
    with pytest.raises(RequestError) as error:
        parse_color(color)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_words_are_lower_case_and_in_range():
    words = color_words()
    assert {"red", "light purple", "sky blue", "rebeccapurple"} <= set(words)
    assert all(word == word.lower() and len(rgb) == 3 and 0 <= min(rgb) <= max(rgb) <= 255
               for word, rgb in words.items())


def test_find_color_takes_the_longest_word_and_no_more():
    assert find_color("light purple, the dog is red") == (color_words()["light purple"], 12)
    assert find_color("red and blue") == ((255, 0, 0), 3)
    assert find_color("nothing here") is None
    assert find_color("  red") is None


def test_words_are_written_where_there_is_one():
    assert format_color((0, 255, 255), "word") == "cyan"
    assert format_color((1, 2, 3), "word") == "RGB(1, 2, 3)"


def test_palette_begins_with_pure_hues():
    assert palette(6) == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]
    assert all(max(c) - min(c) >= 100 for c in palette(24))


@pytest.mark.parametrize("taken", [(), [(0, 0, 0)], [(48, 48, 48)], [(255, 0, 0), (250, 251, 252)]])
def test_palette_colours_can_be_told_apart(taken):
    colors = palette(60, taken)
    assert len(colors) == 60
    assert min(math.dist(a, b) for a, b in itertools.combinations([*colors, *taken], 2)) >= MIN_DISTANCE
    assert min(math.dist(c, (0, 0, 0)) for c in colors) >= MIN_DISTANCE
    assert (255, 255, 255) not in colors


def test_palette_is_stable_and_grows_at_its_end():
    assert palette(255)[:40] == palette(40)
    assert palette(0) == []


def test_palette_says_when_it_is_at_its_end():
    with pytest.raises(RequestError, match="ask for fewer classes"):
        palette(600)
    # Black and white are what is left at last: black is never given, white only when all else is.
    whole = next(p for n in range(520, 255, -1) if (p := _palette_or_none(n)))
    assert whole[-1] == (255, 255, 255)


def _palette_or_none(n):
    try:
        return palette(n)
    except RequestError:
        return None


def test_random_palette_is_apart_where_it_can_be():
    colors = random_palette(8, np.random.default_rng(0))
    assert min(math.dist(a, b) for a, b in itertools.combinations(colors, 2)) >= 60
    assert len(set(random_palette(60, np.random.default_rng(0), min_distance=200))) == 60


def test_near_colours_are_refused_by_name():
    check_distinct(["a", "b"], [(0, 0, 0), (0, 0, 32)])
    with pytest.raises(RequestError, match=r"'a' <0, 0, 0> and 'b' <0, 0, 31> are too near .* \(31 < 32\)"):
        check_distinct(["a", "b"], [(0, 0, 0), (0, 0, 31)])
