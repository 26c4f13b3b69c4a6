"""`nano`'s painter: a pixel-space UNet in which text enters on the last way up only.

The way down and a first way back up depend on the image alone and are computed once a frame for all prompts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.controlnets.controlnet import zero_module
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from vbanana_ros.generators.nano_text import PromptTokens

# The painter's own colours, in -1..1, for what a prompt wants told apart without naming colours for it; those nearer
# to the colour that it does name are left alone.
OWN_COLORS = torch.tensor([*itertools.product((-1.0, 0.0, 1.0), repeat=3)])
NEAR = 0.6
# Edges are drawn on every second pixel of both sides: blocks of so many, among their neighbours so far on each side.
BLOCK, REACH = 4, 3
# The share of the picture that a thing usually fills.
USUAL_SIZE = 0.01
# Rows of blocks at a time, on a CPU.
BAND = 4


@dataclass
class Features:
    """What was found in the images: one tensor [B, C, h, w] a level, finest first, and the time embedding [B, T].

    looks: [B, C, H, W], what each pixel of the images looks like; None without images. sample: [B, 3, H, W], what was
    noisy; None with images.
    """

    levels: list[torch.Tensor]
    looks: torch.Tensor | None
    sample: torch.Tensor | None
    temb: torch.Tensor

    def select(self, index: torch.Tensor) -> Features:
        """The rows of these images, one a prompt; not of text alone, which has no images to choose from."""
        return Features([level[index] for level in self.levels], self.looks[index], None, self.temb[index])

    def __add__(self, other: Features) -> Features:
        """These images and then those; none of text alone."""
        levels = [torch.cat(pair) for pair in zip(self.levels, other.levels, strict=True)]
        return Features(levels, torch.cat([self.looks, other.looks]), None, torch.cat([self.temb, other.temb]))


@dataclass
class Painting:
    """Every second pixel of both sides, as it is painted in training: h, w are half the image's.

    rgb: [N, 3, h, w], nominally in -1..1, not clamped.
    choice: [N, 1 + P + K, h, w], log-probabilities: a pixel is painted freely (0), in the colour of phrase p (1 + p),
        or in one of the K colours of the painter's own (last), which only a prompt that names ONE colour leaves to it.
    """

    rgb: torch.Tensor
    choice: torch.Tensor


class NanoUNet(ModelMixin, ConfigMixin):
    """Image, noisy sample and phrases in, the clean sample (x0) out; all RGB in -1..1.

    Sides must be multiples of 4 * 2^(levels - 1). sharpness: how much surer than in training it picks colours in use.
    surety: by so many nats, on average, must a colour of its own lead the background where it paints a thing of the
    usual size; a larger thing by less, a smaller one by more. What leads by less is background.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(self, channels: tuple[int, ...] = (64, 128, 192, 256), text_dim: int = 128, patch: int = 4,
                 key_dim: int = 16, look_dim: int = 8, sharpness: float = 8.0, surety: float = 2.5,
                 detail_channels: int = 48) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        temb = 4 * channels[0]
        self.time_proj = Timesteps(channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(channels[0], temb)
        self.view = _View(temb)
        # Image, sample, and where in the picture a patch is (a flat wall looks the same everywhere).
        self.conv_in = nn.Conv2d(2 * 3 * patch**2 + 3, channels[0], 3, padding=1)
        self.conv_in_looks = nn.Conv2d(3, look_dim, 3, padding=1)
        self.down = nn.ModuleList(_Down(channels, i, temb) for i in range(len(channels)))
        self.back = nn.ModuleList(_Back(channels, i, temb) for i in reversed(range(len(channels) - 1)))
        self.instruction = TimestepEmbedding(text_dim, temb)
        self.mid = _Mid(channels[-1], text_dim, temb)
        self.up = nn.ModuleList(_Up(channels, i, text_dim, temb) for i in reversed(range(len(channels))))
        self.norm_out = nn.GroupNorm(32, channels[0])
        self.to_paint = nn.Conv2d(channels[0], 3 * patch**2, 3, padding=1)
        self.to_query = nn.Conv2d(channels[0], key_dim * patch**2, 1)
        self.to_looks = nn.Conv2d(channels[0], look_dim * patch**2, 1)
        self.edges = _Edges()
        self.detail = _Detail(detail_channels, temb)
        self._begin_with_rgb()
        self.to_tint = nn.Conv2d(key_dim, 3, 1)
        self.to_key = nn.Linear(2 * text_dim, key_dim)
        self.free_key = nn.Parameter(torch.randn(key_dim) * 0.1)
        self.own_keys = nn.Parameter(torch.randn(len(OWN_COLORS), key_dim) * 0.1)
        # So few tokens: plain matrix products beat the CPU's fused kernel, above all on the way back.
        for module in self.modules():
            if isinstance(module, Attention):
                module.set_processor(AttnProcessor())

    @property
    def size_multiple(self) -> int:
        """Both sides of an image are multiples of this, pixels."""
        return self.config.patch * 2 ** (len(self.config.channels) - 1)

    @property
    def encoder(self) -> tuple[nn.Module, ...]:
        """What `encode` runs."""
        return self.time_embedding, self.view, self.conv_in, self.conv_in_looks, self.down, self.back

    @torch.no_grad()
    def _begin_with_rgb(self) -> None:
        """Pixels look alike that are of a colour, to begin with: at a tenth of the range apart 1 / e as much."""
        zero_module(self.to_looks)
        self.conv_in_looks.weight.mul_(0.1)
        self.conv_in_looks.weight[:3] = 0
        self.conv_in_looks.weight[range(3), range(3), 1, 1] = 5.0

    def encode(self, image: torch.Tensor | None, sample: torch.Tensor, timestep: torch.Tensor,
               frustums: torch.Tensor | None = None) -> Features:
        """The way down and back.

        image, sample: [B, 3, H, W] in -1..1 (image None: text alone); timestep: [B] in 0..1. frustums: [B, 4], of each
        image, see `camera.frustum`, NaN where it is not known; None where no one is.
        """
        b, _, height, width = sample.shape
        patch = self.config.patch
        known = sample.new_full((b, 1, height // patch, width // patch), 0.0 if image is None else 1.0)
        looks = None if image is None else self.conv_in_looks(image)
        if image is None:
            image = torch.zeros_like(sample)
        y = torch.linspace(-1, 1, height // patch, device=sample.device, dtype=sample.dtype)
        x = torch.linspace(-1, 1, width // patch, device=sample.device, dtype=sample.dtype)
        place = torch.stack(torch.meshgrid(y, x, indexing="ij")).expand(b, -1, -1, -1)
        patches = F.pixel_unshuffle(torch.cat([image, sample], 1), patch)
        temb = self.time_embedding(self.time_proj(1000 * timestep).to(sample.dtype))
        if frustums is not None:
            temb = temb + self.view(frustums).to(temb.dtype)
        hidden = self.conv_in(torch.cat([patches, place, known], 1))
        levels = []
        for down in self.down:
            hidden = self._run(down, hidden, temb)
            levels.append(hidden)
        for back, i in zip(self.back, reversed(range(len(levels) - 1)), strict=True):
            levels[i] = self._run(back, levels[i + 1], levels[i], temb)
        return Features(levels, looks, sample if looks is None else None, temb)

    def decode(self, features: Features, prompts: PromptTokens, phase: tuple[int, int]) -> Painting:
        """The way up with the text, one row a prompt, for training.

        phase: (row, column), 0 or 1 each: every second pixel of both sides is painted, from there. Pixels next to each
        other teach the same, and training spends its time on them.
        """
        query, paint = self._quarter(self._rise(features, prompts), features.looks, phase, dips=True)
        choice = _logits(query, self._keys(prompts), self.usable(prompts)).log_softmax(1)
        # The blend carries the gradient.
        return Painting(_blend(paint, choice.exp(), self._colors(prompts)), choice)

    def paint(self, features: Features, prompts: PromptTokens) -> torch.Tensor:
        """The way up with the text, one row a prompt, for use: RGB [N, 3, H, W], nominally in -1..1, not clamped."""
        hidden = self._rise(features, prompts)
        # One by one they stay in a CPU's cache, and each looks only at the colours that are left to it.
        alone = hidden.device.type == "cpu" and not self.training
        rows = torch.arange(len(hidden)).split(1 if alone else len(hidden))
        painted = torch.cat([self._paint(hidden[row], None if features.looks is None else features.looks[row],
                                         prompts.select(row)) for row in rows])
        return painted if features.sample is None else self._run(self.detail, painted, features.sample, features.temb)

    def _rise(self, features: Features, prompts: PromptTokens) -> torch.Tensor:
        """What each patch is to become: [N, C, h, w]."""
        temb = features.temb + self._instruct(prompts)
        hidden = self._run(self.mid, features.levels[-1], temb, prompts)
        for up, level in zip(self.up, reversed(features.levels), strict=True):
            hidden = self._run(up, hidden, level, temb, prompts)
        return F.silu(self.norm_out(hidden))

    def _paint(self, hidden: torch.Tensor, looks: torch.Tensor | None, prompts: PromptTokens) -> torch.Tensor:
        """All four quarters of the pixels, each by itself, as in training; then what is doubted is background."""
        usable = self.usable(prompts)
        left = usable.any(0)
        usable, keys, colors = usable[:, left], self._keys(prompts)[:, left], self._colors(prompts)[:, left[1:]]
        dips = colors.shape[1] > 0
        named = int(left[1:-len(OWN_COLORS)].sum())
        # In use a blend of two colours would mean neither.
        sharpness = 1 if self.training else self.config.sharpness
        quarters, leads = [], []
        for phase in itertools.product((0, 1), repeat=2):
            query, paint = self._quarter(hidden, looks, phase, dips)
            if dips:
                logits = _logits(query, keys, usable)
                paint = _blend(paint, (sharpness * logits).softmax(1), colors)
                if colors.shape[1] > named:
                    leads.append(_lead(logits, named))
            quarters.append(paint.float())
        painted = _joined(quarters)
        if leads:  # where there are own colours to choose, the one that is named is the background's
            doubted = _doubted(*_joined(leads).unbind(1), self.config.surety)[:, None]
            background = (usable[:, 1:1 + named, None] * colors[:, :named]).sum(1)[..., None, None]
            painted = torch.where(doubted, background, painted)
        return painted

    def _quarter(self, hidden: torch.Tensor, looks: torch.Tensor | None, phase: tuple[int, int],
                 dips: bool) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Every second pixel: what chooses its colour, [N, key_dim, h, w], and the paint for none, [N, 3, h, w].

        dips: whether there are colours to be chosen; else there is nothing that chooses them.
        """
        query = self._pixels(self.to_query, hidden, phase)
        paint = self._pixels(self.to_paint, hidden, phase) + self.to_tint(F.silu(query))
        blurred = torch.cat([query, paint], 1) if dips else paint
        if looks is not None:
            looks = looks[..., phase[0]::2, phase[1]::2] + self._pixels(self.to_looks, hidden, phase)
            blurred = self._run(self.edges, blurred, looks)
        return (blurred[:, :-3], blurred[:, -3:]) if dips else (None, blurred)

    def _run(self, block: nn.Module, *inputs) -> torch.Tensor:
        """A block, whose inner activations are kept for the way back or computed again."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _pixels(self, conv: nn.Conv2d, hidden: torch.Tensor, phase: tuple[int, int]) -> torch.Tensor:
        """Features [N, c, h, w] -> [N, C, H, W], every second pixel of each patch, of both sides."""
        patch = self.config.patch
        weight, bias = (p.unflatten(0, (-1, patch, patch))[:, phase[0]::2, phase[1]::2].flatten(0, 2)
                        for p in (conv.weight, conv.bias))
        return F.pixel_shuffle(F.conv2d(hidden, weight, bias, padding=conv.padding), patch // 2)

    def _instruct(self, prompts: PromptTokens) -> torch.Tensor:
        """What the prompt asks for, its class-colour pairs left out: [N, T], added to the time embedding."""
        words = (prompts.mask & ~prompts.colored)[..., None].to(prompts.tokens.dtype)
        return self.instruction((prompts.tokens * words).sum(1) / words.sum(1).clamp(min=1))

    def forward(self, image: torch.Tensor | None, sample: torch.Tensor, timestep: torch.Tensor,
                prompts: PromptTokens) -> torch.Tensor:
        """The whole way, one image a prompt, to RGB [B, 3, H, W]."""
        return self.paint(self.encode(image, sample, timestep), prompts)

    def usable(self, prompts: PromptTokens) -> torch.Tensor:
        """Which of the ways to paint, in the order of `Painting.choice`, a prompt leaves open: bool [N, 1 + P + K]."""
        named = prompts.colored & prompts.mask
        far = torch.cdist(self._colors(prompts)[:, :named.shape[1]], OWN_COLORS.to(named.device)) > NEAR
        own = (far | ~named[..., None]).all(1) & (named.sum(1, keepdim=True) == 1)
        return torch.cat([torch.ones_like(named[:, :1]), named, own], 1)

    def _colors(self, prompts: PromptTokens) -> torch.Tensor:
        """Of each phrase, and then the painter's own: float32 [N, P + K, 3] in -1..1."""
        colors = 2 * prompts.colors.float() - 1
        return torch.cat([colors, OWN_COLORS.to(colors.device).expand(len(colors), -1, -1)], 1)

    def _keys(self, prompts: PromptTokens) -> torch.Tensor:
        """What a pixel's query is held against for each way to paint: [N, 1 + P + K, key_dim]."""
        phrases = self.to_key(torch.cat([prompts.keys, prompts.tokens], -1))
        free, own = (key.expand(len(phrases), -1, -1).to(phrases.dtype) for key in (self.free_key[None], self.own_keys))
        return torch.cat([free, phrases, own], 1)


def _logits(query: torch.Tensor, keys: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    """How each pixel, [N, D, h, w], likes each of the ways to paint, [N, P, D]: float32 [N, P, h, w].

    usable: bool [N, P]; the others are out of the question.
    """
    logits = torch.einsum("nkhw,npk->nphw", query, keys) / keys.shape[-1] ** 0.5
    return logits.float().masked_fill(~usable[:, :, None, None], -torch.inf)


def _blend(paint: torch.Tensor, shares: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """Free paint [N, 3, h, w] and colours [N, P, 3], by their shares [N, 1 + P, h, w]."""
    return shares[:, :1] * paint.float() + torch.einsum("nphw,npc->nchw", shares[:, 1:], colors)


def _lead(logits: torch.Tensor, named: int) -> torch.Tensor:
    """By how much the painter's best own colour leads what is not its own, and which that is.

    logits: [N, 1 + P + K, h, w]; named: P, those of phrases. Returns [N, 2, h, w].
    """
    best, which = logits[:, 1 + named:].max(1)
    return torch.stack([best - logits[:, :1 + named].amax(1), which.to(best.dtype)], 1)


def _joined(quarters: list[torch.Tensor]) -> torch.Tensor:
    """Quarters of the pixels, [N, C, h, w] each, as one [N, C, H, W]."""
    return F.pixel_shuffle(torch.stack(quarters, 2).flatten(1, 2), 2)


def _doubted(lead: torch.Tensor, which: torch.Tensor, surety: float) -> torch.Tensor:
    """Where connected pixels of one own colour lead by too little, on average, for their size; all [N, H, W].

    Half of the things that are there lead by six nats or more, half of what only looks like one by less than two; and
    what is large is there more often than what is small.
    """
    doubted = np.zeros(lead.shape, bool)
    for row, (ahead, color) in enumerate(zip(lead.cpu().numpy(), which.cpu().numpy(), strict=True)):
        leads = ahead > 0
        for one in np.unique(color[leads]):
            count, parts = cv2.connectedComponents((leads & (color == one)).view(np.uint8))
            inside = parts > 0
            sizes = np.bincount(parts[inside], minlength=count).clip(1)
            mean = np.bincount(parts[inside], ahead[inside], count) / sizes
            doubtful = mean + np.log(sizes / (USUAL_SIZE * ahead.size)) / 2 < surety
            doubted[row] |= doubtful[parts] & inside
    return torch.from_numpy(doubted).to(lead.device)


class _View(nn.Module):
    """How wide the camera's view is, and where in it the optical axis is: [B, 4] -> [B, T], added to the time embedding
    as SDXL adds the size and crop of a picture (arXiv 2307.01952). Zero for a camera that is not known.

    A thing twice as far before a lens twice as long looks the same, so without it metres are a guess.
    """

    # Half the width and height at distance 1 of the view that training knows best, 60 by 47 degrees.
    usual = (0.58, 0.435)

    def __init__(self, temb: int) -> None:
        super().__init__()
        self.embedding = TimestepEmbedding(4, temb)
        zero_module(self.embedding.linear_2)

    def forward(self, frustums: torch.Tensor) -> torch.Tensor:
        first, last = frustums.float().nan_to_num().split(2, 1)
        half = (last - first) / 2
        known = frustums.isfinite().all(1, keepdim=True) & (half > 0).all(1, keepdim=True)
        half = torch.where(known, half, 1.0)
        size = (half / half.new_tensor(self.usual)).log()
        middle = (last + first) / half
        # Lenses differ by a few tenths, and what meets the first layer should be about 1; a lens beyond all that were
        # seen in training is taken for the last of them.
        view = (4 * torch.cat([size, middle], 1)).clamp(-4, 4)
        return self.embedding(view.to(self.embedding.linear_1.weight.dtype)) * known


class _Down(nn.Module):
    """One level of the way down: half the size, then two residual blocks, with self-attention where it is cheap."""

    def __init__(self, channels: tuple[int, ...], level: int, temb: int) -> None:
        super().__init__()
        width = channels[level]
        before = channels[max(level - 1, 0)]
        self.shrink = Downsample2D(before, use_conv=True, name="op") if level else nn.Identity()
        self.blocks = nn.ModuleList([_resnet(before, width, temb), _resnet(width, width, temb)])
        self.attentions = nn.ModuleList(_transformer(width) for _ in self.blocks) if level >= 2 else None

    def forward(self, hidden: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        hidden = self.shrink(hidden)
        for i, block in enumerate(self.blocks):
            hidden = block(hidden, temb)
            if self.attentions is not None:
                hidden = _on_tokens(self.attentions[i], hidden)
        return hidden


class _Back(nn.Module):
    """One level of the way back: what the next smaller level knows is added to this one."""

    def __init__(self, channels: tuple[int, ...], level: int, temb: int) -> None:
        super().__init__()
        width, below = channels[level], channels[level + 1]
        self.narrow = nn.Conv2d(below, width, 1)
        self.grow = Upsample2D(width)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.block = _resnet(width, width, temb)

    def forward(self, below: torch.Tensor, level: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        return level + self.block(self.join(torch.cat([self.grow(self.narrow(below)), level], 1)), temb)


class _Mid(nn.Module):
    """The smallest level, where image and text first meet."""

    def __init__(self, width: int, text_dim: int, temb: int) -> None:
        super().__init__()
        self.before = _transformer(width, text_dim)
        self.block = _resnet(width, width, temb)
        self.after = _transformer(width, text_dim)

    def forward(self, hidden: torch.Tensor, temb: torch.Tensor, prompts: PromptTokens) -> torch.Tensor:
        hidden = _on_tokens(self.before, hidden, prompts)
        hidden = self.block(hidden, temb)
        return _on_tokens(self.after, hidden, prompts)


class _Up(nn.Module):
    """One level of the way up: the level's own features, the text again, then twice the size."""

    def __init__(self, channels: tuple[int, ...], level: int, text_dim: int, temb: int) -> None:
        super().__init__()
        width = channels[level]
        after = channels[max(level - 1, 0)]
        self.join = nn.Conv2d(2 * width, width, 1)
        self.block = _resnet(width, width, temb)
        self.attention = _transformer(width, text_dim) if level >= 2 else _CrossAttention(width, text_dim)
        # Fewer channels before more pixels: the convolution is 1x1 and on the small side.
        self.narrow = nn.Conv2d(width, after, 1) if level else nn.Identity()
        self.grow = Upsample2D(after) if level else nn.Identity()

    def forward(self, hidden: torch.Tensor, level: torch.Tensor, temb: torch.Tensor,
                prompts: PromptTokens) -> torch.Tensor:
        hidden = self.block(self.join(torch.cat([hidden, level], 1)), temb)
        return self.grow(self.narrow(_on_tokens(self.attention, hidden, prompts)))


class _Edges(nn.Module):
    """Each pixel becomes an average of those about it that look like it: a bilateral filter that learns what does.

    Convolutions blur what lies on both sides of an edge and need long training not to; here the image itself tells
    where the edge is (C. Tomasi and R. Manduchi, "Bilateral filtering for gray and color images", ICCV 1998).
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = BLOCK + 2 * REACH
        block, window = torch.arange(BLOCK) + REACH, torch.arange(self.size)
        apart = block[:, None] - window + self.size - 1 - REACH  # of rows, or columns: >= 0
        side = 2 * (self.size - 1 - REACH) + 1
        middle = torch.arange(side) - side // 2
        square = middle[:, None]**2 + middle**2
        self.nearness = nn.Parameter(-square.flatten() / (2 * REACH**2))
        place = apart[:, None, :, None] * side + apart[None, :, None, :]
        self.register_buffer("place", place.reshape(BLOCK**2, self.size**2), persistent=False)

    def forward(self, blurred: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] and what its pixels look like, [N, D, h, w] -> [N, C, h, w]."""
        n, c, h, w = blurred.shape
        looks = looks.float()
        # -|q - k|^2, less |q|^2, which is the same for all of a query's keys.
        queries = torch.cat([2 * looks, torch.ones_like(looks[:, :1])], 1)
        keys = torch.cat([looks, -looks.square().sum(1, keepdim=True)], 1)
        queries = queries.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).permute(0, 2, 4, 3, 5, 1)
        parts = queries, self._windows(keys), self._windows(blurred)
        if blurred.device.type == "cpu":  # a few rows of blocks stay in its cache: half the time
            bands = (band for image in zip(*parts, strict=True)
                     for band in zip(*(part.split(BAND) for part in image), strict=True))
            drawn = torch.cat([self._average(*band) for band in bands])
        else:
            drawn = self._average(*parts)
        drawn = drawn.reshape(n, h // BLOCK, w // BLOCK, BLOCK, BLOCK, c)
        return drawn.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)

    def _average(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Of blocks of pixels, [..., BLOCK, BLOCK, D], and their windows -> [blocks, BLOCK * BLOCK, C]."""
        queries, keys, values = (part.flatten(-3, -2).flatten(0, -3) for part in (queries, keys, values))
        with torch.autocast(values.device.type, enabled=False):
            alike = torch.baddbmm(self.nearness.float()[self.place], queries, keys.transpose(1, 2))
            weights = alike.softmax(2)
        return weights.to(values.dtype) @ values

    def _windows(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] -> [N, rows, columns, size, size, C]: blocks and what is about them, at the rim its pixels."""
        padded = F.pad(pixels, (REACH,) * 4, mode="replicate").permute(0, 2, 3, 1).contiguous()
        return padded.unfold(1, self.size, BLOCK).unfold(2, self.size, BLOCK).permute(0, 1, 2, 4, 5, 3)


class _Detail(nn.Module):
    """What patches leave out of a picture from text: what is painted and what is noisy -> a sharper one.

    A patch is 48 numbers, in 64 channels that are normed a picture at a time, and a thin leg is gone before there is
    any noise. Zero to begin with.
    """

    def __init__(self, channels: int, temb: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(2 * 3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(_resnet(channels, channels, temb, groups=8) for _ in range(2))
        self.conv_out = zero_module(nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, painted: torch.Tensor, sample: torch.Tensor, temb: torch.Tensor) -> torch.Tensor:
        """RGB [N, 3, H, W] twice, and the time embedding [N, T] -> RGB."""
        hidden = self.conv_in(torch.cat([painted.to(sample.dtype), sample], 1))
        for block in self.blocks:
            hidden = block(hidden, temb)
        return painted + self.conv_out(F.silu(hidden))


class _CrossAttention(nn.Module):
    """Attention to the prompt alone, for the levels whose pixels are too many to attend to each other."""

    def __init__(self, width: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = Attention(width, text_dim, heads=width // 32, dim_head=32)

    def forward(self, hidden: torch.Tensor, encoder_hidden_states: torch.Tensor,
                encoder_attention_mask: torch.Tensor) -> torch.Tensor:
        return hidden + self.attend(self.norm(hidden), encoder_hidden_states=encoder_hidden_states,
                                    attention_mask=encoder_attention_mask)


def _resnet(before: int, after: int, temb: int, groups: int = 32) -> ResnetBlock2D:
    return ResnetBlock2D(in_channels=before, out_channels=after, temb_channels=temb, groups=groups,
                         time_embedding_norm="scale_shift")


def _transformer(width: int, text_dim: int | None = None) -> BasicTransformerBlock:
    return BasicTransformerBlock(width, num_attention_heads=width // 32, attention_head_dim=32,
                                 cross_attention_dim=text_dim)


def _on_tokens(block: nn.Module, hidden: torch.Tensor, prompts: PromptTokens | None = None) -> torch.Tensor:
    """Run a transformer block on a feature map [N, C, h, w], its pixels as tokens."""
    n, c, h, w = hidden.shape
    tokens = hidden.flatten(2).transpose(1, 2)
    if prompts is None:
        tokens = block(tokens)
    else:
        bias = (~prompts.mask).to(tokens.dtype)[:, None] * -10000.0
        tokens = block(tokens, encoder_hidden_states=prompts.tokens, encoder_attention_mask=bias)
    return tokens.transpose(1, 2).reshape(n, c, h, w)
