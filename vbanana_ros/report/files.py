"""One frame as files: a PNG of every picture, a .npy of every result, the cloud as .ply."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vbanana_ros.cloud import make_cloud, write_ply
from vbanana_ros.colorize import OVERLAID, blend, colorize
from vbanana_ros.files import write_bytes
from vbanana_ros.params import Params
from vbanana_ros.perception import Perceived
from vbanana_ros.results import DepthMap, Instances, NormalMap, Picture, Result


def write_pngs(folder: str | Path, perceived: Perceived, stem: str, params: Params | None = None) -> list[Path]:
    """Write everything about one frame into a folder; returns the paths.

    `STEM_input.png`, `STEM_overlay.png`, and for each task `STEM_TASK.png` (coloured), `STEM_TASK_painted.png` (as
    painted, on the generator's grid; `_painted_2` and so on where a task has several requests) and `STEM_TASK.npy`:
    depth float32 [H, W], metres (`STEM_depth_relative.npy` where it is no metres), normals float32 [H, W, 3],
    semantic and referring uint8 [H, W], instance uint16 [H, W]. `STEM_cloud.ply` where depth is metric and the
    camera calibrated; params: see `cloud_of`. Each file appears under its name only when it is
    complete. Raises InputError where it cannot be written.
    """
    folder, paths = Path(folder), []
    for name, image in _pictures(perceived):
        paths.append(write_bytes(folder / f"{stem}_{name}.png", _encode("PNG", image)))
    for task in tasks_of(perceived):
        result = perceived.result(task)
        if not isinstance(result, Picture):
            relative = "_relative" if isinstance(result, DepthMap) and not result.metric else ""
            paths.append(write_bytes(folder / f"{stem}_{task}{relative}.npy", _npy(result)))
    cloud = cloud_of(perceived, params)
    if cloud is not None:
        paths.append(folder / f"{stem}_cloud.ply")
        write_ply(paths[-1], cloud)
    return paths


def tasks_of(perceived: Perceived) -> list[str]:
    """The tasks that were asked, each once, in the order of the requests."""
    return list(dict.fromkeys(answer.request.task for answer in perceived.answers))


def overlay(perceived: Perceived) -> np.ndarray | None:
    """uint8 RGB [H, W, 3]: half the input, half the first of semantic, instance, referring, depth; None without."""
    task = next((t for t in OVERLAID if t in tasks_of(perceived)), None)
    return blend(perceived.frame.rgb, colorize(perceived.result(task))) if task else None


def cloud_of(perceived: Perceived, params: Params | None = None) -> np.ndarray | None:
    """The frame's organised cloud with rgb, and normals where asked; None without metric depth or camera.

    params: its min_range, max_range and stride, by default those of `Params`.
    """
    depth, normals, camera = perceived.result("depth"), perceived.result("normals"), perceived.frame.camera
    if depth is None or not depth.metric or camera is None or not camera.calibrated:
        return None
    params = params or Params()
    return make_cloud(depth.depth, camera, perceived.frame.rgb, normals.normals if normals else None,
                      min_range=params.min_range, max_range=params.max_range, stride=params.stride)


def to_bytes(rgb: np.ndarray) -> np.ndarray:
    """Float RGB in 0..1 -> uint8; NaN, which is no colour, black."""
    return (np.nan_to_num(rgb, nan=0.0).clip(0, 1) * 255).round().astype(np.uint8)


def _pictures(perceived: Perceived) -> Iterator[tuple[str, np.ndarray]]:
    yield "input", perceived.frame.rgb
    blended = overlay(perceived)
    if blended is not None:
        yield "overlay", blended
    for task in tasks_of(perceived):
        yield task, colorize(perceived.result(task))
        answers = [a for a in perceived.answers if a.request.task == task]
        for i, answer in enumerate(answers, 1):
            yield f"{task}_painted" + (f"_{i}" if i > 1 else ""), to_bytes(answer.painted)


def _encode(form: str, rgb: np.ndarray) -> bytes:
    return cv2.imencode(f".{form.lower()}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _npy(result: Result) -> bytes:
    if isinstance(result, DepthMap):
        values = result.depth.astype(np.float32, copy=False)
    elif isinstance(result, NormalMap):
        values = result.normals.astype(np.float32, copy=False)
    else:
        values = result.labels.astype(np.uint16 if isinstance(result, Instances) else np.uint8, copy=False)
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
