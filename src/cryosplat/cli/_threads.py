"""How many threads the kernels use, and what becomes of their memory."""

from __future__ import annotations

from ..errors import SettingsError
from ..memory import keep_freed_memory
from ..provenance import available_cores


def use_threads(threads: int | None) -> int:
    """Have numba and torch use ``threads`` threads, by default all cores; returns their number.

    What they free stays with the process.
    """
    import numba
    import torch

    cores, allowed = available_cores(), numba.get_num_threads()
    available = min(cores, allowed)
    if threads is None:
        threads = available
    if not 1 <= threads <= available:
        limit = "as NUMBA_NUM_THREADS says" if allowed < cores else "on this machine"
        raise SettingsError(f"--threads {threads}: expected 1 to {available}, {limit}.")
    keep_freed_memory()
    numba.set_num_threads(threads)
    torch.set_num_threads(threads)
    return threads
