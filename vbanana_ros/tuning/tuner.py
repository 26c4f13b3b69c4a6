"""The tuner: a student, a mixture, and the loop between them, on one CPU, one GPU or many machines."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel
from rich import progress as bars
from torch.utils.data import DataLoader

from vbanana_ros.evaluation.scores import HEADLINES
from vbanana_ros.tuning import checkpoint
from vbanana_ros.tuning.batches import Batches
from vbanana_ros.tuning.card import about_of, card_of
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.quiz import Quiz, score_of
from vbanana_ros.tuning.recipe import learning_rate
from vbanana_ros.tuning.student import Student

# Each holds batches that are ready, some hundred megabytes.
MOST_WORKERS = 16


def tune(student: Student, mixture: Mixture, out: Path, steps: int, seed: int = 0, save_every: int = 200,
         check_every: int = 1000, workers: int | None = None) -> Student:
    """Train until `steps`, from the checkpoint in `out` where there is one; returns the student with its EMA weights.

    Every check_every steps the EMA weights take a quiz of the held-out records: their scores and pictures go to
    TensorBoard (`out`/curves), the pictures to `out`/samples, and the best so far become `out`/model. Without held-out
    records the last weights are the best. Losses also go to losses.csv.
    workers: processes that make batches for this one, 0 for none; None for as many as it can use.
    Started by `torchrun` or `accelerate launch`, each process takes its own batches, and the first one writes.
    A run that was killed at any time and started again gives the same losses and weights as one that was not.
    Raises InputError where there are no records that can be used, or the checkpoint is broken or of another model.
    """
    return _Run(student, mixture, out, steps, seed, save_every, check_every, workers).train()


def batch_workers(device: torch.device) -> int:
    """How many processes make batches for this one, which trains on the device.

    A CPU that trains has one core to spare at most; a GPU takes as many images as all cores make.
    """
    own = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return 1 if device.type == "cpu" else min(max(1, own - 1), MOST_WORKERS)


class _Run:
    def __init__(self, student: Student, mixture: Mixture, out: Path, steps: int, seed: int, save_every: int,
                 check_every: int, workers: int | None) -> None:
        self.student, self.mixture, self.out, self.steps = student, mixture, out, steps
        self.save_every, self.check_every = save_every, check_every
        recipe = student.recipe
        cuda = torch.cuda.is_available()
        bf16 = recipe.in_bf16(torch.device("cuda" if cuda else "cpu"))
        self.accelerator = Accelerator(
            mixed_precision="bf16" if bf16 else "no", cpu=not cuda,
            log_with="tensorboard", project_dir=out,
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)])
        self.main = self.accelerator.is_main_process
        self.workers = batch_workers(self.accelerator.device) if workers is None else workers
        out.mkdir(parents=True, exist_ok=True)
        self.model = self.accelerator.prepare(student)  # all processes begin with the first one's weights
        self.trained = [p for p in student.parameters() if p.requires_grad]
        self.optimizers = student.optimizers()
        self.ema = EMAModel(self.trained, decay=recipe.ema, use_ema_warmup=True, power=0.75, foreach=True)
        self.progress = checkpoint.resume(out / "checkpoint.pt", student, self.optimizers, self.ema)
        self.ema.to(self.accelerator.device)
        self.batches = Batches(mixture, recipe, student.collate, seed, student.tasks, student.check)
        self.quiz = self._quiz() if self.main else Quiz(())
        # What is left of the curves of a run that was killed after its checkpoint is hidden by what is drawn again.
        self.accelerator.init_trackers("curves", init_kwargs={"tensorboard": {"purge_step": self.progress.step}})

    def _quiz(self) -> Quiz:
        recipe, student = self.student.recipe, self.student
        if recipe.overfit:
            return Quiz.of_batches(self.batches, recipe.overfit)
        return Quiz.of_held_out(self.mixture, recipe.most_classes, student.tasks, student.check)

    def train(self) -> Student:
        broken: set[str] = set()
        self.model.train()
        with _bar(self.main) as bar, _open_log(self.out / "losses.csv" if self.main else Path(os.devnull),
                                               self.progress.step) as log:
            writer = csv.writer(log)
            task = bar.add_task("tune", total=self.steps, completed=self.progress.step, loss="")
            for step, batch in self._drawn():
                for fault in sorted(set(batch.pop("broken", [])) - broken):
                    broken.add(fault)
                    bar.console.print(f"left out ({len(broken)}): {fault}", highlight=False, soft_wrap=True)
                terms = self._step(step, batch)
                writer.writerow([step, *(f"{name}={value:.5f}" for name, value in terms.items())])
                bar.update(task, advance=1, loss=" ".join(f"{k} {v:.3f}" for k, v in terms.items()))
                self.progress.step = step + 1
                last = step + 1 == self.steps
                if self.main and (last or (step + 1) % self.check_every == 0):
                    self._check(bar.console.print)
                if self.main and (last or (step + 1) % self.save_every == 0):
                    log.flush()
                    checkpoint.save(self.out / "checkpoint.pt", self.progress, self.student, self.optimizers, self.ema)
        self.accelerator.end_training()
        self.ema.copy_to(self.trained)
        return self.student

    def _drawn(self) -> Iterator[tuple[int, dict]]:
        """This process's batches, from the first that is not done, made beside the training."""
        rank, world, start = self.accelerator.process_index, self.accelerator.num_processes, self.progress.step
        mine = range(world * start + rank, world * self.steps, world)
        if mine:
            self.batches[mine[0]]  # in this process, where sets of nothing but broken records are one clear error
        loader = DataLoader(self.batches, batch_size=None, sampler=mine, num_workers=self.workers,
                            pin_memory=self.accelerator.device.type == "cuda")
        yield from zip(range(start, self.steps), loader, strict=True)

    def _step(self, step: int, batch: dict) -> dict[str, float]:
        """One step down; the terms of this process's loss."""
        device = self.accelerator.device
        batch = {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        with self.accelerator.autocast():
            terms = self.model(batch)
        self.accelerator.backward(sum(terms.values()))
        self.accelerator.clip_grad_norm_(self.trained, 1.0)
        rate = learning_rate(step, self.steps, self.student.recipe)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.ema.step(self.trained)
        values = {name: float(value.detach()) for name, value in terms.items()}
        self.accelerator.log({"rate": rate} | {f"loss/{name}": value for name, value in values.items()}, step=step)
        return values

    def _check(self, say) -> None:
        """Score and picture the EMA weights; where they are the best so far, they become the model directory."""
        step, progress = self.progress.step, self.progress
        figures = {}
        with self._averaged():
            if self.quiz.asked:
                generator = self.student.generator()
                painted = self.quiz.paint(generator)
                scores = self.quiz.scores(painted)
                sheet = self.quiz.picture(painted, self.out / "samples" / f"step_{step:07d}.png")
                figures, score = scores.value(), score_of(scores)
                self._log(figures | {"all": {"score": score}}, sheet)
                say(f"step {step}: score {score:.3f}, " + ", ".join(
                    f"{kind} {HEADLINES[kind]} {values[HEADLINES[kind]]:.3f}" for kind, values in figures.items()),
                    highlight=False, soft_wrap=True)
                if score <= progress.best_score:
                    return
                progress.best_score = score
            progress.best_step = step
            processes = self.accelerator.num_processes
            self.student.export(self.out / "model", about_of(self.student, step, processes),
                                card_of(self.student, self.mixture, step, processes, figures))

    def _log(self, figures: dict[str, dict[str, float]], sheet) -> None:
        step, name = self.progress.step, "overfit" if self.student.recipe.overfit else "held out"
        self.accelerator.log({f"{name}/{kind}/{metric}": value for kind, values in figures.items()
                              for metric, value in values.items()}, step=step)
        self.accelerator.get_tracker("tensorboard").log_images({name: sheet}, step=step, dataformats="HWC")

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The student with its EMA weights, not training."""
        self.ema.store(self.trained)
        self.ema.copy_to(self.trained)
        self.student.eval()
        try:
            yield
        finally:
            self.student.train()
            self.ema.restore(self.trained)

def _bar(shown: bool) -> bars.Progress:
    return bars.Progress(bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(),
                         bars.TimeElapsedColumn(), bars.TimeRemainingColumn(), bars.TextColumn("{task.fields[loss]}"),
                         disable=not shown)

def _open_log(path: Path, start: int) -> TextIO:
    """The losses so far, without the steps after the checkpoint, which are done again."""
    rows = path.read_text().splitlines() if path.is_file() else []
    kept = [row for row in rows if row.partition(",")[0].isdigit() and int(row.partition(",")[0]) < start]
    path.write_text("".join(f"{row}\n" for row in kept))
    return open(path, "a", newline="", buffering=1)
