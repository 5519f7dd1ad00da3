"""Named arrays and plain values in one safetensors file, versioned and checked."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..errors import InputError
from .atomic import replacing

_TYPES = {
    "f4": "F32", "f8": "F64", "i1": "I8", "i4": "I32", "i8": "I64", "u1": "U8", "b1": "BOOL",
}  # fmt: skip
VALUES = ""
"""No array's name: that of the plain values, where checksums are listed."""


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values).encode())


def write_arrays(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    arrays: Mapping[str, NDArray],
    values: Mapping[str, Any],
) -> None:
    """Write ``arrays`` and JSON-able ``values``; the file appears whole or not at all.

    The format is that of safetensors, written from the arrays' own memory. Floats come back bit for
    bit. Raises `OutputError` where the file cannot be written.
    """
    held = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    checks = {name: zlib.crc32(array.data) for name, array in held.items()} | {
        VALUES: _checksum(values)
    }
    described = {"version": version, "values": dict(values), "crc32": checks}
    header: dict[str, Any] = {"__metadata__": {f"cryosplat.{kind}": json.dumps(described)}}
    end = 0
    for name, array in held.items():
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype.str[1:]], "shape": array.shape, "data_offsets": (start, end),
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(Path(path)) as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for array in held.values():
            stream.write(array.data)
        stream.flush()
        os.fsync(stream.fileno())


def read_arrays(
    path: str | os.PathLike[str], kind: str, version: int, remedy: str
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """The arrays and values that `write_arrays` wrote.

    Raises `InputError`, which ends in ``remedy``, for a file that is missing, damaged, of another
    kind or of another version.
    """
    try:
        with safe_open(path, "np") as file:
            described = json.loads((file.metadata() or {})[f"cryosplat.{kind}"])
            if described["version"] != version:
                raise InputError(
                    f"{path}: {kind} in version {described['version']} of the format, expected "
                    f"{version}.\n"
                    f"  It was written by another version of cryosplat.\n"
                    f"  Remedy: {remedy}"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            checks, values = dict(described["crc32"]), dict(described["values"])
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}).\n  Remedy: {remedy}"
        ) from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a {kind} file written by cryosplat ({error!r}).\n"
            f"  It was probably cut short or belongs to something else.\n"
            f"  Remedy: {remedy}"
        ) from error
    if checks.pop(VALUES, _checksum(values)) != _checksum(values) or checks != {
        name: zlib.crc32(array.data) for name, array in arrays.items()
    }:
        raise InputError(
            f"{path}: damaged: its numbers are not those that were written.\n  Remedy: {remedy}"
        )
    return arrays, values
