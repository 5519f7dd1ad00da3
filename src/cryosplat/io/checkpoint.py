"""Checkpoints of a fit: named arrays and plain values in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from .arrays import read_arrays, write_arrays

FORMAT = 1
_REMEDY = "begin the run without --resume."


def write_checkpoint(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray], values: Mapping[str, Any]
) -> None:
    """Write ``arrays`` and JSON-able ``values``; the file appears whole or not at all.

    Floats come back bit for bit. Raises `OutputError` where the file cannot be written.
    """
    write_arrays(path, "checkpoint", FORMAT, arrays, values)


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """The arrays and values that `write_checkpoint` wrote; raises `InputError`."""
    return read_arrays(path, "checkpoint", FORMAT, _REMEDY)
