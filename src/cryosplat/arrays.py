"""Values made of tensors: those of n things row by row, and what users give as arrays or lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .errors import SettingsError

Shape = tuple[int | None, ...]


def real_tensor(owner: str, name: str, values: Any, shape: Shape) -> Tensor:
    """``values`` as a tensor of floating-point numbers.

    A tensor of them is returned as it is; an array or nested lists keep their precision, whole
    numbers become float32. ``shape``: None where any length will do. Raises `SettingsError` that
    names ``owner`` and ``name``.
    """
    if not isinstance(values, Tensor):
        try:
            values = torch.from_numpy(np.array(values))
        except (TypeError, ValueError) as error:
            raise SettingsError(
                f"{owner}: {name} is {type(values).__name__}, expected an array of numbers ({error})."
            ) from None
    if values.is_complex() or values.dtype == torch.bool:
        raise SettingsError(f"{owner}: {name} is {values.dtype}, expected real numbers.")
    given = tuple(values.shape)
    if len(given) != len(shape) or any(
        n not in (None, m) for n, m in zip(shape, given, strict=True)
    ):
        expected = ", ".join("n" if n is None else str(n) for n in shape)
        comma = "," if len(shape) == 1 else ""
        raise SettingsError(f"{owner}: {name} has shape {given}, expected ({expected}{comma}).")
    return values if values.is_floating_point() else values.float()


def one_device(owner: str, tensors: Iterable[Tensor]) -> None:
    """Raise `SettingsError` for tensors on several devices."""
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) > 1:
        raise SettingsError(
            f"{owner}: its tensors are on {' and '.join(devices)}, expected one device.\n"
            f"  Remedy: move them with .to(device)."
        )


class Columns:
    """Of n things: a frozen dataclass whose tensors (n, ...) and `Columns` have a row of each.

    Its other fields hold for every row.
    """

    __slots__ = ()

    def _columns(self) -> dict[str, Any]:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))  # pyright: ignore[reportArgumentType]
        return {name: column for name, column in values if isinstance(column, Tensor | Columns)}

    def _with(self, columns: dict[str, Any]) -> Self:
        return replace(self, **columns)  # pyright: ignore[reportArgumentType, reportReturnType]

    def select(self, index: Tensor | slice) -> Self:
        """The rows ``index``."""
        columns = self._columns().items()
        return self._with(
            {n: c.select(index) if isinstance(c, Columns) else c[index] for n, c in columns}
        )

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return self._with({name: column.to(device) for name, column in self._columns().items()})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all ``parts`` in turn, at least one; other fields are those of the first."""
        if len(parts) == 1:
            return parts[0]
        columns = {}
        for name, first in parts[0]._columns().items():
            joined = type(first).concatenate if isinstance(first, Columns) else torch.cat
            columns[name] = joined([getattr(part, name) for part in parts])
        return parts[0]._with(columns)


def members(labels: Tensor) -> Iterator[tuple[Any, Tensor]]:
    """Each value of ``labels`` (n,), ascending, and the positions that have it."""
    values, which = labels.unique(return_inverse=True)
    for number, value in enumerate(values.tolist()):
        yield value, (which == number).nonzero().squeeze(1)


def described(owner: str, *parts: str) -> str:
    """A short text of a value, for people at a prompt."""
    return f"{owner}({', '.join(part for part in parts if part)})"


def span(values: Tensor, scale: float = 1.0) -> str:
    """The range of values, such as "8000 to 25000"; empty without any."""
    if not values.numel():
        return ""
    low, high = float(values.min()) * scale, float(values.max()) * scale
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
