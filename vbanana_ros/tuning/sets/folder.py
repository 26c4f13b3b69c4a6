"""People's own folders: pictures, and by the same stem whatever is known of each.

    images/a.jpg                 or .jpeg, .png
    depth/a.png  depth/a.npy     uint16 millimetres, 0 not known; or float metres, NaN not known, inf nothing there
    normals/a.npy normals/a.png  float [H, W, 3] in the optical frame; or the colours of task `normals`
    labels/a.png  labels.txt     line numbers from 0, 255 not labelled; one name a line
    instances/a.png  instances.json  uint16, 0 or 65535 no object; {"7": "cup"}, or {"a": {"7": "cup"}} by picture
    expressions/a.json           [{"text": "the red cup", "mask": "a_0.png"}], masks beside it
    K.txt                        3x3 of all pictures, pixels

Every part may be missing, of a picture or of all. Split `all` is the folder itself; a subfolder of this layout is a
split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.images import read_image
from vbanana_ros.results import UNLABELED_8, UNLABELED_16
from vbanana_ros.tasks import make_request
from vbanana_ros.tasks.normals import Normals
from vbanana_ros.tuning.records import Expression, Listed, Record, RecordSet, Thing
from vbanana_ros.tuning.sets.layout import check_split, find, read_ids, read_json, read_lines, reading

PARTS = ("depth", "normals", "labels", "instances", "expressions")
PICTURES = (".jpg", ".jpeg", ".png")
MEND = f"put pictures into images/ and what is known of them into {', '.join(PARTS)}"


def open_folder(folder: Path, split: str) -> RecordSet:
    """A record a picture, with what the folder has of it. split: `all`, or the name of a subfolder.

    Raises InputError for what is missing or damaged, and where nothing at all is known.
    """
    splits = [path.parent.name for path in sorted(folder.glob("*/images"))]
    if (folder / "images").is_dir() or not splits:
        splits.insert(0, "all")
    check_split(repr(str(folder)), split, splits)
    root = folder if split == "all" else folder / split
    pictures = _pictures(find(root, "images", mend=MEND))
    find(root, *PARTS, mend=MEND)
    return Listed("folder", sorted(pictures), _Reader.of(root, pictures))


def _pictures(images: Path) -> dict[str, Path]:
    """The pictures by stem."""
    pictures: dict[str, Path] = {}
    for path in sorted(images.iterdir()):
        if path.suffix.lower() in PICTURES:
            if path.stem in pictures:
                raise InputError(f"{str(path)!r} and {pictures[path.stem].name!r} share a stem; rename one")
            pictures[path.stem] = path
    if not pictures:
        raise InputError(f"no picture in {str(images)!r}; {MEND}")
    return pictures


@dataclass(frozen=True)
class _Reader:
    """What is of the whole folder: the names of labels and of objects, the camera matrix."""

    root: Path
    pictures: dict[str, Path]
    names: tuple[str, ...]
    objects: dict
    K: np.ndarray | None

    @classmethod
    def of(cls, root: Path, pictures: dict[str, Path]) -> _Reader:
        names = _names(root / "labels.txt") if (root / "labels").is_dir() else ()
        objects = _objects(root / "instances.json") if (root / "instances").is_dir() else {}
        return cls(root, pictures, names, objects, _matrix(root / "K.txt") if (root / "K.txt").is_file() else None)

    def __call__(self, stem: str) -> Record:
        labels = self._file("labels", stem, ".png")
        things = self._file("instances", stem, ".png")
        depth = self._file("depth", stem, ".png", ".npy")
        normals = self._file("normals", stem, ".npy", ".png")
        expressions = self._file("expressions", stem, ".json")
        return Record(
            read_image(self.pictures[stem]), stem,
            depth=_depth(depth) if depth else None,
            normals=_normals(normals) if normals else None,
            labels=read_ids(labels, below=UNLABELED_8 + 1).astype(np.uint8) if labels else None,
            names=self.names if labels else (),
            things=_things(things, self._names_of(stem)) if things else None,
            thing_names=_thing_names(self.objects) if things else (),
            expressions=_expressions(expressions) if expressions else (),
            K=self.K)

    def _names_of(self, stem: str) -> dict:
        """The names of the objects of a picture, of either form of instances.json."""
        own = self.objects.get(stem)
        return own if isinstance(own, dict) else self.objects

    def _file(self, part: str, stem: str, *suffixes: str) -> Path | None:
        paths = (self.root / part / f"{stem}{suffix}" for suffix in suffixes)
        return next((path for path in paths if path.is_file()), None)


def _names(path: Path) -> tuple[str, ...]:
    names = tuple(read_lines(path))
    if not names or len(names) > UNLABELED_8 or "" in names:
        raise InputError(f"{str(path)!r} must have a name on each of 1 to {UNLABELED_8} lines; mend it")
    return names


def _objects(path: Path) -> dict:
    objects = read_json(path)
    if not isinstance(objects, dict):
        raise InputError(f"{str(path)!r} must be of the form {{\"7\": \"cup\"}}; mend it")
    return objects


def _thing_names(objects: dict) -> tuple[str, ...]:
    """All names, sorted, of either form of instances.json."""
    return tuple(sorted({n for v in objects.values() for n in (v.values() if isinstance(v, dict) else (v,))}))


def _matrix(path: Path) -> np.ndarray:
    with reading(path):
        return np.loadtxt(path, np.float64).reshape(3, 3)


def _depth(path: Path) -> np.ndarray:
    """float32 [H, W], metres; what is not above 0 is not known."""
    if path.suffix == ".npy":
        metres = _array(path, 2)
    else:
        raw = read_ids(path)
        if raw.dtype.itemsize == 1:
            raise InputError(f"{str(path)!r} has 8 bits; write depth as uint16 millimetres or .npy metres")
        metres = (raw / 1000).astype(np.float32)
    return np.where(metres > 0, metres, np.float32(np.nan))


def _normals(path: Path) -> np.ndarray:
    """float32 [H, W, 3], brought to unit length; vectors without length or direction are not known."""
    if path.suffix == ".npy":
        vectors = _array(path, 3)
        length = np.linalg.norm(vectors, axis=2, keepdims=True)
        normals = vectors / np.where(np.isfinite(length) & (length > 0), length, np.float32(np.nan))
    else:
        normals = Normals().decode(read_image(path).astype(np.float32) / 255, make_request("normals")).normals
    if np.nansum(normals[..., 2]) > 0:
        raise InputError(f"{str(path)!r}: most normals point away from the camera; "
                         "write them with x right, y down, z forward, toward the camera")
    return normals


def _array(path: Path, axes: int) -> np.ndarray:
    """float32 [H, W] or [H, W, 3] of a .npy file."""
    with reading(path):
        array = np.load(path, allow_pickle=False)
        if array.ndim != axes or array.dtype.kind != "f" or array.shape[2:] not in ((), (3,)):
            raise ValueError(f"it is {array.dtype} {list(array.shape)}")
        return array.astype(np.float32)


def _things(path: Path, names: dict) -> tuple[Thing, ...]:
    ids = read_ids(path)
    things = []
    for number in np.unique(ids[(ids != 0) & (ids != UNLABELED_16)]).tolist():
        if not isinstance(names.get(str(number)), str):
            raise InputError(f"{str(path)!r}: object {number} has no name; add it to instances.json")
        things.append(Thing(names[str(number)], ids == number))
    return tuple(things)


def _expressions(path: Path) -> tuple[Expression, ...]:
    """A mask is true where its picture is not 0."""
    notes = read_json(path)
    with reading(path):
        return tuple(Expression(note["text"], read_ids(path.parent / note["mask"]) != 0) for note in notes)
