"""Instance segmentation: one class a request, every instance in a colour of the model's own choosing.

The decoder is the paper's (arXiv 2604.20329), all five steps, with its numbers as named parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from vbanana_ros.colors import RGB
from vbanana_ros.results import UNLABELED_16, Array, Detection, Instances, as_numpy
from vbanana_ros.tasks.base import Request, as_pixels
from vbanana_ros.tasks.wording import Wording


@dataclass(frozen=True)
class InstanceDecoder:
    """The paper's parameters. Colour distances are Euclidean on the 0-255 scale, areas shares of the image.

    tau: a pixel this near the background colour is background; this near the seed's colour, its instance.
    min_area: smaller components are dropped.
    min_core: components that keep less than this share of themselves under a 3x3 erosion are halos.
    merge_box: disjoint parts of one colour are one instance if their joint box is at most this many
        times the sum of their boxes.
    min_instance: what is smaller with all its parts is no instance; the paper keeps all.
    """

    tau: float = 14.0
    min_area: float = 2e-4
    min_core: float = 0.1
    merge_box: float = 5.0
    min_instance: float = 0.0


PAPER = InstanceDecoder()


@dataclass
class _Part:
    """A connected component. box: (x0, y0, x1, y1), half open; mask: bool, cropped to the box."""

    box: tuple[int, int, int, int]
    mask: np.ndarray
    color: np.ndarray
    area: int


class Instance:
    """`instance`: flood-filled components of one colour each <-> instance ids.

    wording: by default the paper's. background: the one colour that the model paints behind instances, whatever it is
    asked; None where it paints the request's. decoder: what the model's paintings want.
    """

    name = "instance"

    def __init__(self, wording: Wording | None = None, background: RGB | None = None,
                 decoder: InstanceDecoder = PAPER) -> None:
        self.background, self.decoder = background, decoder
        self.wording = wording or Wording("Generate an instance segmentation visualization of this image. Each {name} "
                                          "is colored differently. Background is {background:rgb}.")

    def prompt(self, request: Request) -> str:
        """One class."""
        _, = request.labels
        return self.wording.fill(replace(request, background=self._behind(request)))

    def _behind(self, request: Request) -> RGB:
        return self.background or request.background

    def decode(self, rgb: Array, request: Request, decoder: InstanceDecoder | None = None) -> Instances:
        """Float RGB [H, W, 3] in 0..1 -> instances of request.labels[0], largest first.

        Flood filling is sequential, so it runs on the CPU; labels are uint16 (int32 for torch input).
        Raises TypeError for integer images.
        """
        decoder = decoder or self.decoder
        image = np.multiply(as_pixels(rgb).reshape(rgb.shape).cpu().numpy(), 255, order="C")
        distance = _distance(image, self._behind(request))
        background = distance < decoder.tau
        free = (distance >= decoder.tau) & (distance < np.inf)  # a pixel that is no number is in nothing
        parts = _merge(_drop_halos(_flood(image, free, decoder), decoder), decoder)
        parts = [part for part in parts if part.area >= decoder.min_instance * free.size]
        parts.sort(key=lambda p: (-p.area, p.box))
        labels = np.full(background.shape, UNLABELED_16, np.uint16)
        # What is neither background nor in any instance is a colour that means nothing.
        confidence = background.astype(np.float32)
        detections = []
        for i, part in enumerate(parts):
            x0, y0, x1, y1 = part.box
            residual = _distance(image[y0:y1, x0:x1], part.color)[part.mask]
            certain = (1 - residual / (2 * decoder.tau)).clip(0, 1)
            labels[y0:y1, x0:x1][part.mask] = i
            confidence[y0:y1, x0:x1][part.mask] = certain
            detections.append(Detection(i, request.labels[0], float(certain.mean()),
                                        (float(x0), float(y0), float(x1 - x0), float(y1 - y0)), part.area,
                                        tuple(int(c) for c in part.color.round())))
        if isinstance(rgb, torch.Tensor):
            return Instances(torch.from_numpy(labels.astype(np.int32)).to(rgb.device), tuple(detections),
                             torch.from_numpy(confidence).to(rgb.device))
        return Instances(labels, tuple(detections), confidence)

    def encode(self, result: Instances, request: Request) -> Array:
        """Ids [H, W] -> float32 RGB [H, W, 3], each instance in its detection's colour."""
        labels = as_numpy(result.labels)
        rgb = np.empty((*labels.shape, 3), np.float32)
        rgb[:] = np.divide(self._behind(request), 255)
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
    """Instances of several classes on one grid as one, ids renumbered; where they overlap the surer one wins.

    Numpy arrays, or torch tensors of one device; detections keep the box and area that they had on their own.
    """
    device = results[0].labels.device if isinstance(results[0].labels, torch.Tensor) else None
    labels, confidence = as_numpy(results[0].labels), as_numpy(results[0].confidence)
    detections = list(results[0].detections)
    for result in results[1:]:
        new, sure = as_numpy(result.labels), as_numpy(result.confidence)
        taken = labels != UNLABELED_16
        wins = (new != UNLABELED_16) & (~taken | (sure > confidence))
        # Background counts as sure only where every class agrees that it is background.
        agreed = np.where(taken, confidence, np.minimum(confidence, sure))
        labels = np.where(wins, new + len(detections), labels).astype(labels.dtype)
        confidence = np.where(wins, sure, agreed)
        detections += [replace(d, id=d.id + len(detections)) for d in result.detections]
    if device is None:
        return Instances(labels, tuple(detections), confidence)
    return Instances(torch.from_numpy(labels).to(device), tuple(detections), torch.from_numpy(confidence).to(device))


