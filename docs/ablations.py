"""The runs behind docs/ablations.md: nano's image side as it ships, all that reads prompts and paints learnt anew.

    python docs/ablations.py --out out/ablations [--steps 1500] [--only NAME]

Scenes are drawn into OUT where they are missing, the held-out ones of seeds that nothing is trained on. A run that is
there already, or half there, goes on; every run ends as a line of OUT/results.jsonl.
"""

from __future__ import annotations

import argparse
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from vbanana_ros.colors import palette
from vbanana_ros.evaluation.exam import Exam, evaluate
from vbanana_ros.evaluation.pictures import PictureCases
from vbanana_ros.evaluation.sim import questions
from vbanana_ros.evaluation.suite import Case, Question
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.nano import NanoGenerator
from vbanana_ros.generators.nano_text import NanoTextEncoder
from vbanana_ros.generators.nano_unet import NanoUNet
from vbanana_ros.results import LabelMap
from vbanana_ros.sim import CLASSES
from vbanana_ros.tasks import Request, make_request
from vbanana_ros.tuning import examples
from vbanana_ros.tuning.mixture import PICTURES, Mixture
from vbanana_ros.tuning.nano import NanoStudent
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.scenes import open_scenes, render_scenes
from vbanana_ros.tuning.tune import HELD_OUT
from vbanana_ros.tuning.tuner import tune
from vbanana_ros.tuning.vocabulary import VOCABULARY

SIZE = (96, 128)
FIXED = dict(zip((*CLASSES, "sky"), palette(len(CLASSES) + 1, taken=[(0, 0, 0)]), strict=True))
IMAGE_SIDE = ("conv_in", "time_embedding", "down", "back")
MIXED = {"depth": 2.0, "normals": 1.0, "semantic": 2.0}


@dataclass(frozen=True)
class Run:
    """What is trained, and in how many steps it is asked; legends: `random`, or `fixed` for each class."""

    tasks: dict[str, float]
    depth_code: str = "hilbert"
    legends: str = "random"
    recipe: dict = field(default_factory=dict)
    asked_in: tuple[int, ...] = (1,)


RUNS = {
    "depth in hilbert": Run({"depth": 1.0}),
    "depth in log-gray": Run({"depth": 1.0}, "log-gray"),
    "depth in gray": Run({"depth": 1.0}, "gray"),
    "legends random": Run({"semantic": 1.0}),
    "legends fixed": Run({"semantic": 1.0}, legends="fixed"),
    "one step": Run(MIXED, recipe={"pictures": 2}),
    "several steps": Run(MIXED, recipe={"pictures": 2, "target": "flow"}, asked_in=(1, 4)),
    "no pictures": Run(MIXED, recipe={"pictures": 0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--scenes", type=int, default=1000, help="drawn where they are missing, four views each")
    parser.add_argument("--data", type=Path, help="a folder of scenes that is there already")
    parser.add_argument("--only", choices=RUNS)
    args = parser.parse_args()
    data, held = args.data or args.out / "scenes", args.out / "held"
    if args.data is None:
        render_scenes(data, range(args.scenes))
    render_scenes(held, range(HELD_OUT, HELD_OUT + 100), views=1)
    done = args.out / "results.jsonl"
    known = {json.loads(line)["run"] for line in done.read_text().splitlines()} if done.exists() else set()
    for name in [args.only] if args.only else RUNS:
        if name not in known:
            figures = judged(RUNS[name], trained(name, RUNS[name], data, args.out, args.steps), held)
            with open(done, "a") as file:
                file.write(json.dumps({"run": name, "steps": args.steps, **figures}) + "\n")


def trained(name: str, run: Run, data: Path, out: Path, steps: int) -> NanoGenerator:
    torch.manual_seed(0)
    recipe = Recipe(**{"size": SIZE, "images": 16, "pictures": 0, "rate": 6e-4, "warmup": 30} | run.recipe)
    unet = NanoUNet()
    seen = {k: v for k, v in load_generator("nano", "cpu").pipeline.unet.state_dict().items()
            if k.startswith(IMAGE_SIDE)}
    unet.load_state_dict(unet.state_dict() | seen)
    student = NanoStudent(NanoTextEncoder(VOCABULARY), unet, recipe, run.depth_code)
    mixture = Mixture([(open_scenes(data), 1.0)], run.tasks, PICTURES)
    with fixed_legends() if run.legends == "fixed" else nullcontext():
        return tune(student, mixture, out / name.replace(" ", "-"), steps).eval().generator()


def fixed_legends() -> AbstractContextManager:
    """Training examples whose classes always have the same colours."""
    def legend(task, names, labels, known, rng):
        request = Request(task.name, names, tuple(FIXED[name] for name in names), (0, 0, 0))
        truth = LabelMap(labels, names, request.colors, labels)
        choice = np.where(known, np.where(labels == 255, len(names), labels), examples.IGNORE).astype(np.uint8)
        return examples.Example(task.prompt(request), task.encode(truth, request), known, choice, request, truth)
    return patch.object(examples, "_legend", legend)


def judged(run: Run, generator: NanoGenerator, held: Path) -> dict[str, float]:
    """The figures of the held-out scenes, by kind and metric, of each number of steps and each kind of legend."""
    found = {}
    for steps in run.asked_in:
        generator.capabilities = replace(generator.capabilities, steps=steps)
        for legends in ("random", "fixed"):
            if legends == "random" or "semantic" in run.tasks and len(run.tasks) == 1:
                cases = [asked(record, legends, [*run.tasks]) for record in map(open_scenes(held).__getitem__,
                                                                                range(0, 200, 2))]
                values = evaluate(Exam(generator), cases).value()
                found |= {f"{kind}.{metric} ({legends}, {steps} step)": round(value, 4)
                          for kind, metrics in values.items() for metric, value in metrics.items()}
    if run.tasks == MIXED:
        values = evaluate(Exam(generator), PictureCases(generator)).value()
        found |= {f"{kind}.{metric}": round(value, 4) for kind, metrics in values.items()
                  for metric, value in metrics.items()}
    return found


def asked(record, legends: str, tasks: list[str]) -> Case:
    rng = np.random.default_rng(0)
    chosen = [q for q in questions(record, rng) if q.request.task in tasks]
    return Case(record.rgb, tuple(fixed(q) if legends == "fixed" else q for q in chosen), record.name)


def fixed(question: Question) -> Question:
    """The same question in the fixed colours."""
    names = question.request.labels
    request = make_request("semantic", names, [FIXED[name] for name in names], (0, 0, 0))
    return replace(question, request=request, truth=replace(question.truth, colors=request.colors))


if __name__ == "__main__":
    main()
