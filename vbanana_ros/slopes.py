"""Slopes: normals of a depth map, and a depth map that has the slopes of normals.

Depth is float64 [H, W], the natural logarithm of metres along the optical axis, NaN where there is none; rays are
float64 [H, W, 3], where each pixel looks in the optical frame (z = 1), finite where there is depth.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.linalg import solveh_banded

from vbanana_ros.lines import unit

# How much depth stays what it was, beside its slopes; what jump from pixel to pixel is no slope any more; how much what
# is not sure of its slope holds together.
_STAYS, _JUMP, _HOLDS = 2e-3, 0.03, 0.3
# Surfaces that are seen at less than this sine have less of a say; none is seen at less than that.
_SLANT, _GRAZING = 0.2, 0.03
# Of pixels that lie on a line the spread across it is less than this share of that along it, or nothing but rounding.
_SPREAD = 1e-3
# Depths that differ by more than this are hardly of one surface; none is as far as the last.
_ALIKE, _NOWHERE = 0.03, 1e3


def slopes_of(logs: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Unit normals, towards the camera, of planes fitted to 3 x 3 pixels: float64 [H, W, 3].

    NaN where depth is, and where those of the nine that have depth lie on a line. Inverse depth is linear in x and y of
    the rays on a plane, and its coefficients are the plane's normal.
    """
    known = np.isfinite(logs).astype(np.float64)
    x, y, inverse = rays[..., 0], rays[..., 1], np.exp(-np.nan_to_num(logs))
    count = np.maximum(_around(known), 1)
    x_mean, y_mean, inverse_mean = (_around(known * one) / count for one in (x, y, inverse))

    def covariance(one: np.ndarray, one_mean: np.ndarray, other: np.ndarray, other_mean: np.ndarray) -> np.ndarray:
        return _around(known * one * other) / count - one_mean * other_mean

    xx, yy, xy = covariance(x, x_mean, x, x_mean), covariance(y, y_mean, y, y_mean), covariance(x, x_mean, y, y_mean)
    xi, yi = covariance(x, x_mean, inverse, inverse_mean), covariance(y, y_mean, inverse, inverse_mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = xx * yy - xy * xy
        a, b = (xi * yy - yi * xy) / area, (yi * xx - xi * xy) / area
        plane = np.stack([a, b, inverse_mean - a * x_mean - b * y_mean], -1)
    told = (known > 0) & (area > _SPREAD * (xx + yy) ** 2)
    return np.where(told[..., None], -unit(plane), np.nan)


def _around(values: np.ndarray) -> np.ndarray:
    """The sum over the 3 x 3 pixels about each."""
    return cv2.boxFilter(values, -1, (3, 3), normalize=False, borderType=cv2.BORDER_REFLECT)


def sloped(logs: np.ndarray, normals: np.ndarray, sure: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Depth whose slopes are those of the normals where these are sure: float64 [H, W]; NaN stays.

    normals: float [H, W, 3], unit, towards the camera; sure: bool [H, W], others keep the slope they have. Least
    squares over all pairs of neighbours, of which those between which depth jumps count little (Y. Quéau, J.-D. Durou
    and J.-F. Aujol, "Variational Methods for Normal Integration", JMIV 2018, on robust estimators).
    """
    height, width = logs.shape
    # Numbered down the columns: neighbours are that many rows apart, and images mostly have fewer rows than columns.
    place = np.arange(height * width).reshape(width, height).T
    one = np.concatenate([place[:, :-1].ravel(), place[:-1].ravel()])
    other = np.concatenate([place[:, 1:].ravel(), place[1:].ravel()])
    known, sure, before = np.isfinite(logs).T.ravel(), sure.T.ravel(), np.nan_to_num(logs).T.ravel()
    normals, rays = (np.nan_to_num(a).swapaxes(0, 1).reshape(-1, 3) for a in (normals, rays))
    # On one plane normal · ray · depth is the same at both pixels.
    sines = [np.maximum(-np.einsum("ni,ni->n", normals[one], rays[pixel]), _GRAZING) for pixel in (one, other)]
    planar = sure[one] & sure[other] & (np.einsum("ni,ni->n", normals[one], normals[other]) > 0.99)
    steps = np.where(planar, np.log(sines[1] / sines[0]), before[one] - before[other])
    trust = np.where(planar, np.minimum(np.minimum(*sines) / _SLANT, 1), _HOLDS) * (known[one] & known[other])
    now, stays = before, np.where(known, _STAYS, 1.0)
    for _ in range(2):
        jumps = np.where(planar, now[one] - now[other] - steps, before[one] - before[other])
        weights = trust / (1 + (jumps / _JUMP) ** 2) ** 2
        now = _solved(weights, steps, one, other, stays, before)
    return np.where(known, now, np.nan).reshape(width, height).T


def _solved(weights: np.ndarray, steps: np.ndarray, one: np.ndarray, other: np.ndarray, stays: np.ndarray,
            before: np.ndarray) -> np.ndarray:
    """Least of sum of weights (now[one] - now[other] - steps)² + sum of stays (now - before)²: float64 [N].

    one < other, no pair twice; the less they differ, the faster.
    """
    n = len(before)
    band = np.zeros((1 + int((other - one).max()), n))  # row d: the matrix d places below its diagonal
    band[0] = stays + np.bincount(one, weights, n) + np.bincount(other, weights, n)
    band[other - one, one] = -weights
    pull = np.bincount(one, weights * steps, n) - np.bincount(other, weights * steps, n)
    return solveh_banded(band, stays * before + pull, lower=True, overwrite_ab=True, overwrite_b=True,
                         check_finite=False)


def spread(factors: np.ndarray, coarse: np.ndarray, logs: np.ndarray, step: int) -> np.ndarray:
    """Factors of a coarse grid at each pixel of the fine one: of the four about it, by nearness and likeness of depth.

    All are logarithms; coarse and logs: the depth of the two grids. float32 [H, W], 0 where there is no depth.
    """
    (height, width), (rows, columns) = logs.shape, coarse.shape
    y, x = np.minimum(np.arange(height) / step, rows - 1), np.minimum(np.arange(width) / step, columns - 1)
    top, left = np.minimum(y.astype(int), rows - 2), np.minimum(x.astype(int), columns - 2)
    y, x = (y - top).astype(np.float32)[:, None], (x - left).astype(np.float32)[None]
    factors = np.nan_to_num(factors.astype(np.float32))
    # What has no depth is like nothing.
    coarse = np.where(np.isnan(coarse), _NOWHERE, coarse).astype(np.float32)
    total, weight = np.zeros(logs.shape, np.float32), np.zeros(logs.shape, np.float32)
    for below, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        near = (y if below else 1 - y) * (x if right else 1 - x) + 1e-3
        apart = (logs - coarse[top + below][:, left + right]) / _ALIKE
        alike = near / (apart * apart + 1e-3)
        total += alike * factors[top + below][:, left + right]
        weight += alike
    return np.where(np.isnan(logs), 0, total / weight)
