"""Textures as real surfaces have them: grain at every scale, courses of bricks, weaves, print and pictures.

All tile. Fields are float32 [SIZE, SIZE] in 0..1; textures are uint8 [SIZE, SIZE, 3].
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 128
_Y, _X = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE
_FY, _FX = np.fft.fftfreq(SIZE)[:, None] * SIZE, np.fft.rfftfreq(SIZE)[None] * SIZE


def grain(rng: np.random.Generator, slope: float, along: float = 1.0, across: float = 1.0) -> np.ndarray:
    """A field of noise whose amplitude falls with frequency to the power of -slope; along, across > 1 draw it out."""
    frequency = np.hypot(_FX * along, _FY * across)
    frequency[0, 0] = np.inf
    waves = np.fft.rfft2(rng.standard_normal((SIZE, SIZE), np.float32)) * frequency ** -slope
    field = np.fft.irfft2(waves, (SIZE, SIZE))
    return np.clip(0.5 + 0.22 * field / field.std(), 0, 1).astype(np.float32)


def courses(rng: np.random.Generator, rows: int, cols: int, shift: float,
            joint: float) -> tuple[np.ndarray, np.ndarray]:
    """Bricks, tiles or boards: a random shade for each, and where the joints (of a share of a row) are."""
    row = (_Y * rows).astype(int)
    x = _X * cols + shift * row
    shade = rng.random((rows, 4 * cols), np.float32)[row, x.astype(int) % cols]
    joints = (_Y * rows % 1 < joint) | (x % 1 < joint * cols / rows)
    return shade, joints


def plaster(rng: np.random.Generator) -> np.ndarray:
    return 0.75 + 0.25 * (0.6 * grain(rng, 1.6) + 0.4 * grain(rng, 0.3))


def carpet(rng: np.random.Generator) -> np.ndarray:
    return 0.6 * grain(rng, 0.1) + 0.4 * grain(rng, 1.3)


def wood(rng: np.random.Generator) -> np.ndarray:
    rings = np.sin(2 * np.pi * (_Y * rng.integers(2, 9) + rng.uniform(0.4, 1.5) * grain(rng, 1.6, across=1, along=6)))
    return 0.4 * (0.5 + 0.5 * rings) + 0.6 * grain(rng, 0.7, along=16)


def planks(rng: np.random.Generator) -> np.ndarray:
    shade, joints = courses(rng, int(rng.integers(4, 11)), int(rng.integers(1, 3)), rng.uniform(0.2, 0.8), 0.05)
    return np.where(joints, 0.0, 0.25 + 0.35 * shade + 0.4 * grain(rng, 0.7, along=16))


def brick(rng: np.random.Generator) -> np.ndarray:
    shade, joints = courses(rng, 2 * int(rng.integers(3, 8)), int(rng.integers(2, 6)), 0.5, 0.12)
    return np.where(joints, rng.choice([0.0, 1.0]), 0.25 + 0.3 * shade + 0.3 * grain(rng, 0.6))


def tiles(rng: np.random.Generator) -> np.ndarray:
    count = int(rng.integers(2, 8))
    shade, joints = courses(rng, count, count, 0, rng.uniform(0.02, 0.06))
    return np.where(joints, rng.choice([0.0, 0.3]), 0.55 + rng.uniform(0.05, 0.35) * shade + 0.15 * grain(rng, 1.2))


def checker(rng: np.random.Generator) -> np.ndarray:
    count = 2 * int(rng.integers(1, 5))
    return 0.85 * (((_X * count).astype(int) + (_Y * count).astype(int)) % 2) + 0.15 * grain(rng, 1.0)


def stripes(rng: np.random.Generator) -> np.ndarray:
    """Stripes of several widths, one way or, as plaid, both."""
    bands = np.repeat(rng.random(16, np.float32), rng.multinomial(SIZE, np.full(16, 1 / 16)))
    field = np.broadcast_to(bands, (SIZE, SIZE)) if rng.random() < 0.5 else (bands + bands[:, None]) / 2
    return 0.9 * field + 0.1 * grain(rng, 0.2)


def weave(rng: np.random.Generator) -> np.ndarray:
    k = 2 * np.pi * int(rng.choice([8, 16, 21, 32]))
    return 0.35 + 0.25 * np.sin(k * _X) * np.sin(k * _Y) + 0.4 * grain(rng, 1.0)


def marble(rng: np.random.Generator) -> np.ndarray:
    return np.abs(np.sin(2 * np.pi * (_X + _Y + 1.5 * grain(rng, 1.7)))) ** 0.6


def print_(rng: np.random.Generator) -> np.ndarray:
    """A motif, mirrored and repeated, as on wallpaper and cloth."""
    n = int(rng.choice([16, 32, 64]))
    motif = cv2.GaussianBlur(rng.random((n // 2, n // 2), np.float32), (0, 0), rng.uniform(1, n / 12))
    motif = (motif > np.median(motif)).astype(np.float32)
    motif = np.hstack([motif, motif[:, ::-1]])
    return 0.9 * np.tile(np.vstack([motif, motif[::-1]]), (SIZE // n, SIZE // n)) + 0.1 * grain(rng, 0.5)


def stains(rng: np.random.Generator) -> np.ndarray:
    return grain(rng, rng.uniform(0.8, 2.0))


def leaves(rng: np.random.Generator) -> np.ndarray:
    return np.clip(2.2 * grain(rng, 0.45) - 0.6, 0, 1)


def asphalt(rng: np.random.Generator) -> np.ndarray:
    return 0.5 * grain(rng, 0.05) + 0.5 * grain(rng, 1.5)


def even(rng: np.random.Generator) -> np.ndarray:
    return 0.9 + 0.1 * grain(rng, 0.8)


Field = Callable[[np.random.Generator], np.ndarray]
FLOORS: tuple[Field, ...] = (planks, planks, planks, wood, carpet, carpet, tiles, tiles, checker, marble, stains, weave,
                             asphalt, asphalt)
WALLS: tuple[Field, ...] = (plaster, plaster, plaster, even, stains, brick, tiles, print_, stripes, planks)
CEILINGS: tuple[Field, ...] = (plaster, even, tiles, planks, stains)
THINGS: tuple[Field, ...] = (even, even, plaster, wood, wood, carpet, weave, stripes, print_, marble, stains, checker)


def between(field: np.ndarray, dark: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A field as colours between two RGB (0..1), which drift a little in hue."""
    image = dark + (light - dark) * field[..., None]
    drift = rng.normal(0, 0.015, 3) * (grain(rng, 1.8)[..., None] - 0.5) * 2
    return (np.clip(image + drift, 0, 1) * 255).astype(np.uint8)


