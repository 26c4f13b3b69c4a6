"""The report: one HTML page, whole in itself, that shows frames, answers, keys and timings."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.colorize import INVALID, colorize
from vbanana_ros.colors import RGB, format_color
from vbanana_ros.files import write_bytes
from vbanana_ros.messages import seconds
from vbanana_ros.perception import Answer, Perceived
from vbanana_ros.report import keys
from vbanana_ros.report.files import cloud_of, overlay, tasks_of, to_bytes
from vbanana_ros.report.views import ABOVE, BESIDE, render_view
from vbanana_ros.results import (
    UNLABELED_8,
    UNLABELED_16,
    DepthMap,
    Instances,
    LabelMap,
    NormalMap,
    Picture,
    Result,
    resize_nearest,
)
from vbanana_ros.tasks import TASKS
from vbanana_ros.tasks.depth import Depth

_HERE = Path(__file__).resolve().parent
_WIDEST = 640  # pixels of a picture in the page
_MOST_INSTANCES = 24  # named in a legend


class Report:
    """Collects frames as they come and writes one page about them.

    title: what was looked at. shown: how many frames are shown, spread evenly over all that came; of at most
    twice as many the encoded pictures are kept, of the others only their timings.
    failed: frames without a result, one line each that names the frame; the caller adds to it.
    """

    def __init__(self, title: str, shown: int = 8) -> None:
        self.title, self.shown = title, max(1, shown)
        self.failed: list[str] = []
        self.count = 0
        self._timings: dict[str, list[float]] = {}
        self._kept: list[tuple[int, str]] = []
        self._every = 1
        self._facts: dict[str, str] = {}

    def add(self, perceived: Perceived, cloud: np.ndarray | None = None) -> int:
        """Add a frame; returns its number, from 0.

        cloud: the frame's organised cloud with rgb (`make_cloud`); made here where depth and camera allow.
        """
        number, self.count = self.count, self.count + 1
        for stage, ms in {**perceived.timings, "total": sum(perceived.timings.values())}.items():
            self._timings.setdefault(stage, []).append(ms)
        if not self._facts:
            self._facts = {"model": perceived.model or "not named", "weights": perceived.weights[:12] or "not hashed",
                           "seed": str(perceived.seed), "steps": str(perceived.steps)}
        if number % self._every == 0:
            self._kept.append((number, _frame(number, perceived, cloud)))
            if len(self._kept) > 2 * self.shown:
                self._kept, self._every = self._kept[::2], 2 * self._every
        return number

    def write(self, path: str | Path) -> Path:
        """Write the page; raises InputError where it cannot be written."""
        places = np.linspace(0, len(self._kept) - 1, min(self.shown, len(self._kept))).round().astype(int)
        frames = [self._kept[i] for i in places]
        links = "".join(f'<a href="#frame-{n}">{n}</a>' for n, _ in frames) if len(frames) > 1 else ""
        parts = {
            "facts": facts(self._facts | self._counts(len(frames))), "timings": _timings(self._timings),
            "failed": failed(self.failed), "links": f'<nav aria-label="frames">frames {links}</nav>' if links else "",
            "frames": "\n".join(html for _, html in frames) or '<p class="empty">No frame has a result.</p>',
        }
        return write_page(path, self.title, "perception report", parts)

    def _counts(self, shown: int) -> dict[str, str]:
        total = self._timings.get("total") or [0.0]
        median = statistics.median(total)
        speed = {"frames per second": f"{1e3 / median:.3g}"} if median > 0 else {}
        return {"frames": f"{self.count}" + (f", {shown} shown" if shown < self.count else ""),
                "failed": str(len(self.failed)), **speed}


def write_page(path: str | Path, title: str, kind: str, parts: Mapping[str, str]) -> Path:
    """Write a page of the report's looks; parts: HTML of `facts`, `timings`, `failed`, `links`, `frames`.

    Raises InputError where it cannot be written.
    """
    page = (_HERE.parent / "report.html").read_text(encoding="utf-8")
    style = (_HERE.parent / "report.css").read_text(encoding="utf-8")
    for name, text in {"title": escape(title), "kind": escape(kind), "style": style, **parts}.items():
        # Users' texts are escaped, so none is taken for a place to fill.
        page = page.replace(f"<!--{name}-->", text)
    return write_bytes(Path(path), page.encode("utf-8"))


def facts(named: Mapping[str, str]) -> str:
    """Names and values."""
    return "<dl>" + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in named.items()) + "</dl>"


def failed(lines: Sequence[str], how: str = "failed") -> str:
    """What has no result, one line each; nothing where all have one."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<details class="failed" open><summary>{len(lines)} {how}</summary><ul>{items}</ul></details>'


