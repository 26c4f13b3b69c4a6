"""Instance segmentation: one class a request, every instance in a colour of the model's own choosing.

The decoder is the paper's (arXiv 2604.20329), all five steps, with its numbers as named parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from vbanana_ros.colors import RGB, format_color
from vbanana_ros.results import UNLABELED_16, Array, Detection, Instances
from vbanana_ros.tasks.base import Request, as_tensor


@dataclass(frozen=True)
class InstanceDecoder:
    """The paper's parameters. Colour distances are Euclidean on the 0-255 scale, areas shares of the image.

    tau: a pixel this near the background colour is background; this near the seed's colour, its instance.
    min_area: smaller components are dropped.
    min_core: components that keep less than this share of themselves under a 3x3 erosion are halos.
    merge_box: disjoint parts of one colour are one instance if their joint box is at most this many
        times the sum of their boxes.
    """

    tau: float = 14.0
    min_area: float = 2e-4
    min_core: float = 0.1
    merge_box: float = 5.0


@dataclass
class _Part:
    """A connected component. box: (x0, y0, x1, y1), half open; mask: bool, cropped to the box."""

    box: tuple[int, int, int, int]
    mask: np.ndarray
    color: np.ndarray
    area: int


class Instance:
    """`instance`: flood-filled components of one colour each <-> instance ids."""

    name = "instance"

    def prompt(self, request: Request) -> str:
        """The paper's wording; one class."""
        label, = request.labels
        return (f"Generate an instance segmentation visualization of this image. Each {label} is colored "
                f"differently. Background is {format_color(request.background, 'rgb')}.")

    def decode(self, rgb: Array, request: Request, decoder: InstanceDecoder | None = None) -> Instances:
        """Float RGB [H, W, 3] in 0..1 -> instances of request.labels[0], largest first.

        Flood filling is sequential, so it runs on the CPU; labels are uint16 (int32 for torch input).
        """
        decoder = decoder or InstanceDecoder()
        image = np.ascontiguousarray(as_tensor(rgb).cpu().numpy() * 255)
        background = _distance(image, request.background) < decoder.tau
        parts = _merge(_drop_halos(_flood(image, background, decoder), decoder), decoder)
        parts.sort(key=lambda p: (-p.area, p.box))
        labels = np.full(image.shape[:2], UNLABELED_16, np.uint16)
        confidence = np.ones(image.shape[:2], np.float32)
        detections = []
        for i, part in enumerate(parts):
            x0, y0, x1, y1 = part.box
            residual = _distance(image[y0:y1, x0:x1], part.color)
            certain = (1 - residual / (2 * decoder.tau)).clip(0, 1)
            labels[y0:y1, x0:x1][part.mask] = i
            confidence[y0:y1, x0:x1][part.mask] = certain[part.mask]
            detections.append(Detection(i, request.labels[0], float(certain[part.mask].mean()),
                                        (float(x0), float(y0), float(x1 - x0), float(y1 - y0)), part.area,
                                        tuple(int(c) for c in part.color.round())))
        # What is neither background nor in any instance is a colour that means nothing.
        confidence[(labels == UNLABELED_16) & ~background] = 0
        if isinstance(rgb, torch.Tensor):
            return Instances(torch.from_numpy(labels.astype(np.int32)).to(rgb.device), tuple(detections),
                             torch.from_numpy(confidence).to(rgb.device))
        return Instances(labels, tuple(detections), confidence)

    def encode(self, result: Instances, request: Request) -> Array:
        """Ids [H, W] -> float32 RGB [H, W, 3], each instance in its detection's colour."""
        labels = result.labels.cpu().numpy() if isinstance(result.labels, torch.Tensor) else result.labels
        rgb = np.empty((*labels.shape, 3), np.float32)
        rgb[:] = np.divide(request.background, 255)
        for detection in result.detections:
            rgb[labels == detection.id] = np.divide(detection.color, 255)
        return torch.from_numpy(rgb).to(result.labels.device) if isinstance(result.labels, torch.Tensor) else rgb


def place_color(mask: np.ndarray, background: RGB) -> RGB:
    """The colour that our own training gives an instance: a function of where it is, so that it can be learnt.

    Red is the column and green the row of the middle of its box; blue, which grows with its size, keeps to the
    half of the scale that the background does not use. mask: bool [H, W], not empty.
    """
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    side = min(1.0, 1.5 * float(np.sqrt(mask.sum() / mask.size)))
    blue = 155 + 100 * side if background[2] < 128 else 100 * (1 - side)
    middle = 255 * (cols[0] + cols[-1] + 1) / (2 * width), 255 * (rows[0] + rows[-1] + 1) / (2 * height)
    return round(middle[0]), round(middle[1]), round(blue)


