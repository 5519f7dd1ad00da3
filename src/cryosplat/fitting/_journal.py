"""What a run of descents has come to so far, so that one that is broken off can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError

EVERY = 30.0  # seconds between two checkpoints, unless they take longer than a SHARE of that
SHARE = 0.05


class Store(Protocol):
    """Where a journal is kept: named arrays and plain values, written whole or not at all."""

    def exists(self) -> bool: ...

    def read(self) -> tuple[dict[str, NDArray], dict[str, Any]]: ...

    def write(self, arrays: Mapping[str, NDArray], values: Mapping[str, Any]) -> None: ...


class Stopped(Exception):
    """A descent ended because it was asked to; where it stands has been written."""


class Journal:
    """States of descents by name: those that are done, and the one under way.

    Made by `open`; `of` is the same journal for a part of the work. What a part needed to begin is
    forgotten once it has.
    """

    def __init__(self, book: _Book | None, name: str = "") -> None:
        self._book, self._name = book, name

    @staticmethod
    def open(store: Store, identity: Mapping[str, Any]) -> Journal:
        """The journal in ``store``, or a new one.

        ``identity``: JSON-able values, by name, of all that the work depends on. Raises
        `InputError` where those in the store are others.
        """
        return Journal(_Book(store, json.loads(json.dumps(dict(identity)))))

    def of(self, name: str) -> Journal:
        """The journal of a part."""
        return self if self._book is None else Journal(self._book, f"{self._name}/{name}")

    def load(self) -> Any | None:
        """The state that was kept or finished last; None where there is none."""
        return None if self._book is None else self._book.load(self._name)

    def keep(self, state: Callable[[], Any]) -> None:
        """Write ``state()`` down, now and then; raises `Stopped` once that was asked for."""
        book = self._book
        if book is not None and (book.stopping or book.due()):
            book.put(self._name, state())
            book.write()
            if book.stopping:
                raise Stopped

    def finish(self, state: Any) -> None:
        """This part is done, and ``state`` is what it has come to."""
        if self._book is not None:
            self._book.put(self._name, state)
            if self._book.due():
                self._book.write()

    def write(self) -> None:
        """Write everything down now."""
        if self._book is not None:
            self._book.write()

    def stop(self) -> None:
        """Have the descent under way end at its next step."""
        if self._book is not None:
            self._book.stopping = True


class _Book:
    """The entries of a journal, packed, and where they are written."""

    def __init__(self, store: Store, identity: dict[str, Any]) -> None:
        self.store, self.identity, self.stopping = store, identity, False
        self.arrays: dict[str, NDArray] = {}
        self.values: dict[str, Any] = {}
        self.next = -float("inf")  # the first one is due at once: a folder may be read-only
        if store.exists():
            self.arrays, values = store.read()
            self.values = values.get("entries", {})
            differing = list(_differing(values.get("identity", {}), identity))
            if differing:
                raise InputError(
                    f"{store}: belongs to a run with other particles or settings; what differs: "
                    f"{', '.join(differing)}.\n"
                    f"  Remedy: repeat the command that was broken off, with --resume; or remove "
                    f"the file."
                )

    def due(self) -> bool:
        return time.monotonic() >= self.next

    def load(self, name: str) -> Any | None:
        return _unpacked(self.values[name], self.arrays) if name in self.values else None

    def put(self, name: str, state: Any) -> None:
        inside = (name, f"{name}/")
        for entries in (self.values, self.arrays):
            for key in [k for k in entries if k == inside[0] or k.startswith(inside[1])]:
                del entries[key]
        self.values[name] = _packed(state, name, self.arrays)

    def write(self) -> None:
        begin = time.monotonic()
        self.store.write(self.arrays, {"identity": self.identity, "entries": self.values})
        self.next = time.monotonic() + max(EVERY, (time.monotonic() - begin) / SHARE)


NOWHERE = Journal(None)
"""Keeps nothing."""


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], where: str = "") -> Sequence[str]:
    """Names under which two nested mappings differ."""
    names: list[str] = []
    for key in sorted(a.keys() | b.keys()):
        one, other = a.get(key), b.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names += _differing(one, other, f"{where}{key}.")
        elif one != other:
            names.append(f"{where}{key}")
    return names


def _packed(state: Any, name: str, arrays: dict[str, NDArray]) -> Any:
    """Nested values that JSON can hold; tensors go, as copies, into ``arrays``."""
    if isinstance(state, Tensor):
        arrays[name] = state.detach().cpu().numpy().copy()
        return {"array": name, "device": str(state.device)}
    if isinstance(state, Mapping):
        return {key: _packed(value, f"{name}/{key}", arrays) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [_packed(value, f"{name}/{i}", arrays) for i, value in enumerate(state)]
    return state


def _unpacked(packed: Any, arrays: Mapping[str, NDArray]) -> Any:
    """What was `_packed`."""
    if isinstance(packed, Mapping):
        if packed.keys() == {"array", "device"}:
            return torch.from_numpy(arrays[packed["array"]].copy()).to(packed["device"])
        return {key: _unpacked(value, arrays) for key, value in packed.items()}
    if isinstance(packed, list):
        return [_unpacked(value, arrays) for value in packed]
    return packed
