"""Scores as a table that reads well in a terminal and is Markdown, and as a JSON file."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from vbanana_ros.errors import InputError
from vbanana_ros.evaluation.suite import Scores


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: its name, a factor and digits, and the paper's figure on its nearest benchmark."""

    name: str
    scale: float = 1.0
    digits: int = 3
    paper: str = ""


METRICS: dict[tuple[str, str], Metric] = {
    ("depth", "delta1"): Metric("delta1 ↑", paper="0.882 (mean of 6 real sets)"),
    ("depth", "absrel"): Metric("AbsRel ↓", paper="0.116 (mean of 6 real sets)"),
    ("depth", "coverage"): Metric("answered ↑"),
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
}
# Where the paper has the very data set, of which only a few frames are looked at here.
OWN = {("nyu", "delta1"): "0.948 (all of NYU)", ("kitti", "delta1"): "0.915 (all of KITTI)"}
NOTE = ("The paper's figures (arXiv 2604.20329, Vision Banana) are of other data, named beside them: "
        "they say what the metric looks like elsewhere, not who is better.")


def table(scores: Mapping[str, Scores]) -> Table:
    """Scores of suites, by name, as a rich table."""
    rows = Table("frames", "task", "metric", "ours", "paper, on other data", box=box.MARKDOWN)
    rows.columns[3].justify = "right"
    for suite, score in scores.items():
        for task, values in score.value().items():
            for name, value in values.items():
                metric = METRICS[task, name]
                ours = "-" if math.isnan(value) else f"{metric.scale * value:.{metric.digits}f}"
                rows.add_row(f"{suite} ({score.frames})", task, metric.name, ours,
                             OWN.get((suite, name), metric.paper))
    return rows


def markdown(scores: Mapping[str, Scores], command: str) -> str:
    """The table as Markdown, with the command that makes it and what the last column means."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(table(scores))
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    return "\n".join([*(line for line in lines if line), "", f"Made by `{command}`. {NOTE}"])


def write_json(path: Path, scores: Mapping[str, Scores], about: Mapping[str, str]) -> None:
    """Write the figures, whole or not at all: shares in 0..1, angles in degrees, null where there is none.

    about: provenance, put beside `suites`. Raises InputError where the file cannot be written.
    """
    record = {**about, "suites": {name: score.record() for name, score in scores.items()}}
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be written ({error.strerror}); name another file") from None
