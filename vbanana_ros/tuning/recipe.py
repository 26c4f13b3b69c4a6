"""What a run trains, and how: all that it depends on but its model and its data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vbanana_ros.errors import InputError
from vbanana_ros.generators.precision import multiplies_bf16

TARGETS = ("x0", "flow")
PRECISIONS = ("auto", "bf16", "fp32")
FROZEN = ("none", "image", "text")


@dataclass(frozen=True)
class Recipe:
    """Everything that a user may choose; the defaults are those that `nano` was trained with.

    size: (height, width) of the images, pixels. images, answers: images in a batch and prompts about each. Of nano
        with target x0 also a share below 1: the images without a prompt teach through the probe alone, which is cheap.
    pictures: rows in a batch that are painted from noise: from text, or as edits.
    target: how answers are painted: `x0` in one step at a fixed timestep, `flow` in several, by flow matching.
    lora: rank of low-rank adapters on attention and MLP; 0 trains all weights.
    rate: peak learning rate; constant after the warm-up, then linearly to zero over the last `decay` share.
    ema: decay of the averaged weights; less early on, where after n batches they are a mean of the last n^0.75 or so.
    log_depth, angle: weights of loss terms in decoded units, see `decoded.py`; the paper has none.
    palette, probe: of nano alone, weights of the cross-entropy of its choice of colour and of what a probe reads.
    picture_size: of nano alone, (height, width) of what is painted from text.
    blank: of nano alone, share of the pictures from text that are taught from nothing but noise, as the first step of
        painting is. There only the text says what they show, so that is where it is learnt.
    freeze: of nano alone, what is not trained: `image`, all that looks at images, so that only what knows the text is;
        or `text`, all that knows it, so that only what is seen in images is; none by default.
    max_length: of klein alone, tokens of a prompt: the fewer the faster, then and in use.
    precision: `bf16` for activations (weights of a LoRA's base too, on a GPU), `fp32`, or `auto`: bf16 where fast.
    checkpointing: activations are computed again on the way back instead of kept: less memory, a third more time.
    overfit: so many batches, without augmentation, over and over: what any tuner must be able to learn by heart.
    """

    size: tuple[int, int] = (192, 256)
    images: int = 8
    answers: float = 1
    pictures: int = 1
    picture_size: tuple[int, int] = (96, 128)
    blank: float = 0.5
    freeze: str = "none"
    most_classes: int = 12
    target: str = "x0"
    lora: int = 0
    rate: float = 6e-4
    warmup: int = 200
    decay: float = 0.5
    weight_decay: float = 0.02
    ema: float = 0.999
    log_depth: float = 0.0
    angle: float = 0.0
    palette: float = 0.3
    probe: float = 0.8
    max_length: int = 512
    precision: str = "auto"
    checkpointing: bool = False
    overfit: int = 0

    def __post_init__(self) -> None:
        for name, known in (("target", TARGETS), ("precision", PRECISIONS), ("freeze", FROZEN)):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"a recipe has no {name} {value!r}; choose {' or '.join(known)}")
        if not 0 <= self.blank <= 1:
            raise InputError(f"blank {self.blank} is no share of the pictures; give 0 to 1")
        if not 0 < self.answers < float("inf"):
            raise InputError(f"answers {self.answers} is no number of prompts about an image; give one above 0")
        if self.images * self.answers < 1:
            raise InputError(f"{self.images} images with {self.answers} answers each ask nothing; give more of either")

    def asked(self, place: int) -> int:
        """How many prompts there are about the image at this place of a batch: of 0.5 every second one has one."""
        return int((place + 1) * self.answers) - int(place * self.answers)

    def in_bf16(self, device: torch.device) -> bool:
        """Whether activations are in bfloat16 on this device."""
        return self.precision == "bf16" or self.precision == "auto" and multiplies_bf16(device)


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Warm-up, constant, then linearly to zero: the run's length can be chosen late."""
    rest = (steps - step) / max(1, recipe.decay * steps)
    return recipe.rate * min(1.0, (step + 1) / recipe.warmup, rest)
