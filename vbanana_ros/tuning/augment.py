"""What cameras do to a scene: the difference between a clean picture and a frame, for training.

strength 0 is what simulated cameras need: exposure, gamma, white balance, a little blur and noise. Above, up to 1, it
is what the cameras of real recordings do, the more the nearer to 1.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from vbanana_ros.tuning.records import Record

SMALLEST_CROP = 0.65  # of the sides, at strength 1
# Of an object or what an expression means, this much must be left in a crop for it to be spoken of.
KEPT = 0.8
# What is said of places in the whole picture need not be true of a crop.
PLACE_WORDS = {"left", "right", "leftmost", "rightmost", "middle", "center", "centre", "top", "bottom", "corner"}
_LUMA = np.float32([0.299, 0.587, 0.114])
_BANK = 1 << 20


def augment(rgb: np.ndarray, rng: np.random.Generator, strength: float = 0.0) -> np.ndarray:
    """A picture as a camera would have taken it; uint8 [H, W, 3] in, float32 0..1 out."""
    return _light(rgb, rng) if strength == 0 else _camera(rgb, rng, strength)


def _light(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = rgb.astype(np.float32) / 255
    gain = np.exp(rng.uniform(-0.3, 0.4)) * np.exp(rng.normal(0, 0.05, 3))
    image = np.clip(image * gain.astype(np.float32), 0, 1) ** np.float32(np.exp(rng.uniform(-0.2, 0.15)))
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.8)))
    if rng.random() < 0.6:
        image = image + rng.normal(0, rng.uniform(0, 0.02), image.shape).astype(np.float32)
    return image.clip(0, 1)


def _camera(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The way of light: air and lens, sensor, the camera's own processing, the file."""
    image = cv2.LUT(rgb, _tones(rng, strength))
    height, width = rgb.shape[:2]
    if rng.random() < 0.4:
        image *= 1 - np.float32(rng.uniform(0, 0.5 * strength)) * _corners(height, width)
    if rng.random() < 0.5:
        image = _blurred(image, rng, strength)
    if rng.random() < 0.8:
        image = _noisy(image, rng, strength)
    image = cv2.transform(image, _colours(rng, strength))
    np.clip(image, 0, 1, out=image)
    return _as_jpeg(image, rng, strength) if rng.random() < 0.5 else image