def _timings(timings: dict[str, list[float]]) -> str:
    """Milliseconds a stage: median, least, most, and a bar of the median."""
    if not timings:
        return ""
    longest = max(statistics.median(ms) for ms in timings.values()) or 1.0
    rows = []
    for stage in sorted(timings, key=lambda stage: stage == "total"):
        ms = timings[stage]
        median = statistics.median(ms)
        numbers = "".join(f"<td>{value:.1f}</td>" for value in (median, min(ms), max(ms)))
        rows.append(f'<tr class="{escape(stage)}"><th scope="row">{escape(stage)}</th>{numbers}'
                    f'<td class="bar"><i style="width:{100 * median / longest:.1f}%"></i></td></tr>')
    return ('<table><thead><tr><th scope="col">stage, ms</th><th scope="col">median</th><th scope="col">min</th>'
            f'<th scope="col">max</th><td></td></tr></thead><tbody>{"".join(rows)}</tbody></table>')


def _frame(number: int, perceived: Perceived, cloud: np.ndarray | None) -> str:
    """One frame's section: its input and cloud, and a card for each task."""
    frame = perceived.frame
    height, width = frame.rgb.shape[:2]
    meta = [f"{width} × {height}", f"{sum(perceived.timings.values()):.0f} ms"]
    if frame.stamp:
        meta.insert(0, f"{seconds(frame.stamp)} s")
    if frame.frame_id:
        meta.insert(0, escape(frame.frame_id))
    cards = "".join(_card(perceived, answers) for answers in _groups(perceived))
    return (f'<section id="frame-{number}"><header><h2>Frame {number}</h2><p>{" · ".join(meta)}</p></header>'
            f'<div class="strip">{"".join(_strip(perceived, cloud))}</div><div class="cards">{cards}</div></section>')


def _strip(perceived: Perceived, cloud: np.ndarray | None) -> Iterator[str]:
    """Input, overlay and the cloud from two places."""
    yield figure(perceived.frame.rgb, "input")
    blended = overlay(perceived)
    if blended is not None:
        yield figure(blended, "overlay")
    height, width = perceived.frame.rgb.shape[:2]
    if cloud is None:
        cloud = cloud_of(perceived)
    if cloud is not None and "rgb" in cloud.dtype.names:
        size = max(1, round(height * _WIDEST / width)), _WIDEST
        yield figure(render_view(cloud, *BESIDE, *size), "cloud, from beside the camera")
        yield figure(render_view(cloud, *ABOVE, *size, camera=True), "cloud, from above; the camera in yellow")


def _groups(perceived: Perceived) -> list[list[Answer]]:
    """Answers that share a card: the classes of `instance` are one result, all others stand alone."""
    instances = [a for a in perceived.answers if a.request.task == "instance"]
    others = [[a] for a in perceived.answers if a.request.task != "instance"]
    if instances:
        others.insert(tasks_of(perceived).index("instance"), instances)
    return others