def art(rng: np.random.Generator) -> np.ndarray:
    """A picture, poster or cover: shapes of a few colours over each other, large ones first, and lines of print.

    Such "dead leaves" have the statistics of photographs (Lee, Mumford, Huang: Occlusion models, IJCV 2001).
    """
    colours = np.clip(rng.beta(1, 1.3, (6, 1)) + rng.normal(0, 0.2, (6, 3)), 0, 1) * 255
    image = between(stains(rng), colours[0] / 255, colours[1] / 255, rng)
    for radius in np.sort(2.0 + 40 * rng.random(int(rng.integers(5, 60))) ** 3)[::-1]:
        centre = tuple(int(c) for c in rng.integers(0, SIZE, 2))
        colour = (colours[int(rng.integers(6))] * rng.uniform(0.8, 1.1)).clip(0, 255).tolist()
        if rng.random() < 0.5:
            axes = (max(1, int(radius)), max(1, int(radius * rng.uniform(0.3, 1))))
            cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1)
        else:
            sides = radius * 2, radius * rng.uniform(0.2, 2)
            corners = cv2.boxPoints((centre, sides, float(rng.choice([0, 0, 37, 70]))))
            cv2.fillConvexPoly(image, corners.astype(np.int32), colour)
    if rng.random() < 0.4:
        x, y, width = (int(v) for v in rng.integers((8, 8, 30), (40, 80, 90)))
        for row in range(y, min(y + int(rng.integers(8, 60)), SIZE), 5):
            cv2.line(image, (x, row), (x + int(width * rng.uniform(0.5, 1)), row), colours[5].tolist(), 2)
    return image


def facade(rng: np.random.Generator) -> np.ndarray:
    """A wall with rows of windows, some with curtains, over a ground floor of its own."""
    wall = (brick, plaster, stains)[int(rng.integers(3))](rng)
    image = between(wall, np.full(3, rng.uniform(0.5, 0.8)), np.full(3, 0.95), rng)
    rows, cols = int(rng.integers(2, 7)), int(rng.integers(2, 8))
    tall, wide = SIZE / (rows + 0.5), SIZE / cols
    share = rng.uniform(0.35, 0.75, 2)
    for i in range(rows):
        for j in range(cols):
            x, y = int((j + 0.5 - share[0] / 2) * wide), int((i + 0.6 - share[1] / 2) * tall)
            end = int(x + share[0] * wide), int(y + share[1] * tall)
            shade = rng.uniform(0.05, 0.35) * np.array([0.8, 0.95, 1.1]) * 255
            cv2.rectangle(image, (x - 1, y - 1), (end[0] + 1, end[1] + 1), [235] * 3, -1)
            cv2.rectangle(image, (x, y), end, shade.tolist(), -1)
            if rng.random() < 0.3:
                cv2.rectangle(image, (x, y), (end[0], int(y + (end[1] - y) * rng.random())), [200, 195, 180], -1)
    return image


def sky(rng: np.random.Generator, cloud: float) -> np.ndarray:
    """Six faces of a cube (right, left, up, down, back, front), uint8 [6 * SIZE, SIZE, 3]: haze, blue and clouds."""
    a, b, one = 2 * _X - 1, 1 - 2 * _Y, np.ones_like(_X)
    faces = np.stack([np.stack(f, -1) for f in ((one, b, -a), (-one, b, a), (a, one, -b), (a, -one, b),
                                                (a, b, one), (-a, b, -one))])
    faces /= np.linalg.norm(faces, axis=-1, keepdims=True)
    up = faces[..., 1:2]
    haze, blue = rng.uniform(0.7, 0.98) * np.array([1, 1, 1.02]), np.array([0.3, 0.52, 0.88]) * rng.uniform(0.7, 1.2)
    image = haze + (blue - haze) * np.clip(up, 0, 1) ** 0.5
    waves = sum(np.sin(faces @ rng.normal(0, 2.0 ** k, 3) + rng.uniform(0, 6.3)) / 1.7 ** k for k in range(1, 6))
    cover = np.clip(waves[..., None] + cloud, 0, 1) * np.clip(3 * up, 0, 1)
    image = image + (rng.uniform(0.7, 1.0) - image) * cover
    return (np.clip(image, 0, 1) * 255).astype(np.uint8).reshape(6 * SIZE, SIZE, 3)