def _distance(image: np.ndarray, color: Sequence[float]) -> np.ndarray:
    """Euclidean distance of each pixel of float32 [h, w, 3] from a colour: float32 [h, w]."""
    return _length(cv2.subtract(image, (*map(float, color), 0.0)))


def _length(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length along the last axis of float32 [h, w, 3]: float32 [h, w]."""
    return cv2.sqrt(cv2.transform(cv2.multiply(vectors, vectors), _SUM))


_SUM = np.ones((1, 3), np.float32)


def _flood(image: np.ndarray, free: np.ndarray, decoder: InstanceDecoder) -> list[_Part]:
    """Steps 2 and 3: from each seed in raster order all connected free pixels within tau of the SEED's colour.

    A fill never leaves its connected region, so regions are independent of one another, and those smaller than the
    smallest instance need no filling at all. That rids a noisy picture of its many specks at once: first here, then
    in what each fill leaves over.
    """
    smallest = decoder.min_area * free.size
    parts, regions = [], []
    for corner, mask in _regions(free, (0, 0), smallest):
        regions += _smooth_regions(image, mask, corner, decoder.tau, smallest)
    while regions:
        (x, y), mask = regions.pop()
        crop = image[y:y + mask.shape[0], x:x + mask.shape[1]]
        found, left = _fill(crop, mask, decoder.tau, smallest)
        parts += [_part((x + x0, y + y0), m, crop[y0:y0 + m.shape[0], x0:x0 + m.shape[1]]) for (x0, y0), m in found]
        regions += _regions(left, (x, y), smallest)
    # In the order of their seeds, which are their first pixels: merging depends on it.
    return sorted(parts, key=lambda p: (p.box[1], p.box[0] + int(p.mask[0].argmax())))


_Region = tuple[tuple[int, int], np.ndarray]  # the corner (x, y) where it lies, and its mask


def _regions(mask: np.ndarray, corner: tuple[int, int], smallest: float) -> list[_Region]:
    """The 4-connected regions of a mask that are not smaller than `smallest` pixels, each cropped to its box."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    return [((corner[0] + x, corner[1] + y), labels[y:y + h, x:x + w] == i)
            for i, (x, y, w, h, area) in enumerate(stats.tolist()) if i and area >= smallest]


