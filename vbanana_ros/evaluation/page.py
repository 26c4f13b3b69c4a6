"""An evaluation as one HTML page, whole in itself: the table, and how the best and the worst frames look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np

from vbanana_ros.evaluation.exam import Exam
from vbanana_ros.evaluation.metrics import aligned
from vbanana_ros.evaluation.ranking import Ranking
from vbanana_ros.evaluation.scores import HEADLINES, Scores
from vbanana_ros.evaluation.suite import Case, Question, Suite
from vbanana_ros.evaluation.table import HEAD, METRICS, NOTE, rows, shown_kind
from vbanana_ros.perception import Answer
from vbanana_ros.report.page import decoded_figure, facts, failed, figure, legend, painted_figure, write_page
from vbanana_ros.results import Instances, Result

_WIDEST = 320  # pixels of a picture


class Page:
    """Collects suites and writes one page about them; only its HTML is kept, with at most three frames a task."""

    def __init__(self) -> None:
        self._sections: list[str] = []

    def add(self, suite: Suite, exam: Exam, ranking: Ranking) -> None:
        """Ask again about the best, median and worst frame of each task: the answers are the same."""
        picked = {kind: ranking.picked(kind) for kind in HEADLINES if kind in ranking.kinds}
        shown: dict[tuple[str, int], str] = {}
        for place in sorted({place for frames in picked.values() for _, place in frames.values()}):
            case = suite.cases[place]
            answered, = exam.answers([case])
            shown |= {(kind, place): _pictures(kind, case, answered) for kind, frames in picked.items()
                      if any(place == other for _, other in frames.values())}
        for kind, frames in picked.items():
            chosen = "".join(_row(kind, name, *frame, shown[kind, frame[1]]) for name, frame in frames.items())
            title = f"{escape(suite.name)} · {shown_kind(kind)}"
            self._sections.append(f"<section><header><h2>{title}</h2></header>{chosen}</section>")

    def write(self, path: Path, scores: Mapping[str, Scores], about: Mapping[str, str], command: str) -> Path:
        """Write the page; about: facts of the run, for people. Raises InputError where it cannot be written."""
        note = f'<div class="note"><p>{escape(NOTE)}</p><code>{escape(command)}</code></div>'
        skipped = [line for score in scores.values() for line in score.skipped]
        parts = {"facts": facts(about), "timings": note, "failed": failed(skipped, "skipped"), "links": "",
                 "frames": "\n".join([_table(scores), *self._sections])}
        return write_page(path, " ".join(["evaluate", *scores]), "evaluation", parts)


def _table(scores: Mapping[str, Scores]) -> str:
    """The table; the first row of each task stands under a line, and says whose the rows are."""
    head = "".join(f'<th scope="col"{" class=ours" if name == "ours" else ""}>{name}</th>' for name in HEAD)
    body, before = [], ("", "")
    for suite, kind, metric, ours, paper in rows(scores):
        first = (suite, kind) != before
        cells = [suite, kind] if first else ["", ""]
        before = suite, kind
        body.append(f'<tr{" class=first" if first else ""}>{"".join(f"<td>{escape(c)}</td>" for c in cells)}'
                    f'<td>{escape(metric)}</td><td class="ours">{ours}</td><td>{escape(paper)}</td></tr>')
    return (f'<section><table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
            "</section>")


def _row(kind: str, name: str, value: float, place: int, pictures: str) -> str:
    """The best, median or worst frame of a task."""
    metric = METRICS[kind, HEADLINES[kind]]
    return (f'<div class="row"><header><h3>{name}</h3><p><b>{metric.show(value)}</b> {escape(metric.name[:-2])}'
            f" · frame {place}</p></header>{pictures}</div>")


def _pictures(kind: str, case: Case, answered: Sequence[tuple[Question, Answer]]) -> str:
    """Input, truth, painted and decoded, of the task's first question that something is the answer to."""
    task = kind.removesuffix("_aligned")
    own = [(question, answer) for question, answer in answered if question.kind == task]
    question, answer = next(((q, a) for q, a in own if _something(q.truth)), own[0])
    result = answer.result
    if kind == "depth_aligned":
        fitted = aligned(result.depth, question.truth.depth, result.inverse).astype(np.float32)
        result = replace(result, depth=fitted, metric=True)
    truth = [] if kind == "picture" else [decoded_figure(question.truth, "truth", _WIDEST)]
    figures = [figure(case.rgb, "from text" if kind == "picture" else "input", widest=_WIDEST), *truth,
               painted_figure(answer, widest=_WIDEST), decoded_figure(result, "decoded", _WIDEST)]
    others = f"; one of {len(own)} requests" if len(own) > 1 else ""
    return (f'<div class="strip">{"".join(figures)}</div><div class="key">{legend(result)}</div>'
            f"<code>{escape(case.name + others)}<br>{escape(answer.prompt)}</code>")


def _something(truth: Result) -> bool:
    return bool(truth.detections) if isinstance(truth, Instances) else True