def _card(perceived: Perceived, answers: list[Answer]) -> str:
    """What was asked, what was painted, what it decodes to, and the key to both."""
    task = answers[0].request.task
    result = perceived.result(task) if len(answers) > 1 else answers[0].result
    decoded = decoded_figure(result, "decoded")
    painted = [painted_figure(answer, f": {answer.request.labels[0]}" if len(answers) > 1 else "")
               for answer in answers]
    prompts = "".join(f"<code>{escape(answer.prompt)}</code>" for answer in answers)
    return (f'<article class="{task}"><header><h3>{task}</h3><p>{_share(result)}</p></header>'
            f'<div class="pair">{decoded}<div class="painted n{min(len(painted), 4)}">{"".join(painted)}</div></div>'
            f'<div class="key">{legend(result)}</div><div class="prompt"><b>prompt</b>{prompts}</div></article>')


def decoded_figure(result: Result, caption: str, widest: int = _WIDEST) -> str:
    """A result as people see it, instances numbered, a depth with its bar."""
    shown = colorize(result)
    return figure(_numbered(shown, result) if isinstance(result, Instances) else shown, caption,
                  _bar(keys.shown_bar(result)) if isinstance(result, DepthMap) else "",
                  isinstance(result, (LabelMap, Instances)), widest)


def painted_figure(answer: Answer, of: str = "", widest: int = _WIDEST) -> str:
    """An answer as it was painted; of: what, HTML."""
    height, width = answer.painted.shape[:2]
    hilbert = isinstance(answer.task or TASKS[answer.request.task], Depth) and answer.result.metric
    key = _bar(keys.painted_bar()) if hilbert else ""
    return figure(to_bytes(answer.painted), f"painted{of} <small>{width} × {height}</small>", key, widest=widest)


def _share(result: Result) -> str:
    """How much of the picture has an answer."""
    if isinstance(result, Picture):
        return ""
    if isinstance(result, DepthMap):
        valid = ~np.isnan(result.depth)
    elif isinstance(result, NormalMap):
        valid = ~np.isnan(result.normals[..., 0])
    else:
        # Background is an answer too; a colour that means nothing has confidence 0.
        valid = result.confidence > 0
    return f"<b>{_percent(valid.mean())}</b> of the pixels valid"


def _percent(share: float) -> str:
    """Never 100 % or 0 % of what is not quite all or nothing."""
    if 0.999 <= share < 1:
        return f"{np.floor(1e4 * share) / 100:.2f} %"
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.3g} %"


def legend(result: Result) -> str:
    """Colours and names; the bars of a depth stand below its pictures, so only their special colours are here."""
    if isinstance(result, DepthMap):
        finite = result.depth[np.isfinite(result.depth)]
        unit = " m" if result.metric else ""
        # A few pixels at the sky's edge would make a range of all depths say nothing.
        low, middle, high = np.percentile(finite, (1, 50, 99)) if finite.size else (np.nan,) * 3
        seen = f"median {middle:.2f}{unit}, 98 % in {low:.2f} to {high:.2f}{unit}" if finite.size else "no finite depth"
        special = [_chip(keys.color_of_depth(np.inf), f"≥ {keys.FAR:g} m and sky")] if result.metric else []
        return _chips([f"<li>{seen}</li>", *special, _chip(keys.color_of_depth(np.nan), "invalid")])
    if isinstance(result, NormalMap):
        ball = f'<img src="{_data(keys.normals_ball())}" width="64" height="64" alt="ball of normals">'
        return (f'<div class="ball">{ball}<div>'
                "<p>A ball before the camera has these colours: red faces left, green up, blue the camera.</p>"
                f'{_chips([_chip(INVALID, "invalid")])}</div></div>')
    if isinstance(result, LabelMap):
        counts = np.bincount(result.labels.ravel(), minlength=256) / result.labels.size
        chips = [_chip(color, escape(name), _percent(share), absent=not share)
                 for name, color, share in zip(result.names, result.colors, counts, strict=False)]
        return _chips([*chips, _chip(INVALID, "nothing named", _percent(counts[UNLABELED_8]))])
    if isinstance(result, Instances):
        return _instances(result)
    return ""


