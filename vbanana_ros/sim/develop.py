"""Developing: what a drawn view lacks of a photograph: shade where surfaces meet, air, the camera's own exposure."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from .render import SimFrame


def develop(frame: SimFrame, rng: np.random.Generator, haze: float = 0.0) -> SimFrame:
    """The frame with another rgb; haze: share of the light that 100 m of air scatter, 0..1."""
    image = frame.rgb.astype(np.float32) / 255
    image *= creases(frame.depth, rng.uniform(0.3, 1.2))[..., None]
    if haze:
        air = rng.uniform(0.7, 0.9) * np.float32([0.97, 1.0, 1.04])
        clear = np.power(1 - haze, np.minimum(frame.depth, 1000) / 100)[..., None]
        image = np.where(np.isfinite(frame.depth)[..., None], air + (image - air) * clear, image)
    image = exposed(image, rng)
    return replace(frame, rgb=(image.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def creases(depth: np.ndarray, strength: float) -> np.ndarray:
    """Brightness float32 [H, W], 0.35..1.1: dark where surfaces meet in a corner, light on their outer edges.

    1 / z is linear over the picture of a plane, so blurring it changes it at edges and corners only
    (unsharp masking the depth buffer, Luft et al. 2006, of its inverse).
    """
    seen = np.isfinite(depth)
    near = 1 / np.where(seen, depth, 1e4).astype(np.float32)
    shade = np.zeros(depth.shape, np.float32)
    for side in (5, 11, 25):
        bend = cv2.blur(cv2.blur(near, (side, side)), (side, side)) / near - 1
        # What is far in front, or behind, shades nothing.
        shade += bend * np.exp(-(bend / 0.1) ** 2)
    return np.where(seen, np.clip(1 - 2.5 * strength * shade, 0.35, 1.1), 1).astype(np.float32)


def exposed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as a camera exposes it: about a middle grey on the whole, bright parts rolled off, not cut."""
    mean = float(image.mean())
    gain = np.clip(rng.normal(0.45, 0.07) / max(mean, 0.05), 0.5, 2.6)
    image = image * np.float32(gain)
    knee = np.float32(0.75)
    return np.where(image > knee, knee + (1 - knee) * np.tanh((image - knee) / (1 - knee)), image)
