"""NumPy's ``.npy`` files of plain numbers and text, whose header is believed only as far as the
file goes."""

from __future__ import annotations

import ast
import os
import re
import struct
from pathlib import Path

import numpy as np

from ..errors import InputError

_MAX_HEADER = 2**20  # tables of many classes have thousands of fields
_LENGTHS = {b"\x01\0": "<H", b"\x02\0": "<I", b"\x03\0": "<I"}  # by version of the format
_PLAIN = re.compile(r"[<>|=]?(?:[biuf?c][0-9]{0,2}|[SUV][0-9]{1,6})")


class _Broken(Exception):
    """Why the bytes are no such array."""


def read_npy(
    path: str | os.PathLike[str],
    error: type[InputError] = InputError,
    what: str = "an array that numpy saved",
    remedy: str = "write it again with numpy.save",
) -> np.ndarray:
    """The array of a file; its fields are numbers or text, never objects or structures.

    Raises ``error`` for anything else, and for files that are shorter or longer than they say;
    ``what`` was expected and the ``remedy`` are for its message.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            dtype, shape, columns_first = _header(path, stream.read(_MAX_HEADER))
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            stream.seek(-size, os.SEEK_END)
            values = np.frombuffer(stream.read(), dtype)
    except FileNotFoundError:
        raise error(f"{path}: no such file.\n  Remedy: check the path.") from None
    except OSError as failed:
        raise error(f"{path}: cannot be read ({failed.strerror}).") from None
    except _Broken as broken:
        raise error(f"{path}: not {what}, or cut short ({broken}).\n  Remedy: {remedy}") from None
    native = values.astype(dtype.newbyteorder("="), copy=False)  # pandas and torch know no other
    return native.reshape(shape, order="F" if columns_first else "C")


def _header(path: Path, raw: bytes) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Type, shape and order of a file that begins with ``raw``; the file's size must fit them."""
    version = raw[6:8]
    if raw[:6] == b"\x94CSDAT":
        raise _Broken("it has cryoSPARC's stream format, which is not read")
    if raw[:6] != b"\x93NUMPY" or version not in _LENGTHS:
        raise _Broken(f"it begins with {raw[:6]!r}")
    start = 8 + struct.calcsize(_LENGTHS[version])
    if len(raw) < start:
        raise _Broken("it ends too early")
    length = struct.unpack(_LENGTHS[version], raw[8:start])[0]
    if len(raw) < start + length:
        raise _Broken(f"its header claims {length} bytes")
    try:
        header = ast.literal_eval(raw[start : start + length].decode("utf-8").strip())
        dtype, columns_first = _type(header["descr"]), header.get("fortran_order") is True
        shape = tuple(map(int, header["shape"]))
        if dtype.itemsize == 0 or not all(0 <= n < 2**62 for n in shape) or len(shape) > 8:
            raise ValueError(shape)
    except Exception as error:  # whatever text can do to Python's parser
        raise _Broken(f"unreadable header, {type(error).__name__}") from None
    size, given = dtype.itemsize, path.stat().st_size - start - length
    for n in shape:
        size *= n
    if given != size:
        raise _Broken(f"its header claims {shape}, {size} bytes, but it holds {given}")
    return dtype, shape, columns_first


def _type(described: object) -> np.dtype:
    """Plain numbers or text, or a row of such fields; raises ValueError for anything else."""
    if isinstance(described, str) and _PLAIN.fullmatch(described):
        return np.dtype(described)
    if not isinstance(described, list):
        raise ValueError("neither a type nor a list of fields")
    row = []
    for i, (name, kind, *shape) in enumerate(described):
        if not isinstance(name, str) or not _PLAIN.fullmatch(kind):
            raise ValueError(name)
        row.append((name or f"_padding_{i}", kind, *shape))
    return np.dtype(row)
