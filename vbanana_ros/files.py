"""Files that appear under their names only when they are whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vbanana_ros.errors import InputError


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file so that it appears under its name only when it is complete. Raises InputError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InputError(f"cannot write {path} ({error.strerror}); give another path") from None
    return path
