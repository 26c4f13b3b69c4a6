"""How a prompt is worded: a template with fields for the words and colours of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from string import Formatter
from typing import Any

from vbanana_ros.colors import RGB, format_color
from vbanana_ros.tasks.base import Request

# What the text of each task may name; the first it must, or the generator would not be told.
FIELDS = {"depth": (), "normals": (), "semantic": ("pairs", "background"), "instance": ("name", "background"),
          "referring": ("pairs", "background"), "picture": ("text",)}
STYLES = ("tuple", "hex", "rgb", "word")


@dataclass(frozen=True)
class Wording:
    """A prompt's template, of `str.format`.

    text: names what FIELDS has for its task. pair: one label of {pairs}, of {name} and {color}. first: the first one,
    where it is worded otherwise. between: joins them.

    The background is the last of the pairs where text does not name it. A colour is written `<255, 165, 0>`;
    {color:hex}, {color:rgb} and {color:word}, and the same of {background}, write it in that style of `format_color`.
    """

    text: str
    pair: str = '"{name}": {color}'
    first: str = ""
    between: str = ", "

    def fill(self, request: Request) -> str:
        """The prompt of a request."""
        named = _named(self.text)
        return self.text.format(
            pairs=self.between.join(self._pairs(request, "background" not in named)) if "pairs" in named else "",
            name=request.labels[0] if request.labels else "", background=_Color(request.background or (0, 0, 0)),
            text=request.text)

    def _pairs(self, request: Request, with_background: bool) -> list[str]:
        pairs = [*zip(request.labels, request.colors, strict=True)]
        if with_background and request.background is not None:
            pairs.append(("background", request.background))
        templates = [self.first or self.pair, *[self.pair] * len(pairs)]
        return [template.format(name=name, color=_Color(color))
                for template, (name, color) in zip(templates, pairs, strict=False)]


class _Color(tuple):
    """RGB that a template writes in the style after its colon."""

    def __format__(self, style: str) -> str:
        color: RGB = tuple(self)
        return format_color(color, style or "tuple")


def parse_wording(task: str, written: str | Mapping[str, Any], default: Wording) -> Wording:
    """A task's wording as a profile has it: its text, or fields of Wording; those left out are the default's.

    Raises ValueError for what is no template, or does not name what it must.
    """
    parts = {"text": written} if isinstance(written, str) else written
    known = [f.name for f in fields(Wording)]
    if not isinstance(parts, Mapping) or not all(k in known and isinstance(v, str) for k, v in parts.items()):
        raise ValueError(f"the prompt of {task} must be a text, or have texts for {', '.join(known)}")
    wording = Wording(**{name: getattr(default, name) for name in known} | dict(parts))
    _check(task, wording.text, FIELDS[task], FIELDS[task][:1])
    if "pairs" in FIELDS[task]:
        for pair in (wording.pair, wording.first or wording.pair):
            _check(task, pair, ("name", "color"), ("name", "color"))
    return wording


def _check(task: str, template: str, allowed: tuple[str, ...], needed: tuple[str, ...]) -> None:
    try:
        found = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"the prompt of {task} is no template ({error}): {template!r}") from None
    may = f"may name {', '.join(f'{{{name}}}' for name in allowed)}" if allowed else "has nothing to name"
    for _, name, style, conversion in found:
        styles = ("", *STYLES) if name in ("color", "background") else ("",)
        if name not in allowed or style not in styles or conversion:
            field = name + (f"!{conversion}" if conversion else "") + (f":{style}" if style else "")
            raise ValueError(f"the prompt of {task} names {{{field}}}; it {may}")
    for name in needed:
        if name not in _named(template):
            raise ValueError(f"the prompt of {task} does not name {{{name}}}: {template!r}")


def _named(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}
