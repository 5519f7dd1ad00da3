"""Freed memory stays with the process, in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from cryosplat.memory import keep_freed_memory

assert keep_freed_memory()
def faults():
    for _ in range(3):
        np.ones((100, 2**18), np.float32).sum()  # 100 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

first = faults()
print(faults() - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_arrays_take_the_place_of_freed_ones() -> None:
    small_pages = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=small_pages, check=True,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert int(done.stdout) < 1000  # of 77,000 pages
