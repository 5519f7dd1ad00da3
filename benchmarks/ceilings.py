"""What this machine can do at most, measured in the same run as the kernels it is held against."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numba import get_num_threads, njit, prange


@dataclass(frozen=True, slots=True)
class Ceilings:
    """``operations``: float32 operations a second, a fused multiply-add being two: the faster of a
    matrix product and of polynomials of degree 32 in registers.
    ``memory``: bytes a second read and written when copying between arrays far larger than the caches.
    ``cache``: bytes a second read and written when 16 KB a thread are updated in place.
    """

    threads: int
    operations: float
    memory: float
    cache: float

    def text(self) -> str:
        """One sentence for the table."""
        return (
            f"Ceilings of {self.threads} threads, measured in the same run: "
            f"{self.operations / 1e9:.0f} GFLOP/s (float32 multiply-adds), memory "
            f"{self.memory / 1e9:.1f} GB/s (copy), first-level cache {self.cache / 1e9:.0f} GB/s "
            f"(update in place)."
        )


def best_time(call: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of some calls, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@njit(parallel=True, fastmath=True)
def _update(blocks, rounds):
    for t in prange(blocks.shape[0]):
        block = blocks[t]
        for _ in range(rounds):
            for i in range(block.shape[0]):
                block[i] += np.float32(1e-3)


@njit(parallel=True, fastmath=True)
def _polynomials(blocks, rounds):
    for t in prange(blocks.shape[0]):
        block = blocks[t]
        for _ in range(rounds):
            for i in range(block.shape[0]):
                x = block[i]
                p = np.float32(0.5)
                for _ in range(32):
                    p = p * x + np.float32(0.5)
                block[i] = p


@njit(parallel=True)
def _copy(source, target):
    for i in prange(source.shape[0]):
        target[i] = source[i]


def measure() -> Ceilings:
    """Measure the three ceilings; a few seconds."""
    threads = get_num_threads()
    side = 2048
    a, b = torch.rand(side, side), torch.rand(side, side)
    product = best_time(lambda: a @ b)
    source = np.ones(2**26, np.float32)
    target = np.zeros_like(source)
    copied = best_time(lambda: _copy(source, target))
    rounds = 400_000
    blocks = np.zeros((threads, 4096), np.float32)
    updated = best_time(lambda: _update(blocks, rounds), 10)
    blocks[:] = 0.5
    evaluated = best_time(lambda: _polynomials(blocks, rounds // 10), 10)
    in_registers = 64.0 * blocks.size * (rounds // 10) / evaluated
    return Ceilings(
        threads,
        max(2.0 * side**3 / product, in_registers),
        2.0 * source.nbytes / copied,
        2.0 * blocks.nbytes * rounds / updated,
    )
