"""Manhattan: most of what is built consists of planes in three directions at right angles to each other.

(J. M. Coughlan and A. L. Yuille, "Manhattan World: Compass Direction from a Single Image by Bayesian Inference", ICCV
1999.) A generator paints each wall in about its colour, yet whole walls lean. Lines of the image along one axis meet in
its vanishing point, so they tell the axes to a fraction of a degree, and what is painted tells which vanishing points
are the axes'. Normals near an axis are taken for that axis, and depth of planes across an axis gets the slope that such
planes have. Where no lines tell axes nothing is changed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from vbanana_ros.lines import Lines, unit
from vbanana_ros.results import DepthMap, NormalMap, Result
from vbanana_ros.slopes import sloped, slopes_of, spread

# Of so many triples of lines the best few are turned until they fit best, by steps of these degrees.
_TRIES, _BEST, _STEPS = 300, 3, (2.0, 1.0, 0.5, 0.25, 0.125)
# By how much, degrees, a line misses its vanishing point: of the triples, after each of the steps, at the end.
_MISS, _MISSES, _MISS_LAST = 1.5, (1.5, 1.0, 0.7, 0.5, 0.5), 1.0
# There are none where fewer lines than this share, by length, run to a vanishing point of the best.
_LEAST = 0.3
# So many normals have a say. By how much, degrees, they miss their axis, and from how far they are taken for it:
# painted ones, and those of painted depth.
_ASKED, _PAINTED, _SLOPES = 200, (14.0, 16.0, 7.0), (20.0, 30.0, 17.0)
# Depth is mended on a grid of about so many columns.
_COLUMNS = 48
# By one of these steps, or by none, about each axis.
_ABOUT = np.stack(np.meshgrid(*[(-1.0, 0.0, 1.0)] * 3), -1).reshape(-1, 3)
_TURNS = [Rotation.from_rotvec(np.radians(step) * _ABOUT).as_matrix() for step in _STEPS]


def squared(result: Result, lines: Lines, rays: np.ndarray) -> Result:
    """Normals and metric depth, squared with the lines of their image; all else as it is. Arrays are numpy.

    rays: float32 [H, W, 3], where each pixel of the result looks (z = 1), NaN where that is not known.
    """
    if isinstance(result, NormalMap):
        axes = axes_of(lines, result.normals, _PAINTED[0])
        return result if axes is None else replace(result, normals=_snapped(result.normals, axes, *_PAINTED[1:])[0])
    if isinstance(result, DepthMap) and result.metric:
        return replace(result, depth=_mended(result.depth, rays, lines))
    return result


def axes_of(lines: Lines, normals: np.ndarray, miss: float) -> np.ndarray | None:
    """The directions of a Manhattan world in the optical frame: float64 [3, 3], unit rows at right angles, of any sign.

    normals: float [..., 3] of what is seen, NaN where unknown; miss: by how much they are off, degrees. None where
    there are no such lines, or no normals. Same arguments, same axes.
    """
    known = np.flatnonzero(np.isfinite(normals[..., 0] + normals[..., 1] + normals[..., 2]))
    if len(lines) < 3 or not len(known):
        return None
    rng = np.random.default_rng(0)
    asked = normals.reshape(-1, 3)[known[rng.integers(len(known), size=_ASKED)]].astype(np.float32)
    tried = _triples(lines, rng)
    if not len(tried):
        return None
    fits = _meet(tried, lines, _MISS) + _face(tried, asked, miss)
    best = _turned(tried[np.argsort(-fits, kind="stable")[:_BEST]], lines)
    meet = _meet(best, lines, _MISS_LAST)
    found = int(np.argmax(meet + _face(best, asked, miss)))
    return best[found] if meet[found] > _LEAST else None


def _triples(lines: Lines, rng: np.random.Generator) -> np.ndarray:
    """float64 [N, 3, 3]: axes such that two lines meet in the first, and a third runs to the second."""
    one, other, third = rng.choice(len(lines), (3, _TRIES), p=lines.lengths / lines.lengths.sum())
    first = np.cross(lines.planes[one], lines.planes[other])
    apart = np.linalg.norm(first, axis=-1) > 0.02
    first, third = unit(first[apart]), third[apart]
    second = np.cross(lines.planes[third], first)
    apart = np.linalg.norm(second, axis=-1) > 0.05
    first, second = first[apart], unit(second[apart])
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _turned(axes: np.ndarray, lines: Lines) -> np.ndarray:
    """The axes [N, 3, 3], each turned until lines miss them least."""
    for turns, miss in zip(_TURNS, _MISSES, strict=True):
        near = axes[:, None] @ turns
        axes = near[np.arange(len(axes)), _meet(near, lines, miss).argmax(1)]
    return axes


def _meet(axes: np.ndarray, lines: Lines, miss: float) -> np.ndarray:
    """float32 [...]: the share, by length, of the lines that run to the vanishing point of an axis of [..., 3, 3].

    A line misses it by the angle, at the line's middle, between the line and the way there.
    """
    axes, planes, middles, lengths = (a.astype(np.float32) for a in (axes, lines.planes, lines.middles, lines.lengths))
    square = (axes @ planes.T) ** 2 / np.maximum(1 - (axes @ middles.T) ** 2, 1e-4)  # of the angle's sine
    return np.exp(-0.5 / math.radians(miss) ** 2 * square.min(-2)) @ lengths / lengths.sum()


def _face(axes: np.ndarray, normals: np.ndarray, miss: float) -> np.ndarray:
    """float32 [N]: the share of the normals [M, 3] that an axis of [N, 3, 3] explains."""
    cosine = np.abs(axes.astype(np.float32) @ normals.T).max(-2)
    return np.exp((cosine - 1) / math.radians(miss) ** 2).mean(-1)


def _snapped(normals: np.ndarray, axes: np.ndarray, reach: float, bend: float) -> tuple[np.ndarray, np.ndarray]:
    """Normals [H, W, 3] with those of surfaces across an axis taken for it; bool [H, W]: which these are.

    Such a surface is a connected part that lies within reach of one axis, degrees, and does not bend: its normals
    differ from their mean by less than bend, root mean square. What is near an axis on a ball does bend.
    """
    planes = np.moveaxis(normals, -1, 0).reshape(3, -1)
    cosines = axes.astype(normals.dtype) @ planes
    sizes = np.abs(cosines)
    which = np.where(sizes[2] > np.maximum(sizes[0], sizes[1]), 2, (sizes[1] > sizes[0]).astype(np.uint8))
    cosine = np.where(which == 2, cosines[2], np.where(which == 1, cosines[1], cosines[0]))
    near = np.abs(cosine) > np.cos(np.radians(reach))
    faces = np.where(near, 1 + 2 * which + (cosine > 0), 0).astype(np.uint8).reshape(normals.shape[:2])
    parts = _parts(faces)
    sums = np.stack([np.bincount(parts.ravel(), plane) for plane in planes])
    # Of unit vectors the mean is the shorter the more they differ.
    length = np.linalg.norm(sums, axis=0) / np.maximum(np.bincount(parts.ravel()), 1)
    flat = (2 * (1 - length) < np.radians(bend) ** 2)[parts] & (parts > 0)
    toward = np.concatenate([np.zeros((1, 3)), np.stack([-axes, axes], 1).reshape(6, 3)]).astype(normals.dtype)
    return cv2.copyTo(toward.take(faces, 0), flat.view(np.uint8), normals.copy()), flat


def _parts(faces: np.ndarray) -> np.ndarray:
    """The connected parts of one value of uint8 [H, W]: int32 [H, W], numbered from 1 on; 0 where that is 0."""
    parts, count = np.zeros(faces.shape, np.int32), 0
    for face in np.flatnonzero(np.bincount(faces.ravel())[1:]) + 1:
        more, found = cv2.connectedComponents((faces == face).view(np.uint8), connectivity=4)
        np.add(found, count, out=parts, where=found > 0)
        count += more - 1  # one of those found is the rest
    return parts


def _mended(depth: np.ndarray, rays: np.ndarray, lines: Lines) -> np.ndarray:
    """Metric depth [H, W] whose planes across an axis have their slopes; invalid and out of range stay so."""
    step = max(1, round(depth.shape[1] / _COLUMNS))
    seen = np.isfinite(depth) & (depth > 0) & np.isfinite(rays[..., 0])
    logs = np.log(np.where(seen, depth, np.nan))
    coarse, looks = (grid[::step, ::step].astype(np.float64) for grid in (logs, rays))
    looks = np.nan_to_num(looks)
    slopes = slopes_of(coarse, looks)
    axes = axes_of(lines, slopes, _SLOPES[0])
    if axes is None or min(coarse.shape) < 2:
        return depth
    factors = sloped(coarse, *_snapped(slopes, axes, *_SLOPES[1:]), looks) - coarse
    return depth * np.exp(spread(factors, coarse, logs, step))
