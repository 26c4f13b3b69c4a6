"""The probe: a light head that reads geometry, classes and objects off the features that all prompts share.

It trains the image side of the painter on every fact of an image at once, at the cost of one convolution, where
painted answers teach one fact each. The model does not need it: it lies beside the weights for whoever tunes on, for
one that has read nothing would at first lead the painter astray.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from vbanana_ros.results import UNLABELED_8, resize_nearest
from vbanana_ros.sim import CLASSES
from vbanana_ros.tuning.records import Record

FILE = "probe/model.safetensors"
# Pixels of the image, both ways, to one of the finest features.
PATCH = 4
# In the loss. By itself the gradient of the classes is larger than that of depth, and most of either is noise.
CLASSES_WEIGHT = 0.3


class Probe(nn.Module):
    """Features [B, C, h, w] -> [B, 6 + classes, h, w].

    Channels: log metres; the normal, 3; how far the middle of the object's box is to the right and below, as shares of
    the picture; the logits of the classes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, 2 * channels, 1),
                                  nn.SiLU(), nn.Conv2d(2 * channels, 6 + len(CLASSES), 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.read(features)


def write_probe(probe: Probe, folder: Path) -> None:
    """Keep it in a model directory that is being written, in fp16."""
    (folder / FILE).parent.mkdir()
    save_file({name: value.detach().half().cpu().contiguous() for name, value in probe.state_dict().items()},
              folder / FILE)


def read_probe(probe: Probe, folder: Path) -> None:
    """Take over that of a model directory, where it has one and it is of the same classes."""
    kept = load_file(folder / FILE) if (folder / FILE).exists() else {}
    own = probe.state_dict()
    if {name: value.shape for name, value in kept.items()} == {name: value.shape for name, value in own.items()}:
        probe.load_state_dict(kept)


def known_facts(record: Record, size: tuple[int, int]) -> np.ndarray:
    """float32 [7, h, w]: log metres, normal, offset of the object's middle (NaN where not known), class.

    h, w: those of the features of an image of this size, (height, width); facts are of the middle of each patch.
    """
    height, width = record.rgb.shape[:2]
    rows, cols = _middles(height, size[0]), _middles(width, size[1])
    middles = np.ix_(rows, cols)
    facts = np.full((7, len(rows), len(cols)), np.nan, np.float32)
    if record.depth is not None:
        depth = record.depth[middles]
        seen = np.isfinite(depth) & (depth > 0)
        facts[0, seen] = np.log(depth[seen])
    if record.normals is not None:
        facts[1:4] = np.moveaxis(record.normals[middles], -1, 0)
    for thing in record.things or ():
        y, x = np.nonzero(thing.mask[middles])
        if thing.crowd or not len(y):
            continue
        down, right = (np.flatnonzero(thing.mask.any(axis)) for axis in (1, 0))
        facts[4, y, x] = ((right[0] + right[-1]) / 2 - cols[x]) / width
        facts[5, y, x] = ((down[0] + down[-1]) / 2 - rows[y]) / height
    facts[6] = UNLABELED_8
    if record.labels is not None:
        table = np.full(256, UNLABELED_8, np.uint8)
        table[:len(record.names)] = [CLASSES.index(n) if n in CLASSES else UNLABELED_8 for n in record.names]
        facts[6] = table[record.labels[middles]]
    return facts


def _middles(length: int, size: int) -> np.ndarray:
    """int64 [size / PATCH]: of so many rows, or columns, those at the middles of the patches of so many."""
    return resize_nearest(np.arange(length)[None], 1, size)[0, PATCH // 2::PATCH]


def probe_loss(read: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
    """read: [B, 6 + classes, h, w]; facts: float32 [B, 7, h, w], of known_facts. L1, and cross-entropy of classes."""
    read = read.float()
    known = torch.isfinite(facts[:, :6])
    error = (read[:, :6] - facts[:, :6].nan_to_num()).abs() * known
    # Shares of the picture are small numbers: without a weight they would not be learnt. Scale is the hardest to see.
    weight = error.new_tensor([3.0, 1.0, 1.0, 1.0, 2.5, 2.5])
    means = error.sum((0, 2, 3)) / known.sum((0, 2, 3)).clamp(min=1) * weight
    classes = facts[:, 6].long()
    classes = classes.masked_fill(classes >= len(CLASSES), -100)
    if not (classes >= 0).any():
        return means.sum()
    counts = torch.bincount(classes[classes >= 0], minlength=len(CLASSES)).clamp(min=1)
    rarity = (counts.sum() / counts).sqrt().clamp(max=15)
    return means.sum() + CLASSES_WEIGHT * F.cross_entropy(read[:, 6:], classes, rarity, ignore_index=-100)
