"""The tuner: one-step x0 prediction for perception, flow matching for pictures, in one mixture.

Every batch is a function of (seed, step) alone, so a run that was killed goes on exactly where it was.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vbanana_ros.errors import InputError
from vbanana_ros.generators.nano_text import NanoTextEncoder, PromptTokens
from vbanana_ros.generators.nano_unet import NanoUNet, Painting
from vbanana_ros.tuning.examples import FREE, IGNORE, OWN, Example, augment, make_example
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.muon import Muon
from vbanana_ros.tuning.probe import PATCH, Probe, known_facts, probe_loss

# Weights that meet inputs and outputs: not the hidden matrices that Muon is for.
_OUTER = ("text_encoder.word", "text_encoder.place", "unet.conv_in", "unet.to_", "probe")
# How much better, in nats, the next of the painter's own colours must fit an instance to be taken.
PREFERENCE = 0.5
# So many records for each that has what a task asks are no accident.
MOST_BARREN = 100


@dataclass(frozen=True)
class Recipe:
    """What is trained on, and how.

    size: (height, width) of the images, pixels. images, answers: images in a batch and prompts about each.
    pictures: rows in a batch that are painted from noise.
    rate: peak learning rate; constant after the warm-up, then linearly to zero over the last `decay` share.
    palette: weight of the cross-entropy of the painter's choice of colour. probe: weight of what a probe reads.
    """

    size: tuple[int, int] = (192, 256)
    images: int = 8
    answers: int = 1
    pictures: int = 1
    most_classes: int = 12
    rate: float = 6e-4
    warmup: int = 200
    decay: float = 0.5
    weight_decay: float = 0.02
    palette: float = 0.3
    probe: float = 0.8
    ema: float = 0.999


class NanoPainter(nn.Module):
    """Text encoder, UNet and probe as one module, so that one optimizer, one EMA and one checkpoint hold them."""

    def __init__(self, text_encoder: NanoTextEncoder, unet: NanoUNet) -> None:
        super().__init__()
        self.text_encoder, self.unet, self.probe = text_encoder, unet, Probe(unet.config.channels[0])

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[Painting, torch.Tensor]:
        """A batch of the mixture -> what is painted, one row a prompt, and what the probe reads, one row an image."""
        tokens: PromptTokens = self.text_encoder(batch["ids"], batch["colors"], batch["colored"])
        images = batch["images"]
        shared = self.unet.encode(images, torch.zeros_like(images), images.new_ones(len(images)))
        read = self.probe(shared.levels[0])
        features = shared.select(batch["owner"])
        for known, part in ((False, "text"), (True, "edit")):
            sample = batch[f"{part}_sample"]
            if len(sample):
                image = batch["edit_image"] if known else None
                features = features + self.unet.encode(image, sample, batch[f"{part}_time"])
        return self.unet.decode(features, tokens, tuple(batch["phase"].tolist())), read


class Batches(Dataset):
    """Batch number i of a run, drawn from a mixture: a function of the seed, i and the sets.

    Records that cannot be read are left out; only a batch that met some has the key `broken`, what is wrong with each.
    """

    def __init__(self, mixture: Mixture, recipe: Recipe, tokenizer, seed: int) -> None:
        self.mixture, self.recipe, self.tokenizer, self.seed = mixture, recipe, tokenizer, seed

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, step))
        images, facts, owners, examples, broken = [], [], [], [], []
        for _ in range(MOST_BARREN * self.recipe.images):
            record = self.mixture.draw(rng, broken)
            tasks = self.mixture.choose(self.mixture.tasks, rng, self.recipe.answers)
            found = [make_example(task, record, rng, self.recipe.most_classes) for task in tasks]
            if found := [example for example in found if example and example.valid.any()]:
                owners += [len(images)] * len(found)
                examples += found
                images.append(self._image(augment(record.rgb, rng)))
                facts.append(self._map(known_facts(record))[:, PATCH // 2::PATCH, PATCH // 2::PATCH])
            if len(images) == self.recipe.images:
                break
        else:
            raise InputError(f"the records have next to nothing of {', '.join(self.mixture.tasks)}; "
                             "give sets that know what the tasks ask")
        pictures, originals = self._pictures(rng, broken)
        batch = self._collate(images, owners, examples, pictures, originals, rng) | {"facts": torch.stack(facts)}
        return batch | {"broken": broken} if broken else batch

    def _pictures(self, rng: np.random.Generator, broken: list[str]) -> tuple[list[Example], list[torch.Tensor]]:
        """Text-to-image examples, then edits with the images that they edit."""
        pictures, edits, originals = [], [], []
        for _ in range(self.recipe.pictures):
            record = self.mixture.draw(rng, broken)
            kind, = self.mixture.choose(self.mixture.pictures, rng, 1)
            if kind == "picture" and (example := make_example("picture", record, rng)):
                pictures.append(example)
            else:
                edits.append(make_example("edit", record, rng))
                originals.append(self._image(record.rgb.astype(np.float32) / 255))
        return pictures + edits, originals

    def _image(self, rgb: np.ndarray) -> torch.Tensor:
        return 2 * self._fit(torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1), "area") - 1

    def _map(self, array: np.ndarray) -> torch.Tensor:
        """Ground truth is never blended: nearest neighbour."""
        tensor = torch.from_numpy(np.ascontiguousarray(array)).float()
        return self._fit(tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor[None], "nearest")

    def _fit(self, image: torch.Tensor, mode: str) -> torch.Tensor:
        """[C, H, W] at the recipe's size."""
        fits = image.shape[1:] == self.recipe.size
        return image if fits else F.interpolate(image[None], self.recipe.size, mode=mode)[0]

    def _collate(self, images, owners, examples, pictures, originals, rng) -> dict[str, torch.Tensor]:
        rows = examples + pictures
        clean = torch.stack([self._image(e.target) for e in pictures]) if pictures else torch.empty(
            0, 3, *self.recipe.size)
        row, column = rng.integers(2, size=2)

        def thin(maps: list[torch.Tensor]) -> torch.Tensor:
            return torch.stack([m[..., row::2, column::2] for m in maps])

        n_text = sum(not e.image for e in pictures)
        noise = torch.from_numpy(rng.normal(size=tuple(clean.shape)).astype(np.float32))
        time = torch.from_numpy(1 / (1 + np.exp(-rng.normal(0.3, 1.0, len(clean)))).astype(np.float32))
        sample = (1 - time[:, None, None, None]) * clean + time[:, None, None, None] * noise
        batch = self.tokenizer([e.prompt for e in rows])
        return batch | {
            "images": torch.stack(images), "owner": torch.tensor(owners), "phase": torch.tensor([row, column]),
            "targets": thin([2 * self._map(e.target) - 1 for e in examples] + list(clean)),
            "valid": thin([self._map(e.valid) for e in rows]),
            "choice": thin([self._map(e.choice)[0].long() for e in rows]),
            "text_sample": sample[:n_text], "text_time": time[:n_text],
            "edit_sample": sample[n_text:], "edit_time": time[n_text:],
            "edit_image": torch.stack(originals) if originals else sample[:0],
            "noise_time": torch.cat([torch.ones(len(examples)), time]),
        }


