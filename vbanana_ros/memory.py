"""How this process gets its memory."""

from __future__ import annotations

import ctypes
import sys

# glibc's mallopt parameters (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Have glibc keep what was freed for the next frame; elsewhere nothing happens.

    By default it takes every large array fresh from the kernel, which clears it page by page, and gives it back at
    once: a third of the time of a frame on a CPU. For front ends, before they start threads, as it holds for the
    whole process.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_ARENA_MAX, 1)  # the arenas of threads but the first cannot hold large arrays
