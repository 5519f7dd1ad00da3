"""Checked columns of numbers out of the tables that programs write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import InputError


def numbers(
    values: Any, label: str, where: str, error: type[InputError],
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """``values`` as finite float64; ``where`` names the file and table for the message, and
    ``rows`` (n,) are the rows' numbers there, where they do not simply count from 1.

    Raises ``error`` naming the first row that is not a finite number and how many more there are.
    """
    with np.errstate(invalid="ignore"):  # signalling NaNs
        series = pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce")
        converted = np.array(series, np.float64)
    bad = np.flatnonzero(~np.isfinite(converted))
    if len(bad):
        given = str(np.asarray(values)[bad[0]])
        raise error(
            f"{where} row {_number(bad[0], rows)}: {label} is {given!r}, expected a number "
            f"({len(bad)} of {len(converted)} rows are affected).\n"
            f"  Remedy: repeat the job that wrote the table, or remove those rows."
        )
    return converted


def integers(
    values: Any, label: str, where: str, error: type[InputError],
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """``values`` as int64, with the same checks and whole numbers required."""
    converted = numbers(values, label, where, error, rows)
    bad = np.flatnonzero((converted != np.round(converted)) | (np.abs(converted) >= 2**53))
    if len(bad):
        raise error(
            f"{where} row {_number(bad[0], rows)}: {label} is {converted[bad[0]]}, expected a whole "
            f"number ({len(bad)} of {len(converted)} rows are affected)."
        )
    return converted.astype(np.int64)


def _number(position: int, rows: NDArray[np.int64] | None) -> int:
    return int(position + 1 if rows is None else rows[position])


def decimal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """float32 values as the decimal numbers they were written from: 1.31, not 1.30999994."""
    unique, inverse = np.unique(values, return_inverse=True)
    return np.array([float(f"{v:.7g}") for v in unique])[inverse]


def codes(values: Any) -> NDArray[np.int64]:
    """Equal values get equal numbers, counted from 0 in the order of appearance."""
    return pd.factorize(pd.Series(np.asarray(values)))[0].astype(np.int64)


def scales(
    values: NDArray[np.float64], label: str, where: str, error: type[InputError], notes: list[str]
) -> NDArray[np.float64]:
    """Scale factors of the CTF (n,). Raises ``error`` where all are 0, ``notes`` is told of some."""
    silent = int((values == 0.0).sum())
    if silent == len(values):
        raise error(
            f"{where}: {label} is 0 in every row, so that no image says anything.\n"
            f"  Remedy: leave the column out."
        )
    if silent:
        notes.append(
            f"warning: {label} is 0 for {silent} of {len(values)} images; they do not count."
        )
    return values


def signs(values: NDArray[np.floating], notes: list[str]) -> NDArray[np.float32] | None:
    """cryoSPARC's data signs (n,), None where they do not differ: the data decide the common one."""
    if np.all(np.sign(values) == np.sign(values[0])):
        return None
    notes.append(
        f"the data sign (blob/sign) is -1 for {int((values < 0).sum())} of {len(values)} "
        f"particles; those images are multiplied by -1."
    )
    return np.where(values < 0, np.float32(-1), np.float32(1))