def losses(painting: Painting, read: torch.Tensor, batch: dict[str, torch.Tensor],
           recipe: Recipe) -> dict[str, torch.Tensor]:
    """`rgb`, `picture`, `palette` and `probe` terms of a batch; weights included."""
    n = len(batch["owner"])
    chosen = (batch["choice"][:n] >= OWN) & (batch["choice"][:n] < FREE)  # colours that the painter may choose
    known = batch["valid"][:n] * ~chosen[:, None]
    error = (painting.rgb[:n] - batch["targets"][:n]).abs() * known
    terms = {"rgb": error.mean()}
    if len(batch["targets"]) > n:
        # x0 is what is predicted, velocity what the sampler follows: (x_t - x0) / t.
        time = batch["noise_time"][n:, None, None, None].clamp(min=0.1)
        terms["picture"] = 0.1 * ((painting.rgb[n:] - batch["targets"][n:]) / time).square().mean()
    terms["palette"] = recipe.palette * palette_loss(painting.choice[:n], batch["choice"][:n], batch["colored"][:n])
    terms["probe"] = recipe.probe * probe_loss(read, batch["facts"])
    return terms


def palette_loss(guess: torch.Tensor, choice: torch.Tensor, colored: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each pixel's choice of colour, small regions weighted up.

    guess: [N, 1 + P + K, H, W], log-probabilities as in Painting; choice: int64 [N, H, W] in the order of the prompt's
    colours; colored: bool [N, P]. Instances take those of the painter's own colours that fit best what it painted
    (bipartite matching, as in DETR, arXiv 2005.12872), for which colour is whose is up to it.
    """
    slots = torch.full((len(colored), 256), -100)
    for i, row in enumerate(colored):
        columns = row.nonzero()[:, 0].cpu() + 1
        if len(columns):
            slots[i, :len(columns)] = columns
            slots[i, FREE] = 0
            things, own = _match(guess[i, 1 + len(row):].detach(), choice[i])
            slots[i, OWN + things] = 1 + len(row) + own
    slots = slots.to(guess.device)
    target = slots.gather(1, choice.flatten(1)).reshape(choice.shape)
    target = target.masked_fill(choice == IGNORE, -100)
    seen = target != -100
    if not seen.any():
        return guess.new_zeros(())
    entropy = F.nll_loss(guess, target, ignore_index=-100, reduction="none")
    index = target.clamp(min=0).flatten(1)
    counts = torch.zeros(guess.shape[:2], device=guess.device).scatter_add_(1, index, seen.flatten(1).float())
    weight = (index.shape[1] / counts.clamp(min=1)).sqrt().clamp(max=15).gather(1, index).reshape(target.shape) * seen
    return (entropy * weight).sum() / weight.sum()


def _match(guess: torch.Tensor, choice: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The instances of one picture, and the own colour of each: guess [K, H, W], choice int64 [H, W]."""
    things = choice[(choice >= OWN) & (choice < FREE)].unique()
    masks = (choice.flatten() == things[:, None]).to(guess.dtype)
    fit = masks @ guess.flatten(1).clamp(min=-50).T / masks.sum(1, keepdim=True)
    # Of colours that fit as well the first ones, else all would be used alike and none be learnt.
    fit = fit.float().cpu() - PREFERENCE * torch.arange(fit.shape[1])
    rows, own = linear_sum_assignment(fit, maximize=True)
    return things.cpu()[rows] - OWN, torch.from_numpy(own)


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Warm-up, constant, then linearly to zero: the run's length can be chosen late."""
    rest = (steps - step) / max(1, recipe.decay * steps)
    return recipe.rate * min(1.0, (step + 1) / recipe.warmup, rest)


def tune(painter: NanoPainter, mixture: Mixture, out: Path, steps: int, recipe: Recipe, seed: int = 0,
         save_every: int = 200, workers: int = 1) -> NanoPainter:
    """Train until `steps`, from the checkpoint in `out` where there is one; returns the EMA weights.

    Started by `torchrun` or `accelerate launch`, each process takes its own batches, and the first one writes.
    A run that was killed at any time and started again gives the same losses and weights as one that was not.
    Raises InputError where there are no records that can be used, or the checkpoint is broken.
    """
    accelerator = Accelerator(mixed_precision="bf16", cpu=not torch.cuda.is_available(),
                              kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)])
    out.mkdir(parents=True, exist_ok=True)
    model = accelerator.prepare(painter)  # all processes begin with the first one's weights
    optimizer = _Optimizers(painter, recipe)
    ema = EMAModel(painter.parameters(), decay=recipe.ema, use_ema_warmup=True, power=0.75, foreach=True)
    start = _resume(out / "checkpoint.pt", painter, optimizer, ema)
    ema.to(accelerator.device)
    model.train()
    batches = Batches(mixture, recipe, painter.text_encoder.tokenizer, seed)
    mine = range(accelerator.num_processes * start + accelerator.process_index, accelerator.num_processes * steps,
                 accelerator.num_processes)
    if mine:
        batches[mine[0]]  # in this process, where sets of nothing but broken records are one clear error
    loader = DataLoader(batches, batch_size=None, sampler=mine, num_workers=workers)
    broken: set[str] = set()
    main = accelerator.is_main_process
    with _progress(main) as progress, _open_log(out / "losses.csv" if main else Path(os.devnull), start) as log:
        bar = progress.add_task("tune", total=steps, completed=start, loss="")
        writer = csv.writer(log)
        for step, batch in zip(range(start, steps), loader, strict=True):
            for fault in sorted(set(batch.pop("broken", [])) - broken):
                broken.add(fault)
                progress.console.print(f"left out ({len(broken)}): {fault}", highlight=False, soft_wrap=True)
            batch = {k: v.to(accelerator.device) for k, v in batch.items()}
            with accelerator.autocast():
                painting, read = model(batch)
            terms = losses(painting, read, batch, recipe)
            accelerator.backward(sum(terms.values()))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(learning_rate(step, steps, recipe))
            ema.step(painter.parameters())
            writer.writerow([step, *(f"{name}={float(value.detach()):.5f}" for name, value in terms.items())])
            progress.update(bar, advance=1, loss=" ".join(f"{k} {float(v.detach()):.3f}" for k, v in terms.items()))
            if main and ((step + 1) % save_every == 0 or step + 1 == steps):
                log.flush()
                _save(out / "checkpoint.pt", step + 1, painter, optimizer, ema)
    ema.copy_to(painter.parameters())
    return painter


