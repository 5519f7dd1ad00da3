"""Checkpoints of a fit: named arrays and plain values in one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import InputError
from .atomic import replacing

_KEY = "cryosplat.checkpoint"


def write_checkpoint(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray], values: Mapping[str, Any]
) -> None:
    """Write ``arrays`` and JSON-able ``values``; the file appears whole or not at all.

    Floats come back bit for bit. Raises `OutputError` where the file cannot be written.
    """
    content = save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()},
        {_KEY: json.dumps(dict(values))},
    )
    with replacing(Path(path)) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """The arrays and values that `write_checkpoint` wrote; raises `InputError`."""
    try:
        with safe_open(path, "np") as file:
            values = json.loads((file.metadata() or {})[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, values  # noqa: SIM118
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}). Remedy: begin the run without "
            f"--resume."
        ) from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a checkpoint written by cryosplat ({error!r}).\n"
            f"  The file was probably cut short or belongs to something else.\n"
            f"  Remedy: begin the run without --resume."
        ) from error
