"""What a decoded answer is: dense arrays on one pixel grid, each with its honest invalidity.

Arrays are numpy on the CPU or torch tensors on any device, as the decoder was given; every result
can be brought to another grid, where each pixel takes over one of its own: no value is invented.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

Array = np.ndarray | torch.Tensor

UNLABELED_8 = 255
UNLABELED_16 = 65535


def resize_nearest(array: Array, height: int, width: int) -> Array:
    """Resample [h, w, ...] to [height, width, ...] by nearest neighbour at pixel centres; dtype kept."""
    h, w = array.shape[:2]
    if (h, w) == (height, width):
        return array
    rows = (np.arange(height) + 0.5) * (h / height)
    cols = (np.arange(width) + 0.5) * (w / width)
    rows, cols = rows.astype(np.int64), cols.astype(np.int64)
    if isinstance(array, torch.Tensor):
        rows, cols = (torch.as_tensor(i, device=array.device) for i in (rows, cols))
        return array.index_select(0, rows).index_select(1, cols)
    # Copying whole rows is cheap, picking columns is not: pick them of the fewest rows.
    if height > h:
        return array.take(cols, axis=1).take(rows, axis=0)
    return array.take(rows, axis=0).take(cols, axis=1)


def resample(array: Array, height: int, width: int, places: np.ndarray | None = None) -> Array:
    """Resample [h, w, ...] to [height, width, ...], each pixel taking over one of the old; dtype kept.

    places: int [height, width], row * w + column of that one, see `places.py`; None for the nearest.
    """
    if places is None:
        return resize_nearest(array, height, width)
    flat = array.reshape(-1, *array.shape[2:])
    if isinstance(array, torch.Tensor):
        return flat[torch.as_tensor(places, device=array.device)]
    return flat.take(places, axis=0)


def as_numpy(array: Array) -> np.ndarray:
    """An array on the CPU, in numpy."""
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array


@dataclass(frozen=True)
class DepthMap:
    """Distance from the camera plane (planar z, REP 118): metric, or relative.

    depth: float32 [H, W], metres; NaN invalid, +inf nothing in range (REP 117). Relative: 0..1, larger is farther.
    confidence: float32 [H, W], 0..1; 1 on a legal colour, 0 at the residual that makes a pixel invalid.
    metric: False for a relative code, whose numbers are not metres. inverse: then, whether they are an affine function
        of inverse depth, and not of depth.
    """

    depth: Array
    confidence: Array
    metric: bool = True
    inverse: bool = False

    def resize(self, height: int, width: int, places: np.ndarray | None = None) -> DepthMap:
        """The same result on another grid, see `resample`."""
        return replace(self, depth=resample(self.depth, height, width, places),
                       confidence=resample(self.confidence, height, width, places))


@dataclass(frozen=True)
class NormalMap:
    """Surface normals in the camera's optical frame (x right, y down, z forward; REP 103).

    normals: float32 [H, W, 3], unit length; NaN invalid.
    confidence: float32 [H, W], 0..1.
    """

    normals: Array
    confidence: Array

    def resize(self, height: int, width: int, places: np.ndarray | None = None) -> NormalMap:
        """The same result on another grid, see `resample`."""
        return replace(self, normals=resample(self.normals, height, width, places),
                       confidence=resample(self.confidence, height, width, places))


@dataclass(frozen=True)
class LabelMap:
    """One label a pixel: the answer to `semantic` and `referring`.

    labels: uint8 [H, W], index into names; UNLABELED_8 (255) where no listed colour is near.
    names: the classes or expressions, in the order of the request.
    colors: the RGB triple (0-255) of each name.
    confidence: float32 [H, W], 0..1.
    """

    labels: Array
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    confidence: Array

    def resize(self, height: int, width: int, places: np.ndarray | None = None) -> LabelMap:
        """The same result on another grid, see `resample`."""
        return replace(self, labels=resample(self.labels, height, width, places),
                       confidence=resample(self.confidence, height, width, places))


@dataclass(frozen=True)
class Detection:
    """One instance: its id in the mask image, class, score, box and colour.

    id: value of its pixels in Instances.labels.
    score: mean confidence of its pixels, 0..1.
    box: (x, y, width, height) in pixels of the mask's grid, x and y of the upper left corner.
    area: pixels.
    color: mean RGB as drawn, 0-255.
    """

    id: int
    name: str
    score: float
    box: tuple[float, float, float, float]
    area: int
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Instances:
    """The instances of one class.

    labels: uint16 [H, W] (int32 for torch), Detection.id; UNLABELED_16 (65535) on the background.
    detections: one for each id, in order of id.
    confidence: float32 [H, W], 0..1.
    """

    labels: Array
    detections: tuple[Detection, ...]
    confidence: Array

    def resize(self, height: int, width: int, places: np.ndarray | None = None) -> Instances:
        """The same result on another grid, see `resample`; instances of which nothing is left are dropped."""
        labels = resample(self.labels, height, width, places)
        ids, kept = as_numpy(labels), []
        for detection in self.detections:
            mask = ids == detection.id
            if area := int(np.count_nonzero(mask)):
                box = tuple(float(side) for side in cv2.boundingRect(mask.view(np.uint8)))
                kept.append(replace(detection, box=box, area=area))
        if len(kept) < len(self.detections):
            new = np.full(UNLABELED_16 + 1, UNLABELED_16, ids.dtype)
            new[[d.id for d in kept]] = np.arange(len(kept))
            labels = torch.from_numpy(new[ids]).to(labels.device) if isinstance(labels, torch.Tensor) else new[ids]
        detections = tuple(replace(d, id=i) for i, d in enumerate(kept))
        return Instances(labels, detections, resample(self.confidence, height, width, places))


@dataclass(frozen=True)
class Picture:
    """A painted or edited picture. rgb: float32 [H, W, 3], 0..1."""

    rgb: Array

    def resize(self, height: int, width: int) -> Picture:
        """The same picture on another grid; a picture has no code to protect, so this one blends (on the CPU)."""
        rgb = as_numpy(self.rgb)
        shrinks = height * width < rgb.shape[0] * rgb.shape[1]
        resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        resized = resized.clip(0, 1)
        return Picture(torch.from_numpy(resized).to(self.rgb.device) if isinstance(self.rgb, torch.Tensor) else resized)


Result = DepthMap | NormalMap | LabelMap | Instances | Picture
