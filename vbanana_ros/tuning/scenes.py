"""Rendered scenes on disk: drawn once, in several processes, read many times."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from vbanana_ros.errors import InputError
from vbanana_ros.sim import CLASSES, Renderer, SimFrame, expressions, make_scene
from vbanana_ros.sim.develop import develop
from vbanana_ros.sim.furniture import STUFF
from vbanana_ros.sim.layout import SimObject
from vbanana_ros.sim.scene import Camera
from vbanana_ros.sim.street import GROUND
from vbanana_ros.sim.studio import make_studio_scene
from vbanana_ros.sim.wild import make_wild_scene
from vbanana_ros.tuning.records import Expression, Listed, Record, Thing

# What is seen where nothing is.
SKY = "sky"
MAKERS = {"plain": make_scene, "wild": make_wild_scene, "studio": make_studio_scene}


def scene_path(folder: Path, seed: int, view: int) -> Path:
    """Where a view of a scene is kept."""
    return folder / f"{seed:07d}_{view}.npz"


def render_scenes(folder: Path, seeds: Iterable[int], views: int = 4, size: tuple[int, int] = (192, 256),
                  workers: int = 1, kind: str = "plain") -> None:
    """Draw the views of these scenes that the folder lacks; size is (height, width), pixels.

    kind: plain, wild (those of `sim.wild`, developed as photographs are), or studio (those of `sim.studio`);
    raises InputError for any other.
    """
    if kind not in MAKERS:
        raise InputError(f"there are no scenes of kind {kind!r}; choose {', '.join(MAKERS)}")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in seeds if not all(scene_path(folder, s, view).exists() for view in range(views))]
    if not missing:
        return
    chunks = [missing[i:i + 16] for i in range(0, len(missing), 16)]
    with ProcessPoolExecutor(workers) as pool:
        drawn = pool.map(partial(_render, folder, views, size, kind), chunks)
        list(track(drawn, "draw scenes", total=len(chunks), console=Console(stderr=True)))


def _render(folder: Path, views: int, size: tuple[int, int], kind: str, seeds: list[int]) -> None:
    with Renderer(size[1], size[0]) as renderer:
        for seed in seeds:
            scene = MAKERS[kind](seed)
            for view, camera in enumerate(scene.cameras(views)):
                frame = renderer.render(scene, camera)
                if kind == "wild":
                    frame = develop(frame, np.random.default_rng((seed, view, 4)), scene.haze)
                save_frame(scene_path(folder, seed, view), frame)


def save_frame(path: Path, frame: SimFrame) -> None:
    """Write a view; depth is rounded to half a thousandth of itself, normals to 1/127, below what 8 bits paint."""
    objects = [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(o).items()} for o in frame.objects]
    camera = {"position": frame.camera.position.tolist(), "axes": frame.camera.axes.tolist(),
              "fovy": frame.camera.fovy}
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, rgb=frame.rgb, depth=frame.depth.astype(np.float16), classes=frame.classes,
             normals=np.nan_to_num(frame.normals * 127, nan=0).round().astype(np.int8),
             instances=np.minimum(frame.instances, 255).astype(np.uint8), K=frame.K,
             meta=json.dumps({"objects": objects, "camera": camera, "names": frame.names}))
    os.replace(temporary, path)


def load_frame(path: Path) -> SimFrame:
    """Read a view that save_frame wrote; raises InputError, naming the file, where it cannot be read."""
    try:
        with np.load(path) as data:
            return _frame(data, json.loads(str(data["meta"])))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"scene {str(path)!r} is broken ({' '.join(str(error).split())}); "
                         "remove it to have it drawn anew") from None


def _frame(data: Mapping[str, np.ndarray], meta: dict) -> SimFrame:
    normals = data["normals"].astype(np.float32)
    length = np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))[..., None]
    instances = data["instances"].astype(np.uint16)
    camera = meta["camera"]
    return SimFrame(
        rgb=data["rgb"], depth=data["depth"].astype(np.float32),
        normals=np.where(length > 0, normals / np.maximum(length, 1), np.nan),
        classes=data["classes"], instances=np.where(instances == 255, 65535, instances).astype(np.uint16),
        objects=[SimObject(**{k: np.array(v) if isinstance(v, list) else v for k, v in o.items()})
                 for o in meta["objects"]],
        K=data["K"], camera=Camera(np.array(camera["position"]), np.array(camera["axes"]), camera["fovy"]),
        names=tuple(meta.get("names", CLASSES)),  # scenes of before there were others than rooms lack them
    )


def open_scenes(folder: Path, split: str = "train") -> Listed:
    """Rendered views as records, each also as its mirror image. Raises InputError where there are none."""
    return Listed("scenes", [(path, flipped) for path in _views(folder) for flipped in (False, True)], _view)


def open_studio(folder: Path, split: str = "train") -> Listed:
    """Views of studio scenes as records; no mirror images, as their order from left to right means something.

    Nor do they have depth, or a floor so many metres below: things are not as large there as they are.
    """
    return Listed("studio", [(path, False) for path in _views(folder)], _studio_view)


def _views(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.glob("*.npz") if not p.name.endswith(".tmp.npz"))
    if not paths:
        raise InputError(f"no scenes in {str(folder)!r}; draw some with 'vbanana tune --data'")
    return paths


def _view(key: tuple[Path, bool]) -> Record:
    path, flipped = key
    frame = load_frame(path)
    return record_of(mirror(frame) if flipped else frame, path.stem)


def _studio_view(key: tuple[Path, bool]) -> Record:
    return replace(_view(key), depth=None, floor=None)


def record_of(frame: SimFrame, name: str = "") -> Record:
    """All that is known of a view: an expression for each object it can be told by."""
    masks = {o.id: frame.instances == o.id for o in frame.objects}
    found = expressions(frame, np.random.default_rng(zlib.crc32(name.encode())))
    return Record(
        frame.rgb, name, frame.depth, frame.normals, np.minimum(frame.classes, len(frame.names)), (*frame.names, SKY),
        tuple(Thing(o.class_name, masks[o.id], colour=o.colour) for o in frame.objects if masks[o.id].any()),
        tuple(n for n in frame.names if n not in (*STUFF, *GROUND)),
        tuple(Expression(e.text, masks[e.object_id]) for e in found), frame.K, frame.camera.floor)


def mirror(frame: SimFrame) -> SimFrame:
    """The view as its mirror image; what is said of left and right is read off the pixels, so it stays true."""
    flipped = {name: np.ascontiguousarray(getattr(frame, name)[:, ::-1])
               for name in ("rgb", "depth", "normals", "classes", "instances")}
    flipped["normals"][..., 0] *= -1
    return replace(frame, camera=frame.camera.mirrored(), **flipped)
