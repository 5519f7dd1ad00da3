"""Tensors of values that users construct: numpy arrays and lists become tensors, or an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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


def described(owner: str, *parts: str) -> str:
    """A short text of a value, for people at a prompt."""
    return f"{owner}({', '.join(part for part in parts if part)})"


def span(values: Tensor, scale: float = 1.0) -> str:
    """The range of values, such as "8000 to 25000"; empty without any."""
    if not values.numel():
        return ""
    low, high = float(values.min()) * scale, float(values.max()) * scale
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
