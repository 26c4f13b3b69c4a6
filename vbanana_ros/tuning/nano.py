"""`nano` as a student: its two networks and a probe, its own losses, its model directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler, ModelMixin
from scipy.optimize import linear_sum_assignment
from torch import nn

from vbanana_ros.camera import frustum
from vbanana_ros.generators.nano import NanoGenerator, NanoPipeline
from vbanana_ros.generators.nano_text import NanoTextEncoder, PromptTokens
from vbanana_ros.generators.nano_unet import NanoUNet, Painting
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.write import appearing
from vbanana_ros.tasks import TASKS, dialect
from vbanana_ros.tuning.batches import Drawn, depth_of, fit_image, fit_map
from vbanana_ros.tuning.decoded import answer_terms, check_code
from vbanana_ros.tuning.examples import FREE, IGNORE, OWN
from vbanana_ros.tuning.muon import Muon
from vbanana_ros.tuning.probe import Probe, known_facts, probe_loss, write_probe
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.records import Record

# Weights that meet inputs and outputs: not the hidden matrices that Muon is for.
_OUTER = ("text_encoder.word", "text_encoder.place", "unet.conv_in", "unet.view", "unet.to_",
          "unet.detail.conv", "probe")
# How much better, in nats, the next of the painter's own colours must fit an instance to be taken.
PREFERENCE = 0.5
# How instances are decoded: it paints things that lie apart in one colour rather than one thing in two, and of what it
# paints smaller than this share of the picture most is nothing.
INSTANCES = {"merge_box": 1.2, "min_instance": 0.0025}
# The share of the images whose camera it is not told, as of photographs.
UNCALIBRATED = 0.15
# Pictures from text: so many denoising steps and so much guidance, and so often it is taught what no text asks for.
PICTURE_STEPS = 12
GUIDANCE = 2.0
UNTOLD = 0.1
# How much more of the steps go to the noisy end, where it is decided what a picture shows (SD3, arXiv 2403.03206).
SHIFT = 3.0
# Weights in the loss of the errors of what is painted from noise. All gradients are noise for the greater part, and add
# up: until they show what they should pictures want seven times this weight, after that they drown the answers with it
# (docs/nano.md).
PICTURES, EDITS = 3.0, 0.1
DEFAULT = Recipe()


class NanoStudent(nn.Module):
    """Text encoder, UNet and probe as one module, so that one EMA and one checkpoint hold them."""

    name = "nano"

    def __init__(self, text_encoder: NanoTextEncoder, unet: NanoUNet, recipe: Recipe = DEFAULT,
                 depth_code: str = "hilbert") -> None:
        super().__init__()
        self.text_encoder, self.unet, self.probe = text_encoder, unet, Probe(unet.config.channels[0])
        self.recipe, self.size_multiple, self.depth_code = recipe, unet.size_multiple, depth_code
        self.tasks = dialect(self._profile(self.name, ""))
        check_code(recipe, depth_code)
        self.requires_grad_(recipe.freeze != "text")
        for module in (*unet.encoder, self.probe):  # the probe reads what is seen in images, and learns with it
            module.requires_grad_(recipe.freeze != "image")
        if recipe.checkpointing:
            unet.enable_gradient_checkpointing()

    def check(self, prompt: str) -> None:
        """It reads any prompt."""

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The terms of the loss; what is painted is compared in float32."""
        painting, pictures, read = self.paint(batch)
        with torch.autocast(batch["images"].device.type, enabled=False):
            return losses(painting, pictures, read, batch, self.recipe)

    def paint(self, batch: dict[str, Any]) -> tuple[Painting, torch.Tensor, torch.Tensor]:
        """What is painted: answers and then edits, and pictures from text; what the probe reads, a row of `facts`."""
        tokens: PromptTokens = self.text_encoder(batch["ids"], batch["colors"], batch["colored"])
        images, owner, frustums = batch["images"], batch["owner"], batch["frustums"]
        about, alone = torch.arange(len(tokens)).split((len(tokens) - len(batch["texts"]), len(batch["texts"])))
        if self.recipe.target == "x0":
            shared = self.unet.encode(images, torch.zeros_like(images), images.new_ones(len(images)), frustums)
            features = shared.select(owner)
        else:
            shared = features = self.unet.encode(images[owner], batch["answer_sample"], batch["answer_time"],
                                                 frustums[owner])
        if len(batch["edit_image"]):
            features = features + self.unet.encode(batch["edit_image"], batch["edit_sample"], batch["edit_time"])
        painting = self.unet.decode(features, tokens.select(about), tuple(batch["phase"].tolist()))
        pictures = batch["texts"]
        if len(pictures):
            pictures = self.unet(None, batch["text_sample"], batch["text_time"], tokens.select(alone))
        else:  # of several processes each wants a gradient, here zero, of every weight
            pictures = pictures + sum(weight.sum() for weight in self.unet.detail.parameters())
        return painting, pictures, self.probe(shared.levels[0])

    def collate(self, drawn: Drawn, rng: np.random.Generator) -> dict[str, Any]:
        """Tensors; of targets every second pixel both ways, from a random phase."""
        size, flow = self.recipe.size, self.recipe.target == "flow"
        edits, texts = ([e for e in drawn.pictures if e.image is known] for known in (True, False))
        row, column = rng.integers(2, size=2)

        def thin(maps: list[torch.Tensor]) -> torch.Tensor:
            return torch.stack([m[..., row::2, column::2] for m in maps])

        def stack(images: list[torch.Tensor]) -> torch.Tensor:
            return torch.stack(images) if images else drawn.images[:0]

        answers = [2 * fit_map(e.target, size) - 1 for e in drawn.examples]
        edited = [fit_image(e.target, size) for e in edits]
        painted = [fit_image(e.target, self.recipe.picture_size) for e in texts]
        batch = {"texts": stack(painted)}
        noisy = ("answer", answers if flow else [], 0.0), ("edit", edited, 0.0), ("text", painted, self.recipe.blank)
        for part, clean, blank in noisy:
            batch[f"{part}_time"] = time = _times(len(clean), blank, rng)
            noise = [torch.from_numpy(rng.standard_normal(tuple(c.shape), np.float32)) for c in clean]
            batch[f"{part}_sample"] = stack([torch.lerp(*mixed) for mixed in zip(clean, noise, time, strict=True)])
        told = ["" if rng.random() < UNTOLD else e.prompt for e in texts]
        batch |= self.text_encoder.tokenizer([e.prompt for e in drawn.examples + edits] + told)
        facts = torch.stack([torch.from_numpy(known_facts(record, size)) for record in drawn.records])
        return batch | {
            "images": drawn.images, "frustums": torch.from_numpy(_frustums(drawn.records, rng)),
            "owner": torch.tensor(drawn.owners), "phase": torch.tensor([row, column]),
            "targets": thin(answers + edited),
            "valid": thin([fit_map(e.valid, size) for e in drawn.examples]),
            "choice": thin([fit_map(e.choice, size)[0].long() for e in drawn.examples]),
            "depth": thin([fit_map(depth_of(e), size)[0] for e in drawn.examples]),
            "is_normals": torch.tensor([e.request.task == "normals" for e in drawn.examples]),
            "edit_image": drawn.originals,
            "facts": facts[drawn.owners] if flow else facts,
        }

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Muon for the matrices inside the painter, AdamW for tables, norms, biases and what makes the output."""
        inner, rest = [], []
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            outer = parameter.ndim < 2 or any(part in name for part in _OUTER)
            (rest if outer else inner).append(parameter)
        rate, decay = self.recipe.rate, self.recipe.weight_decay
        return (Muon(inner, lr=rate, weight_decay=decay),
                torch.optim.AdamW(rest, lr=rate, weight_decay=decay, betas=(0.9, 0.98), fused=True))

    def generator(self) -> NanoGenerator:
        """Over the very weights that are trained."""
        pipeline = NanoPipeline(self.text_encoder, self.unet, FlowMatchEulerDiscreteScheduler(shift=SHIFT))
        return NanoGenerator(pipeline, self._profile("nano", ""), "")

    def export(self, folder: Path, about: str, card: str) -> None:
        """fp16 safetensors with a profile and a card, and the probe beside them."""
        pipeline = NanoPipeline(_half(self.text_encoder), _half(self.unet),
                                FlowMatchEulerDiscreteScheduler(shift=SHIFT))
        with appearing(folder, self._profile(folder.name, about), card) as part:
            pipeline.save_pretrained(part, safe_serialization=True)
            write_probe(self.probe, part)

    def _profile(self, name: str, about: str) -> Profile:
        area, picture_area = (height * width for height, width in (self.recipe.size, self.recipe.picture_size))
        steps = 1 if self.recipe.target == "x0" else PICTURE_STEPS // 3
        return Profile(name=name, family="nano", license="Apache-2.0", area=area, picture_area=picture_area,
                       steps=steps, picture_steps=PICTURE_STEPS, guidance=GUIDANCE, about=about, tasks=tuple(TASKS),
                       depth_code=self.depth_code, instance_decoder=INSTANCES, manhattan=True)


def _half(model: ModelMixin) -> ModelMixin:
    """A copy in fp16, whose config does not say from which folder the weights once came."""
    own = {name: value for name, value in model.config.items() if not name.startswith("_")}
    twin = type(model)(**own)
    twin.load_state_dict(model.state_dict())
    return twin.half()


def losses(painting: Painting, pictures: torch.Tensor, read: torch.Tensor, batch: dict[str, Any],
           recipe: Recipe) -> dict[str, torch.Tensor]:
    """The terms of a batch, weights included."""
    n = len(batch["owner"])
    chosen = (batch["choice"] >= OWN) & (batch["choice"] < FREE)  # colours that the painter may choose
    known = batch["valid"] * ~chosen[:, None]
    terms = answer_terms(painting.rgb[:n], batch, known, recipe)
    if len(painting.rgb) > n:
        terms["edit"] = EDITS * velocity_error(painting.rgb[n:], batch["targets"][n:], batch["edit_time"])
    terms["picture"] = PICTURES * velocity_error(pictures, batch["texts"], batch["text_time"])
    terms["palette"] = recipe.palette * palette_loss(painting.choice[:n], batch["choice"], batch["colored"][:n])
    terms["probe"] = recipe.probe * probe_loss(read, batch["facts"])
    return terms


def velocity_error(clean: torch.Tensor, target: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """x0 is what is predicted, velocity what the sampler follows, (x_t - x0) / t: its mean square error, 0 of none."""
    return ((clean - target) / time[:, None, None, None].clamp(min=0.1)).square().sum() / max(1, target.numel())


def _frustums(records: Sequence[Record], rng: np.random.Generator) -> np.ndarray:
    """float32 [B, 4], of each image; NaN where the camera is not known or is not told."""
    told = rng.random(len(records)) >= UNCALIBRATED
    return np.stack([frustum(r.K, *r.rgb.shape[:2]) if r.K is not None and tell else np.full(4, np.nan, np.float32)
                     for r, tell in zip(records, told, strict=True)])


def _times(count: int, blank: float, rng: np.random.Generator) -> torch.Tensor:
    """Noise levels to train on, float32 [count]: evenly spread from the sampler's last to 1.

    Pictures are taught what they show by noise alone, what it looks like by the rest (docs/nano.md). blank: the share
    of them that is 1, nothing but noise.
    """
    time = rng.uniform(SHIFT / (PICTURE_STEPS + SHIFT - 1), 1, count)
    time[rng.random(count) < blank] = 1
    return torch.from_numpy(time).float()


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