def _tones(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Exposure, white balance, gamma, contrast and haze: the 256 levels of each channel, float32 [256, 1, 3]."""
    gain = np.exp(rng.normal(0, 0.32 * strength) + rng.normal(0, 0.1 * strength, 3))
    level = np.minimum(np.arange(256)[:, None] / 255 * gain, 1.15)  # beyond 1 it is clipped behind the noise
    level = level ** np.exp(rng.normal(0, 0.2 * strength))
    level = 0.5 + (level - 0.5) * np.exp(rng.normal(0, 0.2 * strength))
    if rng.random() < 0.25:
        air = rng.uniform(0.4, 0.9) + rng.normal(0, 0.03, 3)
        level = level + (air - level) * rng.uniform(0, 0.45 * strength)
    return level.clip(0, 1.15).astype(np.float32)[:, None]


@cache
def _corners(height: int, width: int) -> np.ndarray:
    """Squared distance from the middle, 1 in the corners, float32 [H, W, 1]."""
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    return (y[:, None, None] ** 2 + x[None, :, None] ** 2) / 2


def _blurred(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Out of focus, moved, or of fewer pixels than the file has. Sizes are of a picture 256 wide."""
    height, width = image.shape[:2]
    unit = strength * width / 256
    kind = rng.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), 0.3 + float(rng.uniform(0, 1.2)) * unit)
    if kind == 1:
        side = 2 * int(rng.uniform(0.6, 3.5) * unit) + 1
        angle = rng.uniform(0, np.pi)
        kernel, reach = np.zeros((side, side), np.float32), np.array([np.cos(angle), np.sin(angle)]) * (side // 2)
        middle = side // 2
        ends = [tuple(int(v) for v in np.rint(middle + sign * reach)) for sign in (-1, 1)]
        cv2.line(kernel, *ends, 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    share = 1 - rng.uniform(0.1, 0.6) * strength
    small = cv2.resize(image, (max(1, int(width * share)), max(1, int(height * share))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@cache
def _normal() -> np.ndarray:
    """Numbers of a normal distribution, drawn once: to draw them anew takes longer than all the rest."""
    return np.random.default_rng(0).standard_normal(_BANK, np.float32)


def _noisy(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Shot noise, whose variance grows with the light, and read noise; grey or of each channel its own."""
    shot, read = strength * rng.uniform(0, 0.05) ** 2 * 2, strength * rng.uniform(0, 0.025)
    shape = image.shape if rng.random() < 0.7 else (*image.shape[:2], 1)
    count = int(np.prod(shape))
    start = int(rng.integers(_BANK - count % _BANK))
    noise = np.resize(_normal()[start:start + count], shape)
    return image + noise * np.sqrt(np.float32(shot) * image + np.float32(read**2))


def _colours(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Saturation, at times none, and crosstalk of the channels: float32 [3, 3]."""
    saturation = 0.0 if rng.random() < 0.06 * strength else np.exp(rng.normal(-0.1, 0.35) * strength)
    matrix = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    mixed = np.eye(3) + rng.normal(0, 0.03 * strength, (3, 3))
    return (matrix @ (mixed / mixed.sum(1, keepdims=True))).astype(np.float32)


def _as_jpeg(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    quality = int(95 - strength * rng.uniform(0, 70))
    # OpenCV takes red for blue here and back again: the file is read by nobody else.
    _, data = cv2.imencode(".jpg", (image * 255 + 0.5).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255


def crop(record: Record, rng: np.random.Generator, strength: float = 0.0) -> Record:
    """A random part of the record, as large in pixels as the whole; at strength 0, or half the time, itself."""
    if strength == 0 or rng.random() < 0.5:
        return record
    shape = np.array(record.rgb.shape[:2])
    rows, cols = np.maximum(1, shape * rng.uniform(1 - (1 - SMALLEST_CROP) * strength, 1)).astype(int)
    y, x = (int(v) for v in rng.integers(0, shape - (rows, cols) + 1))
    return cut(record, y, x, rows, cols)


def cut(record: Record, y: int, x: int, rows: int, cols: int) -> Record:
    """A part of the record, from row y and column x on, as large in pixels as the whole.

    Depth stays in metres along the optical axis, and normals as they are: it is what a camera of a longer focal length
    sees, its principal point off the middle. The record itself where no depth or normal is known of the part.
    """
    shape = record.rgb.shape[:2]

    def part(array: np.ndarray | None, how: int = cv2.INTER_NEAREST) -> np.ndarray | None:
        if array is None:
            return None
        window = array[y:y + rows, x:x + cols]
        window = window.view(np.uint8) if array.dtype == bool else window
        return cv2.resize(window, (shape[1], shape[0]), interpolation=how).astype(array.dtype, copy=False)

    depth, normals = part(record.depth), part(record.normals)
    if depth is not None and not (depth > 0).any() or normals is not None and not np.isfinite(normals).any():
        return record
    masks = [(thing, part(thing.mask)) for thing in record.things or ()]
    said = [e for e in record.expressions if not PLACE_WORDS & {*e.text.lower().split()}
            and e.mask[y:y + rows, x:x + cols].sum() >= max(1, KEPT * e.mask.sum())]
    zoom = np.array([[shape[1] / cols, 1, shape[1] / cols], [1, shape[0] / rows, shape[0] / rows], [1, 1, 1]])
    return replace(
        record, rgb=part(record.rgb, cv2.INTER_LINEAR), depth=depth, normals=normals, labels=part(record.labels),
        things=None if record.things is None else tuple(replace(t, mask=m) for t, m in masks if m.any()),
        expressions=tuple(replace(e, mask=part(e.mask), unknown=part(e.unknown)) for e in said),
        # The middle of a pixel has integer coordinates, so its edge is half a pixel off.
        K=None if record.K is None else zoom * (record.K - [[0, 0, x - 0.5], [0, 0, y - 0.5], [0, 0, 0]])
        - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