def _instances(result: Instances) -> str:
    """Each instance in its two colours, as painted and as shown."""
    chips = [_chip(keys.color_of_instance(d), f"<b>{d.id}</b> {escape(d.name)}", f"{d.score:.2f}", painted=d.color)
             for d in result.detections[:_MOST_INSTANCES]]
    more = len(result.detections) - len(chips)
    if more > 0:
        chips.append(f"<li>and {more} more</li>")
    rest = _percent(float(np.mean(result.labels == UNLABELED_16)))
    note = "<p>number, class, score; small square: colour as painted</p>" if chips else "<p>no instance found</p>"
    return _chips([*chips, _chip(INVALID, "background", rest)]) + note


def _chips(items: Iterable[str]) -> str:
    return f'<ul class="chips">{"".join(items)}</ul>'


def _chip(color: RGB, name: str, value: str = "", painted: RGB | None = None, absent: bool = False) -> str:
    """A legend entry; name is HTML. A colour is written out too, for those who search or cannot see it."""
    small = f'<i class="small" style="background:{format_color(painted, "hex")}"></i>' if painted else ""
    value = f"<span>{value}</span>" if value else ""
    written = format_color(color, "hex")
    return (f'<li{" class=absent" if absent else ""}><i style="background:{written}" title="{written}"></i>{small}'
            f"{name}{value}</li>")


def _bar(bar: keys.Bar) -> str:
    """A colour bar; the unit stands with its last tick."""
    ticks = "".join(f'<span style="left:{100 * place:.2f}%">{escape(text)}</span>' for place, text in bar.ticks)
    return (f'<div class="bar"><img src="{_data(bar.colors)}" alt="colour bar, {escape(bar.unit)}">'
            f'<div class="ticks">{ticks}</div><em>{escape(bar.unit)}</em></div>')


def figure(rgb: np.ndarray, caption: str, below: str = "", flat: bool = False, widest: int = _WIDEST) -> str:
    """A picture of at most `widest` pixels; flat: of few colours, kept exactly. caption and below are HTML."""
    height, width = rgb.shape[:2]
    if width > widest:
        height, width = max(1, round(height * widest / width)), widest
        rgb = resize_nearest(rgb, height, width) if flat else cv2.resize(rgb, (width, height),
                                                                         interpolation=cv2.INTER_AREA)
    alt = caption.split(" <")[0]
    return (f'<figure><img src="{_data(rgb, flat)}" width="{width}" height="{height}" alt="{alt}" loading="lazy">'
            f"<figcaption>{caption}</figcaption>{below}</figure>")


def _data(rgb: np.ndarray, exact: bool | None = None) -> str:
    """uint8 RGB -> a data URI: JPEG, or PNG where exact (small pictures always are)."""
    exact = rgb.size < 64_000 if exact is None else exact
    # Colours carry the meaning here, so their planes are not halved.
    options = [] if exact else [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    kind = "png" if exact else "jpeg"
    data = cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)[1]
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


def _numbered(shown: np.ndarray, result: Instances) -> np.ndarray:
    """The picture with each instance's box and number."""
    shown = shown.copy()
    size = max(0.4, shown.shape[1] / 900)
    for d in result.detections:
        x, y, w, h = (round(v) for v in d.box)
        cv2.rectangle(shown, (x, y), (x + w - 1, y + h - 1), keys.color_of_instance(d), max(1, round(2 * size)))
        (tw, th), _ = cv2.getTextSize(str(d.id), cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        x, y = min(x, shown.shape[1] - tw - 6), min(y, shown.shape[0] - th - 8)
        cv2.rectangle(shown, (x, y), (x + tw + 5, y + th + 7), (16, 16, 18), -1)
        cv2.putText(shown, str(d.id), (x + 3, y + th + 3), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1,
                    cv2.LINE_AA)
    return shown