def merge(results: Sequence[Instances]) -> Instances:
    """Instances of several classes on one grid as one, ids renumbered; where they overlap the surer one wins."""
    first = results[0]
    labels, confidence = np.array(first.labels), np.array(first.confidence)
    detections = list(first.detections)
    for result in results[1:]:
        taken = labels != UNLABELED_16
        wins = (result.labels != UNLABELED_16) & (~taken | (result.confidence > confidence))
        # Background counts as sure only where every class agrees that it is background.
        agreed = np.where(taken, confidence, np.minimum(confidence, result.confidence))
        labels = np.where(wins, result.labels + len(detections), labels).astype(np.uint16)
        confidence = np.where(wins, result.confidence, agreed)
        detections += [replace(d, id=d.id + len(detections)) for d in result.detections]
    return Instances(labels, tuple(detections), confidence)


def _distance(image: np.ndarray, color: Sequence[float]) -> np.ndarray:
    difference = image - np.asarray(color, np.float32)
    return np.sqrt(np.einsum("...c,...c->...", difference, difference))


def _flood(image: np.ndarray, background: np.ndarray, decoder: InstanceDecoder) -> list[_Part]:
    """Steps 2 and 3: from each seed in raster order all connected pixels within tau of the SEED's colour."""
    height, width = image.shape[:2]
    smallest = decoder.min_area * height * width
    # OpenCV's mask has a border of one pixel; what is set in it is never filled again.
    taken = np.zeros((height + 2, width + 2), np.uint8)
    inner = taken[1:-1, 1:-1]
    inner[background] = 1
    parts, row = [], 0
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | (2 << 8)
    bounds = (decoder.tau,) * 3
    while row < height:
        column = int(inner[row].argmin())
        if inner[row, column]:
            row += 1
            continue
        _, _, _, (x0, y0, w, h) = cv2.floodFill(image, taken, (column, row), 0, bounds, bounds, flags)
        crop = np.s_[y0:y0 + h, x0:x0 + w]
        # floodFill compares channel by channel; the ball of radius tau lies inside that cube, so the part of
        # the filled region that is both in the ball and connected to the seed is the exact answer.
        filled = inner[crop] == 2
        mask = filled & (_distance(image[crop], image[row, column]) <= decoder.tau)
        if w * h > 1:
            _, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
            mask = components == components[row - y0, column - x0]
        inner[crop][filled] = 0
        inner[crop][mask] = 1
        area = int(np.count_nonzero(mask))
        if area >= smallest:
            parts.append(_part((x0, y0), mask, image[crop]))
    return parts


def _part(corner: tuple[int, int], mask: np.ndarray, image: np.ndarray) -> _Part:
    """A part cropped to its own box; corner is where mask and image lie in the whole image."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    crop = np.s_[rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1]
    box = (corner[0] + cols[0], corner[1] + rows[0], corner[0] + cols[-1] + 1, corner[1] + rows[-1] + 1)
    return _Part(tuple(int(c) for c in box), mask[crop], image[mask].mean(0), int(np.count_nonzero(mask)))


def _drop_halos(parts: list[_Part], decoder: InstanceDecoder) -> list[_Part]:
    """Step 4: rims of blended colour are thin; almost nothing of them survives a 3x3 erosion."""
    kernel = np.ones((3, 3), np.uint8)

    def core(part: _Part) -> int:
        eroded = cv2.erode(part.mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        return int(np.count_nonzero(eroded))

    return [p for p in parts if core(p) >= decoder.min_core * p.area]


def _merge(parts: list[_Part], decoder: InstanceDecoder) -> list[_Part]:
    """Step 5: parts of one colour that lie near each other are one object, seen in pieces."""
    parts = list(parts)
    merged = True
    while merged:
        merged = False
        for i in range(len(parts)):
            for j in range(i + 1, len(parts)):
                if _are_one(parts[i], parts[j], decoder):
                    parts[i] = _join(parts[i], parts.pop(j))
                    merged = True
                    break
            if merged:
                break
    return parts


def _are_one(a: _Part, b: _Part, decoder: InstanceDecoder) -> bool:
    if np.linalg.norm(a.color - b.color) > decoder.tau:
        return False
    return _box_area(_hull(a.box, b.box)) <= decoder.merge_box * (_box_area(a.box) + _box_area(b.box))


def _join(a: _Part, b: _Part) -> _Part:
    hull = _hull(a.box, b.box)
    mask = np.zeros((hull[3] - hull[1], hull[2] - hull[0]), bool)
    for part in (a, b):
        x0, y0, x1, y1 = part.box
        mask[y0 - hull[1]:y1 - hull[1], x0 - hull[0]:x1 - hull[0]] |= part.mask
    area = a.area + b.area
    return _Part(hull, mask, (a.color * a.area + b.color * b.area) / area, area)


def _hull(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, int, int, int]:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _box_area(box: tuple[int, ...]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
