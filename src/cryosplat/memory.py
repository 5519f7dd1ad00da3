"""What becomes of memory that is freed."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # mallopt's parameters, from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let the C library keep large arrays that are freed for the next ones of the process.

    By default glibc gives each back to the system, which has to clear every page of the next one: a
    fifth of the time of a fit in a large box. Returns whether there is a glibc to be told.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # one arena, so that what one thread frees any other can have
    return all([option(_MMAP_MAX, 0), option(_TRIM_THRESHOLD, 2**31 - 1), option(_ARENA_MAX, 1)])


def free_memory() -> float:
    """Bytes of the machine's memory that nobody uses; 0 where the system does not say."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return 0.0
