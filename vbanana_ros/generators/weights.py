"""A safetensors file: is it whole, is it the one that was meant, and which one is it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

from vbanana_ros.errors import ModelError

LARGE = 256 << 20  # bytes; a checksum of the many gigabytes of a real model at every load would take minutes on a robot
SAMPLE = 4096  # bytes of each tensor of a large file
POINTER = b"version https://git-lfs"


def check_file(path: Path, sha256: str | None = None) -> str:
    """A name for what is in a weights file, 64 hex digits: its SHA-256, or of a large file that of samples.

    The samples are of every tensor, so that two trainings of one model differ. The whole file is read where it is
    small, or where sha256 asks for it. Raises ModelError for a file that is missing, cut short, a Git LFS pointer or
    of another checksum than sha256.
    """
    if not path.is_file():
        raise ModelError(f"model file {str(path)!r} is missing; copy the model directory again")
    large = path.stat().st_size >= LARGE
    found = sha256_of(path) if sha256 is not None or not large else None
    if sha256 is not None and found != sha256:
        raise ModelError(f"model file {str(path)!r} is corrupt (checksum differs); copy the model directory again")
    with open(path, "rb") as file:
        header, start = _read_header(file, path)
        return _sampled(file, header, start) if large else found


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _read_header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The tensors that a file lists, and where the first one starts; all are there, down to the last byte.

    The format is a little-endian uint64, as many bytes of JSON, then the tensors
    (https://github.com/huggingface/safetensors).
    """
    first, size = file.read(8), path.stat().st_size
    if (first + file.read(len(POINTER) - 8)).startswith(POINTER):
        raise ModelError(f"{str(path)!r} cannot be loaded: it is a Git LFS pointer and not the weights; "
                         "run 'git lfs pull' there, or fetch the model with 'hf download'")
    length = int.from_bytes(first, "little")
    file.seek(8)
    try:
        header = json.loads(file.read(length)) if 8 + length <= size else None
        end = max((tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, AttributeError):
        end = None
    if end is None or 8 + length + end != size:
        meant = f" of {8 + length + end:,}" if end is not None else ""
        raise ModelError(f"{str(path)!r} cannot be loaded: it is no whole safetensors file ({size:,}{meant} bytes); "
                         "copy the model again")
    return header, 8 + length


def _sampled(file: BinaryIO, header: dict[str, Any], start: int) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(header.keys() - {"__metadata__"}):
        first, end = header[name]["data_offsets"]
        file.seek(start + first)
        digest.update(file.read(min(SAMPLE, end - first)))
    return digest.hexdigest()
