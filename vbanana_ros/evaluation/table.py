"""Scores as a table that reads well in a terminal and is Markdown, and as a JSON file."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from vbanana_ros.evaluation.scores import Scores
from vbanana_ros.files import write_bytes


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: its name, a factor and digits, and the paper's figure on its nearest benchmark."""

    name: str
    scale: float = 1.0
    digits: int = 3
    paper: str = ""

    def show(self, value: float) -> str:
        """A value as it is printed."""
        return "-" if math.isnan(value) else f"{self.scale * value + 0.0:.{self.digits}f}"  # never -0.0


METRICS: dict[tuple[str, str], Metric] = {
    ("depth", "delta1"): Metric("delta1 ↑", paper="0.882 (mean of 6 real sets)"),
    ("depth", "absrel"): Metric("AbsRel ↓", paper="0.116 (mean of 6 real sets)"),
    ("depth", "coverage"): Metric("answered ↑"),
    ("depth_aligned", "delta1"): Metric("delta1 ↑"),
    ("depth_aligned", "absrel"): Metric("AbsRel ↓"),
    ("depth_aligned", "coverage"): Metric("answered ↑"),
    ("normals", "mean"): Metric("mean error, degrees ↓", digits=1, paper="18.9 (mean of 4 sets)"),
    ("normals", "median"): Metric("median error, degrees ↓", digits=1, paper="8.9 (NYUv2)"),
    ("normals", "within_11.25"): Metric("within 11.25 degrees, % ↑", 100, 1),
    ("normals", "within_22.5"): Metric("within 22.5 degrees, % ↑", 100, 1),
    ("normals", "within_30"): Metric("within 30 degrees, % ↑", 100, 1),
    ("normals", "coverage"): Metric("answered ↑"),
    ("semantic", "miou"): Metric("mIoU ↑", 100, 1, "69.9 (Cityscapes val)"),
    ("referring", "ciou"): Metric("cIoU ↑", 100, 1, "73.8 (RefCOCOg UMD val)"),
    ("referring", "giou"): Metric("gIoU ↑", 100, 1, "79.3 (ReasonSeg val)"),
    ("instance", "cgf1"): Metric("cgF1 ↑", 100, 1, "47.5 (SA-Co/Gold)"),
    ("instance", "il_mcc"): Metric("IL_MCC ↑", 1, 2, "0.84 (SA-Co/Gold)"),
    ("instance", "pmf1"): Metric("pmF1 ↑", 100, 1, "56.0 (SA-Co/Gold)"),
    ("instance", "f1"): Metric("F1 at IoU 0.5 ↑", 100, 1),
    ("instance", "pq"): Metric("PQ ↑", 100, 1),
    ("instance", "sq"): Metric("SQ ↑", 100, 1),
    ("instance", "rq"): Metric("RQ ↑", 100, 1),
    ("picture", "pictures"): Metric("all objects found again, % of pictures ↑", 100, 1),
    ("picture", "objects"): Metric("objects found again, % ↑", 100, 1),
    ("picture", "feigned"): Metric("objects of other prompts found, % ↓", 100, 1),
}
# Where the paper has the very data set, of which here, and in its split, other frames may be looked at.
OWN = {("nyu", "delta1"): "0.948 (all of NYU)", ("kitti", "delta1"): "0.915 (all of KITTI)",
       ("nyuv2", "delta1"): "0.948 (NYU)", ("ibims1", "delta1"): "0.934 (iBims-1)",
       ("eth3d", "delta1"): "0.935 (ETH3D)", ("diode", "delta1"): "0.917 (DIODE indoor)",
       ("nyuv2", "mean"): "17.8 (NYUv2)",
       ("diode", "mean"): "13.8 (DIODE indoor)", ("diode", "median"): "11.6 (DIODE indoor)",
       ("scannet", "mean"): "15.1 (ScanNet)", ("scannet", "median"): "7.5 (ScanNet)",
       ("vkitti2", "mean"): "29.1 (VKITTI)", ("vkitti2", "median"): "10.7 (VKITTI)"}
NOTE = ("The paper's figures (arXiv 2604.20329, Vision Banana) are of other data, named beside them: "
        "they say what the metric looks like elsewhere, not who is better.")
HEAD = ("frames", "task", "metric", "ours", "paper, on other data")


def rows(scores: Mapping[str, Scores]) -> Iterator[tuple[str, ...]]:
    """Scores of suites, by name, as rows of five texts: those of HEAD."""
    for suite, score in scores.items():
        skipped = f", {len(score.skipped)} skipped" if score.skipped else ""
        for kind, values in score.value().items():
            for name, value in values.items():
                metric = METRICS[kind, name]
                paper = OWN.get((suite, name), metric.paper) if kind != "depth_aligned" else ""
                yield f"{suite} ({score.frames}{skipped})", shown_kind(kind), metric.name, metric.show(value), paper


def shown_kind(kind: str) -> str:
    """A kind of figures as people read it."""
    return kind.replace("_", ", ")


def markdown(scores: Mapping[str, Scores], command: str) -> str:
    """The table as Markdown, with the command that makes it and what the last column means."""
    return f"{markdown_table(HEAD, rows(scores), right=(3,))}\n\nMade by `{command}`. {NOTE}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows as a Markdown table that reads well in a terminal; right: columns that are flush right."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    table = Table(*head, box=box.MARKDOWN)
    for column in right:
        table.columns[column].justify = "right"
    for row in rows:
        table.add_row(*row)
    console.print(table)
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    return "\n".join(line for line in lines if line)


def write_json(path: Path, scores: Mapping[str, Scores], about: Mapping[str, Any]) -> None:
    """Write the figures, whole or not at all: shares in 0..1, angles in degrees, null where there is none.

    about: provenance, put beside `suites`. Raises InputError where the file cannot be written.
    """
    record = {**about, "suites": {name: score.record() for name, score in scores.items()}}
    write_bytes(path, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
