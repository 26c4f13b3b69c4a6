"""The results of frames in a folder, so that a run that was killed goes on where it was."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vbanana_ros.errors import InputError
from vbanana_ros.evaluation.scores import Scores
from vbanana_ros.files import write_bytes

ABOUT = "run.json"


def claim(folder: Path, about: Mapping[str, Any]) -> None:
    """Say in a folder what its results are of. Raises InputError where they are of something else already."""
    path = folder / ABOUT
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        there = {str(key): value for key, value in found.items()}
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{str(path)!r} cannot be read; name another folder with --out") from None
    for key in about if there else ():
        if there.get(key) != about[key]:
            raise InputError(f"{str(folder)!r} holds a run whose {key} is {there.get(key)!r}, not {about[key]!r}; "
                             "name another folder with --out, or remove that one")
    write_bytes(path, (json.dumps(dict(about), indent=2) + "\n").encode())


@dataclass(frozen=True)
class Store:
    """A folder of the scores of single frames, some kilobytes each."""

    folder: Path

    def get(self, place: int) -> Scores | None:
        """The scores of a frame; None where there are none, or none that can be read."""
        try:
            return Scores.read(json.loads(gzip.decompress(self._path(place).read_bytes())))
        except (OSError, EOFError, zlib.error, ValueError, TypeError, AttributeError):
            return None

    def put(self, place: int, scores: Scores) -> None:
        """Keep the scores of a frame. Raises InputError where they cannot be written."""
        # No time in the header: same scores, same bytes.
        write_bytes(self._path(place), gzip.compress(json.dumps(scores.plain()).encode(), mtime=0))

    def _path(self, place: int) -> Path:
        return self.folder / f"{place:06d}.json.gz"
