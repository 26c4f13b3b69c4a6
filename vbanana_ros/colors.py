"""Colours as people write them (words, hex, tuples) <-> RGB triples; palettes that can be told apart."""

from __future__ import annotations

import difflib
import functools
import operator
import re
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import CSS4_COLORS, XKCD_COLORS, to_rgb

from vbanana_ros.errors import RequestError

RGB = tuple[int, int, int]

# Two classes nearer than this (Euclidean, 0-255 scale) cannot be told apart in a painted image:
# generators stay within about 15 of the colour they were asked for, on either side.
MIN_DISTANCE = 32.0

# The words a prompt means first of all, as the corners and mid-tones of the RGB cube; all other words
# are those of the xkcd survey ("light purple", "sky blue"), then CSS.
_BASIC = {
    "black": (0, 0, 0), "white": (255, 255, 255), "red": (255, 0, 0), "green": (0, 255, 0),
    "blue": (0, 0, 255), "yellow": (255, 255, 0), "cyan": (0, 255, 255), "magenta": (255, 0, 255),
    "orange": (255, 165, 0), "purple": (128, 0, 128), "gray": (128, 128, 128), "grey": (128, 128, 128),
}  # fmt: skip

_NUMBER = r"\s*(\d{1,3})\s*"
_TUPLE = re.compile(rf"(?:rgb\s*)?[<(\[]{_NUMBER},{_NUMBER},{_NUMBER}[>)\]]", re.IGNORECASE)
_HEX = re.compile(r"#[0-9a-f]{6}\b", re.IGNORECASE)


@functools.cache
def color_words() -> dict[str, RGB]:
    """Every colour word that is understood, lower case, and its RGB triple (0-255)."""
    words = {name.lower(): _to_255(value) for name, value in CSS4_COLORS.items()}
    words |= {name.removeprefix("xkcd:").lower(): _to_255(value) for name, value in XKCD_COLORS.items()}
    return words | _BASIC


def _to_255(value: str) -> RGB:
    return tuple(round(255 * c) for c in to_rgb(value))


def parse_color(color: str | Sequence[int]) -> RGB:
    """A colour word, `#80C000`, `<255, 165, 0>`, `(255, 255, 0)`, `RGB(88, 50, 82)` or a triple -> RGB 0-255.

    Raises RequestError for anything else, naming the nearest word.
    """
    if not isinstance(color, str):
        try:
            triple = tuple(operator.index(c) for c in color)
        except TypeError:
            triple = ()
    elif _HEX.fullmatch(text := color.strip()):
        triple = tuple(bytes.fromhex(text[1:]))
    elif match := _TUPLE.fullmatch(text):
        triple = tuple(int(c) for c in match.groups())
    elif (word := " ".join(text.lower().split())) in color_words():
        triple = color_words()[word]
    else:
        near = difflib.get_close_matches(word, color_words(), n=3)
        nearest = next((w for w in near if w in _BASIC), near[0] if near else None)  # 'purple' before 'purply'
        hint = f"did you mean {nearest!r}?" if nearest else "use a word such as 'red', '#ff8800' or '(255, 136, 0)'"
        raise RequestError(f"unknown colour {color!r}: {hint}")
    if len(triple) != 3 or not all(0 <= c <= 255 for c in triple):
        raise RequestError(f"colour {color!r} is not three numbers in 0-255")
    return triple


def find_color(text: str) -> tuple[RGB, int] | None:
    """The colour that a text begins with and how many characters it takes; None where there is none."""
    for pattern in (_HEX, _TUPLE):
        if match := pattern.match(text):
            return parse_color(match.group()), match.end()
    words = re.match(r"[a-z]+(?: [a-z]+){0,2}", text.lower())
    parts = words.group().split() if words else []
    for n in range(len(parts), 0, -1):
        if (word := " ".join(parts[:n])) in color_words():
            return color_words()[word], len(word)
    return None


def format_color(color: RGB, style: str = "tuple") -> str:
    """RGB -> `<r, g, b>` (style `tuple`), `#rrggbb` (`hex`), `RGB(r, g, b)` (`rgb`), or its word (`word`).

    A colour without a basic word of its own is written as `RGB(r, g, b)` in style `word`.
    """
    if style == "word":
        word = next((w for w, rgb in _BASIC.items() if rgb == tuple(color)), None)
        return word or format_color(color, "rgb")
    if style == "hex":
        return "#{:02x}{:02x}{:02x}".format(*color)
    return ("RGB({}, {}, {})" if style == "rgb" else "<{}, {}, {}>").format(*color)


def palette(n: int, taken: Sequence[RGB] = ()) -> list[RGB]:
    """n fixed colours, none nearer than MIN_DISTANCE to another, to those taken, or to black, the usual background.

    The pure hues come first, then their darker and paler shades, greys late and white last of all; a longer palette
    begins with a shorter one. Raises RequestError where n is too many (some hundreds).
    """
    candidates, charm = _candidates()
    nearest = np.full(len(candidates), np.inf)
    found: list[RGB] = []
    for known in [(0, 0, 0), *taken, *([None] * n)]:
        if known is None:
            # Beyond _FAR_ENOUGH a colour is not told apart any better, so there the more charming one is taken.
            score = np.where(nearest >= MIN_DISTANCE, np.minimum(nearest, _FAR_ENOUGH) * charm, -1.0)
            best = int(score.argmax())
            if score[best] < 0:
                raise RequestError(f"no {n} colours can be told apart; ask for fewer classes at once")
            known = candidates[best]
            found.append(tuple(int(c) for c in known))
        nearest = np.minimum(nearest, np.linalg.norm(candidates - known, axis=-1))
    return found


_FAR_ENOUGH = 140.0


@functools.cache
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """The colours that a palette draws on, [N, 3], and how much each is liked: pure hues 1, white least."""
    levels = np.array([0, 36, 73, 109, 146, 182, 219, 255])
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    # Of equals the first is taken: the best known hues.
    first = [_BASIC[word] for word in ("red", "green", "blue", "yellow", "magenta", "cyan")]
    candidates = np.concatenate([first, grid]).astype(float)
    chroma = (candidates.max(1) - candidates.min(1)) / 255
    white = (candidates == 255).all(1)
    return candidates, np.where(white, 0.0, 0.2 + 0.8 * chroma)


def random_palette(n: int, rng: np.random.Generator, min_distance: float = 60.0) -> list[RGB]:
    """n random colours no two of which are nearer than min_distance (relaxed where n makes it too tight)."""
    colors = [rng.integers(0, 256, 3)]
    while len(colors) < n:
        candidates = rng.integers(0, 256, (16, 3))
        distance = np.linalg.norm(candidates[:, None] - np.array(colors)[None], axis=-1).min(1)
        best = int(distance.argmax()) if distance.max() < min_distance else int((distance >= min_distance).argmax())
        colors.append(candidates[best])
    return [tuple(int(c) for c in color) for color in colors]


def check_distinct(names: Sequence[str], colors: Sequence[RGB]) -> None:
    """Raise RequestError where two names have colours too near to tell apart in a painted image."""
    for i, a in enumerate(colors):
        for j in range(i):
            distance = float(np.linalg.norm(np.subtract(a, colors[j])))
            if distance < MIN_DISTANCE:
                raise RequestError(
                    f"{names[j]!r} {format_color(colors[j])} and {names[i]!r} {format_color(a)} are too near to tell "
                    f"apart ({distance:.0f} < {MIN_DISTANCE:.0f}); give one of them another colour"
                )
