"""Pickles that hold nothing but numbers.

A pickle is a program: loading one can run any command. Here only the few names needed to rebuild
numpy arrays are known; whatever else a file asks for is refused before it is looked up.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PickleError

_ARRAY_TYPE = object()  # stands for numpy.ndarray, so that a pickle cannot call it


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Plain data from a pickle: numbers, text, lists, tuples, dictionaries, numpy arrays.

    Raises `PickleError` for anything else, without having run it.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            return _PlainUnpickler(stream, encoding="latin1").load()
    except FileNotFoundError:
        raise PickleError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except _RefusedName as refused:
        raise PickleError(
            f"{path}: refused, because it asks to run {refused} when it is opened; a pickle of "
            f"poses or CTF values holds numpy arrays and nothing else.\n"
            f"  Nothing was run. If you do not know where the file is from, delete it.\n"
            f"  Remedy: write it again as numpy arrays, e.g. pickle.dump((rot, trans), file)"
        ) from None
    except OSError as error:
        raise PickleError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception as error:
        raise PickleError(
            f"{path}: not a pickle, or cut short ({type(error).__name__}: {error}).\n"
            f"  Remedy: copy it again, or write it again with cryodrgn parse_pose_star and "
            f"cryodrgn parse_ctf_star"
        ) from None


class _RefusedName(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)  # protocols 0 to 2
        known = module.replace("numpy._core", "numpy.core"), name
        if known == ("numpy", "ndarray"):
            return _ARRAY_TYPE
        maker = _makers().get(known)
        if maker is None:
            raise _RefusedName(f"{module}.{name}")
        return maker

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedName(f"an object outside the file ({pid!r})")


def _makers() -> dict[tuple[str, str], Callable[..., Any]]:
    """New functions for every look-up: a pickle may set attributes on what it is given."""

    def dtype(kind: str, *_: Any) -> np.dtype:
        made = np.dtype(str(kind))
        if made.kind not in "biufcSUV":
            raise _RefusedName(f"an array of type {kind!r}")
        return made

    def reconstruct(_type: object, shape: tuple[int, ...], _kind: object) -> np.ndarray:
        if shape != (0,):
            raise _RefusedName(f"numpy's _reconstruct with shape {shape!r}")
        return np.ndarray(shape, "b")

    def scalar(kind: np.dtype, raw: bytes) -> Any:
        return np.frombuffer(_bytes(raw), kind, 1)[0]

    def frombuffer(raw: Any, kind: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
        return np.frombuffer(raw, kind).reshape(shape, order="F" if order == "F" else "C").copy()

    def encode(text: str, encoding: str = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise _RefusedName(f"_codecs.encode with {encoding!r}")
        return str(text).encode("latin1")

    return {
        ("numpy", "dtype"): dtype,
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy.core.numeric", "_frombuffer"): frombuffer,
        ("_codecs", "encode"): encode,
        ("builtins", "set"): lambda items=(): set(items),
        ("builtins", "frozenset"): lambda items=(): frozenset(items),
        ("builtins", "complex"): lambda re, im=0.0: complex(re, im),
        ("builtins", "bytes"): lambda raw=b"": _bytes(raw),
        ("builtins", "bytearray"): lambda raw=b"", *_: bytearray(_bytes(raw)),
        ("collections", "OrderedDict"): lambda items=(): dict(items),
    }


def _bytes(raw: object) -> bytes:
    if isinstance(raw, str):
        return raw.encode("latin1")
    if not isinstance(raw, (bytes, bytearray)):
        raise _RefusedName(f"bytes of {type(raw).__name__}")
    return bytes(raw)