class _Optimizers:
    """Muon for the matrices inside the painter, AdamW for all else: tables, norms, biases, what makes the output."""

    def __init__(self, painter: NanoPainter, recipe: Recipe) -> None:
        inner, rest = [], []
        for name, parameter in painter.named_parameters():
            outer = parameter.ndim < 2 or any(part in name for part in _OUTER)
            (rest if outer else inner).append(parameter)
        self.each = (
            Muon(inner, lr=recipe.rate, weight_decay=recipe.weight_decay),
            torch.optim.AdamW(rest, lr=recipe.rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98), fused=True))

    def step(self, rate: float) -> None:
        for optimizer in self.each:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.each]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimizer, state in zip(self.each, states, strict=True):
            optimizer.load_state_dict(state)


def _progress(shown: bool) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                    TimeRemainingColumn(), TextColumn("{task.fields[loss]}"), disable=not shown)


def _save(path: Path, step: int, painter: nn.Module, optimizer, ema: EMAModel) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save({"step": step, "painter": painter.state_dict(), "optimizer": optimizer.state_dict(),
                "ema": ema.state_dict()}, temporary)
    os.replace(temporary, path)


def read_checkpoint(path: Path) -> dict:
    """A checkpoint's `step`, `painter`, `optimizer` and `ema`, on the CPU; raises InputError where it is broken."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        return {name: state[name] for name in ("step", "painter", "optimizer", "ema")}
    except Exception as error:  # pickle, zip and torch raise of everything over a broken file
        reason = " ".join(str(error).split())
        raise InputError(f"{str(path)!r} is no checkpoint of the tuner ({reason[:120]}); remove it or give another"
                         ) from None


def _open_log(path: Path, start: int) -> TextIO:
    """The losses so far, without the steps after the checkpoint, which are done again."""
    rows = path.read_text().splitlines() if path.is_file() else []
    kept = [row for row in rows if row.partition(",")[0].isdigit() and int(row.partition(",")[0]) < start]
    path.write_text("".join(f"{row}\n" for row in kept))
    return open(path, "a", newline="", buffering=1)


def _resume(path: Path, painter: nn.Module, optimizer, ema: EMAModel) -> int:
    if not path.exists():
        return 0
    state = read_checkpoint(path)
    painter.load_state_dict(state["painter"])
    optimizer.load_state_dict(state["optimizer"])
    ema.load_state_dict(state["ema"])
    return state["step"]
