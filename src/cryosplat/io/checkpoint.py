"""Checkpoints of a run: named arrays and plain values in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .arrays import read_arrays, write_arrays

FORMAT = 2
_REMEDY = "begin the run without --resume."


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint at ``path``, which may not be there yet."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def write(self, arrays: Mapping[str, NDArray], values: Mapping[str, Any]) -> None:
        """Write ``arrays`` and JSON-able ``values``; the file appears whole or not at all.

        Floats come back bit for bit. Raises `OutputError` where the file cannot be written.
        """
        write_arrays(self.path, "checkpoint", FORMAT, arrays, values)

    def read(self) -> tuple[dict[str, NDArray], dict[str, Any]]:
        """The arrays and values that `write` wrote; raises `InputError`."""
        return read_arrays(self.path, "checkpoint", FORMAT, _REMEDY)
