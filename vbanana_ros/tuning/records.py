"""What is known of an image, whatever set it is from: one form that tuning and evaluation read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vbanana_ros.errors import InputError
from vbanana_ros.results import UNLABELED_8

# The name of what is none of a set's other classes: known to be so, but nothing that one could point at.
BACKGROUND = "background"


@dataclass(frozen=True)
class Thing:
    """One annotated instance. mask: bool [H, W]; crowd: several that nobody told apart, which are not judged.

    colour: the word for it, where the set says one.
    """

    name: str
    mask: np.ndarray
    crowd: bool = False
    colour: str = ""


@dataclass(frozen=True)
class Expression:
    """A phrase and the pixels it is true of: bool [H, W]. unknown: bool [H, W], those that are not judged."""

    text: str
    mask: np.ndarray
    unknown: np.ndarray | None = None


@dataclass(frozen=True)
class Record:
    """An image and what is known of it, all on its own pixel grid; None where a set says nothing.

    rgb: uint8 [H, W, 3]. name: of the image in its set, for messages.
    depth: float32 [H, W], metres along the optical axis (planar z); NaN not known, +inf nothing there (sky).
    normals: float32 [H, W, 3], unit, optical frame (x right, y down, z forward), toward the camera; NaN not known.
    labels: uint8 [H, W], index in names; UNLABELED_8 where nothing is said. names: as people say them, and BACKGROUND.
    things: all instances of the classes of thing_names. expressions: phrases about parts of the image.
    K: float64 [3, 3], pixels, and floor: float64 [3], 1/metres, see `Frame`, where the set gives them.
    """

    rgb: np.ndarray
    name: str = ""
    depth: np.ndarray | None = None
    normals: np.ndarray | None = None
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    things: tuple[Thing, ...] | None = None
    thing_names: tuple[str, ...] = ()
    expressions: tuple[Expression, ...] = ()
    K: np.ndarray | None = None
    floor: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or not self.rgb.size:
            raise InputError(f"{self.name}: the image is {self.rgb.dtype} {list(self.rgb.shape)}, not uint8 [H, W, 3]")
        for what, array in self._maps():
            if array.shape[:2] != self.rgb.shape[:2]:
                raise InputError(f"{self.name}: {what} is {array.shape[1]}x{array.shape[0]}, the image "
                                 f"{self.rgb.shape[1]}x{self.rgb.shape[0]}; the set is damaged")
        if self.depth is not None and not (self.depth > 0).any():
            raise InputError(f"{self.name}: no pixel has a depth; the depth file is empty or of another unit")
        if self.normals is not None and not np.isfinite(self.normals).any():
            raise InputError(f"{self.name}: no pixel has a normal; the file is empty")
        # Where nothing is labelled there need be no names.
        if self.labels is not None and (self.labels[self.labels != UNLABELED_8] >= len(self.names)).any():
            raise InputError(f"{self.name}: a label is beyond the {len(self.names)} classes; it is of another set")

    def _maps(self) -> Iterator[tuple[str, np.ndarray]]:
        for what in ("depth", "normals", "labels"):
            if (array := getattr(self, what)) is not None:
                yield what, array
        for thing in self.things or ():
            yield f"the mask of {thing.name!r}", thing.mask
        for expression in self.expressions:
            yield f"the mask of {expression.text!r}", expression.mask
            if expression.unknown is not None:
                yield f"what is unknown of {expression.text!r}", expression.unknown


class RecordSet(Protocol):
    """A public set, or part of it, in the layout that people have on disk; records are read when asked for.

    name: of the set. Files that are missing altogether are found when it is opened; those that are damaged when they
    are read. Both raise InputError, which names the file.
    """

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


Open = Callable[[Path, str], RecordSet]


@dataclass(frozen=True)
class Listed:
    """The usual RecordSet: keys, and what reads the record of one."""

    name: str
    keys: Sequence
    read: Callable[..., Record]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Record:
        try:
            return self.read(self.keys[index])
        except InputError:
            raise
        except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.name} {self.keys[index]!r} cannot be read ({reason}); copy it again") from None
