"""Evaluation: the paper's metrics on simulated scenes, on public sets and on samples of real frames."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vbanana_ros import __version__
from vbanana_ros.errors import InputError, SimError
from vbanana_ros.evaluation.exam import Exam, evaluate
from vbanana_ros.evaluation.page import Page
from vbanana_ros.evaluation.ranking import Ranking
from vbanana_ros.evaluation.real import real_suites
from vbanana_ros.evaluation.records import record_suite
from vbanana_ros.evaluation.scores import Scores
from vbanana_ros.evaluation.store import Store, claim
from vbanana_ros.evaluation.suite import Case, Question, Suite
from vbanana_ros.evaluation.table import markdown, markdown_table, write_json
from vbanana_ros.files import write_bytes
from vbanana_ros.generators.base import Generator
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.speed import AUTO
from vbanana_ros.params import read_params
from vbanana_ros.perception import Perception
from vbanana_ros.tasks import make_request

__all__ = ["Case", "Exam", "Question", "Scores", "Suite", "evaluate", "run"]

DATA = Path("../shared/data")
OWN_SUITES = ("sim", "real", "all", "steady", "pictures")


def run(model: str = "nano", suite: str = "all", data: Path | None = None, split: str = "val",
        count: int | None = None, batch: int = 1, votes: int = 1, align: bool = False, floor: bool = False,
        out: Path | None = None, json_path: Path | None = None, html_path: Path | None = None, device: str = "auto",
        params_file: Path | None = None) -> None:
    """`vbanana evaluate`: print the figures of a model as Markdown, and write them as JSON and as a page if asked.

    suite: `sim`, `real` (samples in the folder data, `../shared/data` where None), `all` (both), `steady` (depth along
    a camera's way, see `evaluation.steady`), `pictures` (painted from text, see `evaluation.pictures`), or a public set
    in the folder data, of which `split` is asked. count: simulated scenes (None: 500; of `steady` 2), prompts of
    `pictures` (None: 100), or records of a set, spread evenly (None: all). batch, votes, align, floor: see Exam. out: a
    folder that keeps the results of each frame, so that the same command goes on where it was killed; of `steady`
    nothing is kept. params_file: of it the parameters of speed. Raises ModelError, InputError, RequestError and
    SimError.
    """
    _check(suite, data)
    generator = load_generator(model, device, read_params(params_file).speed() if params_file else AUTO)
    exam = Exam(generator, batch, votes, align, floor)
    asked = {"suite": suite, "data": data and str(data), "split": split, "count": count, "votes": votes, "align": align,
             "floor": floor, "params_file": params_file and str(params_file)}
    about = {"model": generator.name, "weights": generator.weights, **asked, "version": __version__}
    if suite == "steady":
        return _steady(generator, count, floor, json_path, about | {"command": _command(model, **asked)})
    if out is not None:
        claim(out, about)
    page, totals = Page() if html_path else None, {}
    with _progress() as progress:
        for one in _suites(suite, data, split, count, generator, progress.console):
            totals[one.name], ranking = _total(exam, one, out and Store(out / one.name), progress)
            if page is not None:
                page.add(one, exam, ranking)
    if not totals:
        return
    command = _command(model, **asked)
    print(markdown(totals, command))
    if json_path is not None:
        write_json(json_path, totals, about | {"command": command})
    if page is not None:
        page.write(html_path, totals, _facts(about, totals), command)


def _total(exam: Exam, suite: Suite, store: Store | None, progress: Progress) -> tuple[Scores, Ranking]:
    """All frames of a suite; those that are skipped are said on the console. Raises InputError where all are."""
    total, ranking = Scores(), Ranking()
    tracked = progress.track(exam.scores(suite.cases, store), total=len(suite.cases), description=suite.name)
    for place, scores in enumerate(tracked):
        total += scores
        ranking.add(place, scores)
        for line in scores.skipped:
            progress.console.print(f"skipped: {line}", highlight=False, markup=False, soft_wrap=True)
    if suite.cases and not total.asked:
        raise InputError(f"no frame of {suite.name} can be asked about: "
                         + (total.skipped[0] if total.skipped else f"{exam.generator.name!r} can do none of its tasks"))
    return total, ranking


def _check(suite: str, data: Path | None) -> None:
    """Find what is wrong with a suite's name and folder before a model is loaded."""
    from vbanana_ros.tuning.sets import SETS

    if suite not in (*OWN_SUITES, *SETS):
        raise InputError(f"no suite {suite!r}; choose from {', '.join((*OWN_SUITES, *SETS))}")
    if suite not in OWN_SUITES and data is None:
        raise InputError(f"{suite} is not shipped; name its folder with --data")
    if suite != "sim" and data is not None and not data.is_dir():
        raise InputError(f"no folder {str(data)!r} of real frames; check the path")


def _suites(suite: str, data: Path | None, split: str, count: int | None, generator: Generator,
            console: Console) -> Iterator[Suite]:
    """The suites of a name; what is left out is said on the console."""
    if suite not in OWN_SUITES:
        yield record_suite(suite, data, split, count)
    if suite in ("sim", "all"):
        yield from _sim(count)
    if suite == "pictures":
        yield from _pictures(generator, count)
    if suite in ("real", "all"):
        folder = data or DATA
        if not folder.is_dir():
            console.print(f"real frames: skipped, no folder {str(folder)!r}; name one with --data", highlight=False)
            return
        for found in real_suites(folder):
            if isinstance(found, Suite):
                yield found
            else:
                console.print(found, highlight=False)


def _sim(count: int | None) -> Iterator[Suite]:
    _need_sim()
    from vbanana_ros.evaluation.sim import SCENES, SimCases
    from vbanana_ros.sim import Renderer

    with Renderer(640, 480) as renderer:
        yield Suite("sim", SimCases(renderer, count or SCENES))


def _pictures(generator: Generator, count: int | None) -> Iterator[Suite]:
    _need_sim()
    from vbanana_ros.evaluation.pictures import PROMPTS, PictureCases

    yield Suite("pictures", PictureCases(generator, count or PROMPTS))


def _need_sim() -> None:
    try:
        import vbanana_ros.sim  # noqa: F401
    except ModuleNotFoundError as error:
        raise SimError(f"simulated scenes need the module {error.name!r}: pip install 'vbanana_ros[sim]'") from None


def _steady(generator: Generator, count: int | None, floor: bool, json_path: Path | None,
            about: Mapping[str, Any]) -> None:
    """The `steady` suite, printed and written."""
    _need_sim()
    from vbanana_ros.evaluation.sim import FIRST_SEED
    from vbanana_ros.evaluation.steady import FPS, HEAD, SCENES, SIZE, rows, steadiness
    from vbanana_ros.sim.camera import PERIOD, SimCamera

    perception, around = Perception(generator, [make_request("depth")]), round(PERIOD * FPS)
    if not perception.metric:
        raise InputError(f"model {generator.name!r} paints relative depth, which is not smoothed; name a metric model")
    camera, total = SimCamera(FIRST_SEED, *SIZE, FPS), (count or SCENES) * around
    with _progress() as progress:
        frames = progress.track(islice(camera, total), total=total, description="steady")
        scores = steadiness(perception, frames, around, floor)
    camera.close()
    print(markdown_table(HEAD, rows(scores)))
    print(f"\nMade by `{about['command']}`: {total} frames of {count or SCENES} scenes at {FPS:g} a second.")
    if json_path is not None:
        values = {f"{s:g}": score.value() for s, score in scores.items()}
        write_bytes(json_path, (json.dumps({**about, "smoothing": values}, indent=2) + "\n").encode())


def _command(model: str, suite: str, data: str | None, split: str, count: int | None, votes: int, align: bool,
             floor: bool, params_file: str | None) -> str:
    """The command of these figures; how they are written, and how fast, is left out."""
    words = ["vbanana", "evaluate", "--model", str(model), "--suite", suite]
    words += ["--data", data] if data else []
    words += ["--split", split] if suite not in OWN_SUITES else []
    words += ["--count", str(count)] if count else []
    words += ["--votes", str(votes)] if votes > 1 else []
    words += ["--params-file", params_file] if params_file else []
    return shlex.join(words + (["--align"] if align else []) + (["--floor"] if floor else []))


def _facts(about: Mapping[str, Any], totals: Mapping[str, Scores]) -> dict[str, str]:
    """What the page says first."""
    skipped = sum(len(total.skipped) for total in totals.values())
    return {"model": about["model"], "weights": about["weights"][:10],
            "frames": str(sum(total.frames for total in totals.values())),
            "requests": str(sum(sum(total.asked.values()) for total in totals.values())),
            "skipped": str(skipped), "votes": str(about["votes"])}


def _progress() -> Progress:
    """On standard error, so that standard output is the table alone."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=Console(file=sys.stderr))
