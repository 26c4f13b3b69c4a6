"""Looks: named colours, palettes and the small textures that make surfaces differ."""

from __future__ import annotations

import cv2
import numpy as np

Rgb = tuple[float, float, float]

TEXTURE_SIZE = 64

COLOURS: dict[str, Rgb] = {
    "red": (0.78, 0.08, 0.08), "orange": (0.95, 0.48, 0.05), "yellow": (0.93, 0.82, 0.12),
    "green": (0.13, 0.55, 0.17), "blue": (0.10, 0.24, 0.75), "purple": (0.45, 0.16, 0.62),
    "pink": (0.95, 0.55, 0.70), "brown": (0.42, 0.25, 0.12), "black": (0.07, 0.07, 0.08),
    "white": (0.93, 0.93, 0.91), "gray": (0.50, 0.50, 0.50), "cyan": (0.18, 0.78, 0.82),
}

TRIMS: tuple[Rgb, ...] = ((0.45, 0.3, 0.18), (0.6, 0.45, 0.3), (0.2, 0.2, 0.21), (0.7, 0.7, 0.72),
                          (0.88, 0.87, 0.84))


def palette(colour: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The RGB [3] (0..1) of each tone of one object whose main colour is the named one."""
    main = np.array(COLOURS[colour]) * rng.uniform(0.88, 1.08) + rng.uniform(-0.03, 0.03, 3)
    main = np.clip(main, 0.03, 0.97)
    pot, trim = TRIMS[int(rng.integers(len(TRIMS)))], TRIMS[int(rng.integers(len(TRIMS)))]
    fixed = {"trim": trim, "pot": pot, "metal": (0.7, 0.7, 0.68), "pale": (0.88, 0.87, 0.84),
             "paper": (0.9, 0.88, 0.8), "earth": (0.16, 0.11, 0.08), "drink": (0.10, 0.07, 0.06),
             "screen": (0.05, 0.06, 0.09), "pane": (0.62, 0.78, 0.92)}
    tones = {"main": main, "dark": main * 0.75, "light": np.clip(main * 1.15 + 0.05, 0, 1)}
    return tones | {name: np.array(rgb) for name, rgb in fixed.items()}


def noise(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Smooth noise float32 [TEXTURE_SIZE, TEXTURE_SIZE] in 0..1 with about rows x cols blobs."""
    coarse = rng.random((rows, cols), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_CUBIC), 0, 1)


def pattern(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A pattern float32 [TEXTURE_SIZE, TEXTURE_SIZE] in 0..1 of a kind of PATTERNS."""
    y, x = np.mgrid[:TEXTURE_SIZE, :TEXTURE_SIZE].astype(np.float32) / TEXTURE_SIZE
    count = int(rng.integers(1, 5))
    if kind == "checker":
        return ((x * 2 * count).astype(int) + (y * 2 * count).astype(int)) % 2 * np.float32(1)
    if kind == "stripes":
        return (np.sin(2 * np.pi * x * (count + 1)) > rng.uniform(-0.5, 0.5)).astype(np.float32)
    if kind == "tiles":
        line = np.float32(0.03)
        u, v = x * count % 1, y * count % 1
        return np.where((u < line * count) | (v < line * count), 0, 0.75 + 0.25 * noise(rng, count, count))
    if kind == "planks":
        rows = 2 * (count + 1)
        shade = rng.random(rows).astype(np.float32)[(y * rows).astype(int)]
        grain = 0.3 * noise(rng, 48, 3)
        return np.where(y * rows % 1 < 0.08, 0, 0.3 + 0.4 * shade + grain)
    if kind == "wood":
        return 0.5 * noise(rng, 40, 3) + 0.5 * noise(rng, 12, 2)
    if kind == "dots":
        n = count + 1
        return ((x * n % 1 - 0.5) ** 2 + (y * n % 1 - 0.5) ** 2 > 0.07).astype(np.float32)
    if kind == "speckle":
        return 1 - (rng.random((TEXTURE_SIZE, TEXTURE_SIZE)) < 0.1).astype(np.float32) * rng.uniform(0.4, 1)
    if kind == "gradient":
        return y
    if kind == "cloud":
        return 0.5 * noise(rng, 4, 4) + 0.3 * noise(rng, 9, 9) + 0.2 * noise(rng, 32, 32)
    return np.ones((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)


PATTERNS = ("flat", "flat", "cloud", "wood", "speckle", "checker", "stripes", "gradient", "dots")
FLOORS = ("planks", "planks", "tiles", "checker", "cloud", "flat", "speckle", "wood")
WALLS = ("flat", "flat", "cloud", "speckle", "stripes", "tiles", "gradient", "dots")


def texture(kind: str, dark: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A grained texture uint8 [TEXTURE_SIZE, TEXTURE_SIZE, 3]: the pattern between two RGB colours (0..1)."""
    mix = pattern(kind, rng)[..., None]
    image = dark + (light - dark) * mix + rng.normal(0, 0.02, (TEXTURE_SIZE, TEXTURE_SIZE, 1))
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)
