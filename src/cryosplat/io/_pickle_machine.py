"""An interpreter of the part of the pickle language that describes plain data.

A pickle is a program. Python's own interpreter can be told what it may import, but it still sets
attributes, allocates what the file asks for, and hands numpy states to believe. This one has no
means to import or call anything: a global is a name, the few names that stand for numpy arrays
are known to `_plain_values`, and every length is held against the bytes that are there.
(Python, ``Lib/pickletools.py``: the opcodes.)
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from ._plain_values import Name, Room, build, called, finished, key

MAX_STEPS = 10**7
_MAX_INTEGER_BYTES = 9  # 64 bits and a sign

_CONSTANTS: dict[int, Callable[[], Any]] = {
    ord("N"): lambda: None, 0x88: lambda: True, 0x89: lambda: False, ord("]"): list,
    ord(")"): tuple, ord("}"): dict, 0x8F: set,
}  # fmt: skip
_NUMBERS = {ord("J"): "<i", ord("K"): "<B", ord("M"): "<H", ord("G"): ">d"}


def _latin1(raw: bytes) -> str:
    return raw.decode("latin-1")


def _utf8(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _integer(raw: bytes) -> int:
    if len(raw) > _MAX_INTEGER_BYTES:
        raise ValueError(f"an integer of {len(raw)} bytes")
    return int.from_bytes(raw, "little", signed=True)


# opcode: (type of the count before the bytes, what the bytes mean)
_COUNTED: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    ord("T"): ("<I", _latin1), ord("U"): ("<B", _latin1), ord("X"): ("<I", _utf8),
    0x8C: ("<B", _utf8), 0x8D: ("<Q", _utf8), ord("B"): ("<I", bytes), ord("C"): ("<B", bytes),
    0x8E: ("<Q", bytes), 0x96: ("<Q", bytearray), 0x8A: ("<B", _integer), 0x8B: ("<I", _integer),
}  # fmt: skip


def _text_integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    value = int(line.removesuffix(b"L")) if len(line) < 40 else 2**64
    if value.bit_length() > 64:
        raise ValueError("an integer of more than 64 bits")
    return value


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] not in b"\"'" or line[-1:] != line[:1]:
        raise ValueError("text without quotes")
    return _latin1(codecs.escape_decode(line[1:-1])[0])  # type: ignore[attr-defined]


_LINES: dict[int, Callable[[bytes], Any]] = {
    ord("I"): _text_integer, ord("L"): _text_integer, ord("F"): lambda line: float(line),
    ord("S"): _quoted, ord("V"): lambda line: line.decode("raw-unicode-escape"),
}  # fmt: skip
_PUT = {ord("q"): "<B", ord("r"): "<I"}
_GET = {ord("h"): "<B", ord("j"): "<I"}
_REFUSED = {
    0x82: "an extension of pickle", 0x83: "an extension of pickle", 0x84: "an extension of pickle",
    ord("P"): "an object outside the file", ord("Q"): "an object outside the file",
    0x97: "a buffer outside the file", 0x98: "a buffer outside the file",
    ord("o"): "a class", 0x81: "a class", 0x92: "a class",
}  # fmt: skip


class Refused(Exception):
    """The pickle asks for more than data; the argument says for what."""


class Machine:
    """Runs one pickle, given whole."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0
        self._room = Room(4 * len(raw) + 2**16)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle.

        Raises `Refused`, or a ValueError, LookupError, TypeError or ArithmeticError where the bytes
        are no pickle.
        """
        for _ in range(MAX_STEPS):
            opcode = self._take(1)[0]
            if opcode == ord("."):
                return finished(self._pop(), self._room)
            self._step(opcode)
        raise ValueError(f"more than {MAX_STEPS} steps")

    def _step(self, opcode: int) -> None:
        if opcode in _NUMBERS:
            self._stack.append(self._number(_NUMBERS[opcode]))
        elif opcode in _COUNTED:
            kind, meaning = _COUNTED[opcode]
            self._stack.append(meaning(self._take(self._number(kind))))
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _PUT:
            self._memo[self._number(_PUT[opcode])] = self._stack[-1]
        elif opcode in _GET:
            self._stack.append(self._memo[self._number(_GET[opcode])])
        elif opcode in _LINES:
            self._stack.append(_LINES[opcode](self._line()))
        elif opcode in _REFUSED:
            raise Refused(_REFUSED[opcode])
        else:
            action = _ACTIONS.get(opcode)
            if action is None:
                raise ValueError(f"no opcode {opcode:#04x}")
            action(self)

    def _take(self, count: int) -> bytes:
        taken = self._raw[self._at : self._at + count]
        if len(taken) < count:
            raise ValueError(f"{count} bytes wanted, {len(taken)} left")
        self._at += count
        return taken

    def _number(self, kind: str) -> Any:
        return struct.unpack(kind, self._take(struct.calcsize(kind)))[0]

    def _line(self) -> bytes:
        end = self._raw.find(b"\n", self._at)
        if end < 0:
            raise ValueError("a line without end")
        line, self._at = self._raw[self._at : end], end + 1
        return line

    def _pop(self) -> Any:
        if self._marks and self._marks[-1] >= len(self._stack):
            raise ValueError("nothing above the mark")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _frame(self) -> None:
        if self._number("<Q") > len(self._raw) - self._at:
            raise ValueError("a frame longer than the file")

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError(f"items for {type(target).__name__}")
        target.extend(items)

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, set):
            raise TypeError(f"members for {type(target).__name__}")
        target.update(map(key, items))

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError(f"entries for {type(target).__name__}")
        target.update(zip(map(key, items[::2]), items[1::2], strict=True))

    def _new_dict(self) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _memoize(self, at: int) -> None:
        self._memo[at] = self._stack[-1]

    def _global(self, module: object, name: object) -> None:
        known = Name.of(module, name)
        if known is None:
            raise Refused(f"{module}.{name}"[:100] if isinstance(module, str) else "a name")
        self._stack.append(known)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name that is no text")
        self._global(module, name)

    def _instance(self) -> None:
        raise Refused(f"{_latin1(self._line())}.{_latin1(self._line())}"[:100])

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise TypeError(f"a call of {type(function).__name__}")
        self._stack.append(called(function, arguments, self._room, Refused))

    def _build(self) -> None:
        state = self._pop()
        build(self._stack[-1], state, self._room, Refused)


_ACTIONS: dict[int, Callable[[Machine], Any]] = {
    0x80: lambda m: m._take(1),  # PROTO
    0x95: Machine._frame,
    ord("0"): Machine._discard,
    ord("1"): Machine._pop_to_mark,
    ord("2"): lambda m: m._stack.append(m._stack[-1]),
    ord("("): lambda m: m._marks.append(len(m._stack)),
    ord("l"): lambda m: m._stack.append(m._pop_to_mark()),
    ord("t"): lambda m: m._stack.append(tuple(m._pop_to_mark())),
    0x91: lambda m: m._stack.append(frozenset(map(key, m._pop_to_mark()))),
    0x85: lambda m: m._tuple(1),
    0x86: lambda m: m._tuple(2),
    0x87: lambda m: m._tuple(3),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._pop_to_mark()),
    0x90: lambda m: m._add(m._pop_to_mark()),
    ord("s"): lambda m: m._set_items([m._pop(), m._pop()][::-1]),
    ord("u"): lambda m: m._set_items(m._pop_to_mark()),
    ord("d"): Machine._new_dict,
    ord("p"): lambda m: m._memoize(_text_integer(m._line())),
    0x94: lambda m: m._memoize(len(m._memo)),
    ord("g"): lambda m: m._stack.append(m._memo[_text_integer(m._line())]),
    ord("c"): lambda m: m._global(_latin1(m._line()), _latin1(m._line())),
    0x93: Machine._stack_global,
    ord("i"): Machine._instance,
    ord("R"): Machine._reduce,
    ord("b"): Machine._build,
}
