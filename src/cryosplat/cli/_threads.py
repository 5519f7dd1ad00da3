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

    available = min(available_cores(), numba.get_num_threads())
    if threads is None:
        threads = available
    if not 1 <= threads <= available:
        raise SettingsError(f"--threads {threads}: expected 1 to {available} on this machine.")
    keep_freed_memory()
    numba.set_num_threads(threads)
    torch.set_num_threads(threads)
    return threads
