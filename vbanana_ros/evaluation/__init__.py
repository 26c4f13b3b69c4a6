"""Evaluation: the paper's metrics on simulated scenes and on real frames."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vbanana_ros.errors import InputError, SimError
from vbanana_ros.evaluation.real import real_suites
from vbanana_ros.evaluation.suite import Case, Question, Scores, Suite, evaluate
from vbanana_ros.evaluation.table import markdown, write_json
from vbanana_ros.generators.load import load_generator

__all__ = ["Case", "Question", "Scores", "Suite", "evaluate", "run"]

DATA = Path("../shared/data")


def run(model: str = "nano", suite: str = "all", data: Path | None = None, count: int = 200,
        json_path: Path | None = None, device: str = "auto") -> None:
    """`vbanana evaluate`: print the figures of a model as Markdown, and write them as JSON if a path is given.

    suite: `sim` (count scenes), `real` (the folder data, `../shared/data` where None) or `all`. Raises ModelError,
    InputError and SimError.
    """
    generator = load_generator(model, device)
    with _progress() as progress:
        scores = {s.name: evaluate(generator, progress.track(s.cases, total=s.count, description=s.name))
                  for s in _suites(suite, data, count, progress.console)}
    if not scores:
        return
    command = _command(model, suite, data, count)
    print(markdown(scores, command))
    if json_path is not None:
        about = {"model": generator.name, "weights": generator.weights, "command": command}
        write_json(json_path, scores, about)


def _suites(suite: str, data: Path | None, count: int, console: Console) -> Iterator[Suite]:
    """The suites of a name; what is left out is said on the console."""
    if suite in ("sim", "all"):
        yield Suite("sim", _sim_suite(count), count)
    if suite in ("real", "all"):
        folder = data or DATA
        if not folder.is_dir():
            if data is not None:
                raise InputError(f"no folder {str(data)!r} of real frames; check the path")
            console.print(f"real frames: skipped, no folder {str(folder)!r}; name one with --data", highlight=False)
            return
        for found in real_suites(folder):
            if isinstance(found, Suite):
                yield found
            else:
                console.print(found, highlight=False)


def _sim_suite(count: int) -> Iterator[Case]:
    try:
        from vbanana_ros.evaluation.sim import sim_suite
    except ModuleNotFoundError as error:
        raise SimError(f"simulated scenes need the module {error.name!r}: pip install 'vbanana_ros[sim]'") from None
    return sim_suite(count)


def _command(model: str, suite: str, data: Path | None, count: int) -> str:
    words = ["vbanana", "evaluate", "--model", str(model), "--suite", suite]
    if suite != "real":
        words += ["--count", str(count)]
    if data is not None:
        words += ["--data", str(data)]
    return shlex.join(words)


def _progress() -> Progress:
    """On standard error, so that standard output is the table alone."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=Console(file=sys.stderr))
