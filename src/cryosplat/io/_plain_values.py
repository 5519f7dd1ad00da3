"""What the names in a pickle of numpy arrays stand for, without numpy's own (trusting) loaders."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_KIND = re.compile(r"[<>|=]?(?:[biuf?c][0-9]{0,2}|[SUV][0-9]{1,6})")
_MAX_DEPTH = 50
_NAMES = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "complex"),
    ("builtins", "bytes"), ("builtins", "bytearray"), ("collections", "OrderedDict"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A global of the pickle: its module and name, and nothing that could be called."""

    module: str
    name: str

    @staticmethod
    def of(module: object, name: object) -> Name | None:
        """The name, spelled as today; None where it is not one of the few known ones."""
        spelled = str(module).replace("numpy._core", "numpy.core")
        spelled = {"__builtin__": "builtins"}.get(spelled, spelled)  # protocols 0 to 2
        return Name(spelled, str(name)) if (spelled, name) in _NAMES else None


class Room:
    """How many more bytes a pickle may make out of those it holds."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """Raises ValueError where the file asks for much more than it holds."""
        self._left -= size
        if self._left < 0:
            raise ValueError("its values would be far larger than the file")


class Kind:
    """Stands for a ``numpy.dtype`` until its byte order is known."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


class Array:
    """Stands for a ``numpy.ndarray`` until its contents are known."""

    def __init__(self) -> None:
        self.values = np.empty(0, "b")


def key(value: Any) -> Any:
    """A key of a dictionary or a member of a set: one number or text, so that hashing is quick."""
    if value is not None and not isinstance(value, (bool, int, float, complex, str, bytes)):
        raise TypeError(f"{type(value).__name__} as a key")
    return value


def called(name: Name, arguments: tuple, room: Room, refused: type[Exception]) -> Any:
    """What a call of ``name`` would give, for the calls that pickled arrays contain."""
    maker = _MAKERS.get(name.name)
    if maker is None:
        raise TypeError(f"a call of {name.name}")
    return maker(arguments, room, refused)


def build(target: Any, state: Any, room: Room, refused: type[Exception]) -> None:
    """Give an `Array` its contents or a `Kind` its byte order; nothing else has a state."""
    if isinstance(target, Kind) and isinstance(state, tuple) and len(state) >= 5:
        if any(part is not None for part in state[2:5]):
            raise refused("an array of a structured type")
        if state[1] in ("<", ">"):
            target.dtype = target.dtype.newbyteorder(state[1])
    elif isinstance(target, Array) and isinstance(state, tuple) and len(state) in (4, 5):
        shape, kind, fortran, raw = list(state)[-4:]
        target.values = _array(raw, kind, shape, "F" if fortran is True else "C", room)
    else:
        raise refused(f"the state of {type(target).__name__}")


def finished(value: Any, room: Room) -> Any:
    """``value`` with arrays where stand-ins were, in new containers."""
    return _finished(value, {}, 0, room)


def _finished(value: Any, done: dict[int, Any], depth: int, room: Room) -> Any:
    if isinstance(value, Array):
        return value.values
    if isinstance(value, (Kind, Name)):
        raise TypeError(f"{type(value).__name__} as a value")
    if not isinstance(value, (list, tuple, dict)):
        return value
    if depth > _MAX_DEPTH:
        raise ValueError(f"containers nested more than {_MAX_DEPTH} deep")
    if id(value) not in done:
        room.take(len(value))
        if isinstance(value, dict):
            new: Any = {k: _finished(v, done, depth + 1, room) for k, v in value.items()}
        else:
            new = type(value)([_finished(v, done, depth + 1, room) for v in value])
        done[id(value)] = new
    return done[id(value)]


def _array(raw: Any, kind: Any, shape: Any, order: Any, room: Room) -> np.ndarray:
    if not isinstance(kind, Kind):
        raise TypeError(f"{type(kind).__name__} as the type of an array")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise TypeError("an array without a shape")
    held, size = _bytes(raw, room), kind.dtype.itemsize
    for n in shape:
        size *= n
    if size != len(held):
        raise ValueError(f"an array of {size} bytes out of {len(held)}")
    room.take(size)
    return np.frombuffer(held, kind.dtype).reshape(shape, order=order).copy()


def _bytes(raw: Any, room: Room) -> bytes:
    if isinstance(raw, (bytes, bytearray)):
        return bytes(raw) if isinstance(raw, bytearray) else raw
    if not isinstance(raw, str):
        raise TypeError(f"bytes of {type(raw).__name__}")
    room.take(len(raw))
    return raw.encode("latin-1")


def _kind(arguments: tuple, room: Room, refused: type[Exception]) -> Kind:
    text = arguments[0]
    if not isinstance(text, str) or not _KIND.fullmatch(text):
        raise refused(f"an array of type {text[:40] if isinstance(text, str) else '?'!r}")
    dtype = np.dtype(text)
    if dtype.itemsize == 0:
        raise ValueError("an array of values of no bytes")
    return Kind(dtype)


def _reconstruct(arguments: tuple, room: Room, refused: type[Exception]) -> Array:
    if arguments[0] != Name("numpy", "ndarray") or arguments[1] != (0,):
        raise refused("numpy's _reconstruct of another type")
    return Array()


def _from_buffer(arguments: tuple, room: Room, refused: type[Exception]) -> np.ndarray:
    raw, kind, shape, order = arguments
    return _array(raw, kind, shape, "F" if order == "F" else "C", room)


def _encode(arguments: tuple, room: Room, refused: type[Exception]) -> bytes:
    if arguments[1:] not in ((), ("latin1",), ("latin-1",)):
        raise refused("_codecs.encode of another encoding")
    if not isinstance(arguments[0], str):
        raise TypeError("encoding what is no text")
    return _bytes(arguments[0], room)


def _raw(arguments: tuple, room: Room, refused: type[Exception]) -> bytes:
    raw = _bytes(arguments[0] if arguments else b"", room)
    room.take(len(raw))
    return raw


def _members(arguments: tuple, room: Room, refused: type[Exception]) -> list[Any]:
    items = arguments[0] if arguments else []
    if not isinstance(items, (list, tuple)):
        raise TypeError(f"members out of {type(items).__name__}")
    room.take(8 * len(items))
    return items if isinstance(items, list) else list(items)


def _entries(arguments: tuple, room: Room, refused: type[Exception]) -> dict[Any, Any]:
    return {key(k): v for k, v in _members(arguments, room, refused)}


def _complex(arguments: tuple, room: Room, refused: type[Exception]) -> complex:
    if not all(isinstance(part, (int, float)) for part in arguments):
        raise TypeError("a complex number of other parts")
    return complex(*arguments)


_MAKERS: dict[str, Callable[[tuple, Room, type[Exception]], Any]] = {
    "dtype": _kind,
    "_reconstruct": _reconstruct,
    "scalar": lambda a, room, _: _array(a[1], a[0], (1,), "C", room)[0],
    "_frombuffer": _from_buffer,
    "encode": _encode,
    "complex": _complex,
    "set": lambda a, room, no: set(map(key, _members(a, room, no))),
    "frozenset": lambda a, room, no: frozenset(map(key, _members(a, room, no))),
    "bytes": _raw,
    "bytearray": lambda a, room, no: bytearray(_raw(a, room, no)),
    "OrderedDict": _entries,
}
