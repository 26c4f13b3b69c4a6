"""Images on a model's grid, and every prompt about every image on the rows of its batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch

from vbanana_ros.errors import InputError


def painted_size(height: int, width: int, multiple: int, area: int, grow: bool = True) -> tuple[int, int]:
    """(height, width), multiples, for an image of any size: its aspect, at most `area` pixels.

    grow: smaller images are painted as large as may be; else at about their own size.
    """
    scale = math.sqrt(area / (height * width))
    scale = scale if grow else min(1.0, scale)
    rows, cols = (max(1, round(side * scale / multiple)) for side in (height, width))
    # Rounding up both sides, or one of a sliver to 1, must not grow the area: the longer side gives way.
    most = max(1, area // multiple**2)
    if rows <= cols:
        cols = max(1, min(cols, most // rows))
    else:
        rows = max(1, min(rows, most // cols))
    return rows * multiple, cols * multiple


def check_image(image: np.ndarray) -> None:
    """Raise InputError for anything but a non-empty uint8 [H, W, 3], or [B, H, W, 3]."""
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3 or not image.size:
        raise InputError(f"an image of {image.dtype} {list(image.shape)} cannot be looked at; "
                         "give a non-empty uint8 [H, W, 3], or [B, H, W, 3]")


def pixels(image: np.ndarray, height: int, width: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """uint8 RGB [H, W, 3], or a batch of them -> [B, 3, height, width] in -1..1, resized."""
    images = image if image.ndim == 4 else image[None]
    small = np.stack([resized(one, height, width) for one in images])
    return torch.from_numpy(small).to(device).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image [H, W, 3] at another size: as it is seen in training and in use alike."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def paint_rows(paint: Callable[[Any, Any], torch.Tensor], image: Any, prompts: Any, most: int) -> np.ndarray:
    """Every prompt about every image, at most so many at once: float32 RGB [N, h, w, 3], or [B, N, h, w, 3].

    paint: images and prompts, row by row -> RGB [rows, 3, h, w] in 0..1. image: encoded images, or None for text alone.
    Encoded images and prompts have a length and `select(index)`, images also `single`: made of one and not of a batch.
    """
    n, frames = len(prompts), 1 if image is None else len(image)
    # Every prompt about the first image, then about the next.
    rows, owners = torch.arange(n).repeat(frames), torch.arange(frames).repeat_interleave(n)
    painted = [paint(None if image is None else image.select(owner), prompts.select(row))
               for row, owner in zip(rows.split(most), owners.split(most), strict=True)]
    rgb = np.ascontiguousarray(torch.cat(painted).permute(0, 2, 3, 1).float().cpu().numpy())
    return rgb if image is None or image.single else rgb.reshape(frames, n, *rgb.shape[1:])