def _smooth_regions(image: np.ndarray, mask: np.ndarray, corner: tuple[int, int], tau: float,
                    smallest: float) -> list[_Region]:
    """A region cut where neighbours are over 2 tau apart: no fill, all within tau of its seed, can hold both."""
    height, width = mask.shape
    crop = image[corner[1]:corner[1] + height, corner[0]:corner[0] + width]
    # Pixels on the even places of a grid of twice the size, the links between them on the odd: so a region, and its
    # box, begins and ends with a pixel.
    grid = np.zeros((2 * height - 1, 2 * width - 1), bool)
    grid[::2, ::2] = mask
    for link, a, b in ((grid[::2, 1::2], np.s_[:, :-1], np.s_[:, 1:]), (grid[1::2, ::2], np.s_[:-1], np.s_[1:])):
        if link.size:
            link[:] = mask[a] & mask[b] & (_length(crop[a] - crop[b]) <= 2 * tau * _SLACK)
    found = (((x // 2, y // 2), m[::2, ::2]) for (x, y), m in _regions(grid, (0, 0), smallest))
    return [((corner[0] + x, corner[1] + y), np.ascontiguousarray(m)) for (x, y), m in found
            if np.count_nonzero(m) >= smallest]


# Tests that only narrow the search down are this much wider than tau, so that rounding takes nothing away.
_SLACK = 1.001


def _fill(image: np.ndarray, free: np.ndarray, tau: float, smallest: float) -> tuple[list[_Region], np.ndarray]:
    """Fills from seeds in raster order until a quarter of the free pixels is used up: the large, and what is left free.

    Then, and not after every fill, it pays to look for regions again that have become too small to matter.
    """
    # OpenCV's mask has a border of one pixel; what is set in it is never filled again.
    taken = np.ones((free.shape[0] + 2, free.shape[1] + 2), np.uint8)
    inner = taken[1:-1, 1:-1]
    np.logical_not(free, out=inner, casting="unsafe")
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | (2 << 8)
    bounds = (tau * _SLACK,) * 3
    found: list[_Region] = []
    row, budget = 0, np.count_nonzero(free) / 4
    while budget > 0:
        column = int(inner[row].argmin())
        if inner[row, column]:
            row += 1
            continue
        count, _, _, (x0, y0, w, h) = cv2.floodFill(image, taken, (column, row), 0, bounds, bounds, flags)
        if count == 1 < smallest:  # a lone pixel: common in noise, so it is worth a shortcut
            inner[row, column] = 1
            budget -= 1
            continue
        crop = np.s_[y0:y0 + h, x0:x0 + w]
        filled = inner[crop] == 2
        mask = _ball(image[crop], filled, (column - x0, row - y0), image[row, column], tau)
        inner[crop][filled] = 0
        inner[crop][mask] = 1
        area = np.count_nonzero(mask)
        budget -= area
        if area >= smallest:
            found.append(((x0, y0), mask))
    return found, inner == 0


def _ball(image: np.ndarray, filled: np.ndarray, seed: tuple[int, int], color: np.ndarray, tau: float) -> np.ndarray:
    """What is left of OpenCV's fill, which compares channel by channel, by the true distance from the seed's colour.

    The ball of radius tau lies inside the cube, so the pixels of the fill that are in the ball and connected to the
    seed are the exact answer.
    """
    mask = filled & (_distance(image, color) <= tau)
    if np.array_equal(mask, filled):
        return mask
    _, components = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    return components == components[seed[1], seed[0]]


def _part(corner: tuple[int, int], mask: np.ndarray, image: np.ndarray) -> _Part:
    """A part cropped to its own box; corner is where mask and image lie in the whole image."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    crop = np.s_[rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1]
    box = (corner[0] + cols[0], corner[1] + rows[0], corner[0] + cols[-1] + 1, corner[1] + rows[-1] + 1)
    mean = cv2.mean(image, mask.view(np.uint8))[:3]
    return _Part(tuple(int(c) for c in box), mask[crop], np.array(mean), int(np.count_nonzero(mask)))


def _drop_halos(parts: list[_Part], decoder: InstanceDecoder) -> list[_Part]:
    """Step 4: rims of blended colour are thin; almost nothing of them survives a 3x3 erosion."""
    kernel = np.ones((3, 3), np.uint8)

    def core(part: _Part) -> int:
        eroded = cv2.erode(part.mask.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
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
    if math.dist(a.color, b.color) > decoder.tau:
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
