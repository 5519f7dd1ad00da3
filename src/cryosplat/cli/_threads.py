"""How many threads the kernels use."""

from __future__ import annotations

from ..errors import SettingsError
from ..provenance import available_cores


def use_threads(threads: int | None) -> int:
    """Have numba and torch use ``threads`` threads, by default all cores; returns their number."""
    import numba
    import torch

    available = min(available_cores(), numba.get_num_threads())
    if threads is None:
        threads = available
    if not 1 <= threads <= available:
        raise SettingsError(f"--threads {threads}: expected 1 to {available} on this machine.")
    numba.set_num_threads(threads)
    torch.set_num_threads(threads)
    return threads
