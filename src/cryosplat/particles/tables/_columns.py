"""Checked columns of numbers out of the tables that programs write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ...notes import Note


def numbers(
    values: Any, label: str, where: str, error: type[InputError],
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """``values`` as finite float64; ``where`` names the file and table for the message, and
    ``rows`` (n,) are the rows' numbers there, where they do not simply count from 1.

    Raises ``error`` naming the first row that is not a finite number and how many more there are.
    """
    converted = numbers_if_any(values, np.nan)
    bad = np.flatnonzero(np.isnan(converted))
    if len(bad):
        text = str(np.asarray(values)[bad[0]])
        raise error(
            f"{where} row {_number(bad[0], rows)}: {label} is {text!r}, expected a number "
            f"({len(bad)} of {len(converted)} rows are affected).\n"
            f"  Remedy: repeat the job that wrote the table, or remove those rows."
        )
    return converted


def numbers_if_any(values: Any, default: float) -> NDArray[np.float64]:
    """``values`` as float64, and ``default`` where they are no finite number.

    For columns that are not applied: whatever they hold, nothing depends on it.
    """
    with np.errstate(invalid="ignore"):  # signalling NaNs
        series = pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce")
        converted = np.array(series, np.float64)
    return np.where(np.isfinite(converted), converted, default)


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


def integer_codes(values: Any) -> NDArray[np.int64]:
    """Equal values get equal numbers, counted from 0 in the order of appearance."""
    return pd.factorize(pd.Series(np.asarray(values)))[0].astype(np.int64)


def half_set_labels(
    labels: NDArray[np.float64] | None, n: int, where: str, column: str
) -> tuple[torch.Tensor, list[Note]]:
    """Labels (n,) as int8 in {1, 2}, or zeros where the file has none or one label only; notes.

    Raises `InputError` where only some rows are labelled or a label is neither 1 nor 2.
    """
    if labels is None:
        return torch.zeros(n, dtype=torch.int8), []
    bad = np.flatnonzero(~np.isin(labels, (1, 2)))
    unique = np.unique(labels)
    if len(bad) and np.any(labels != 0):
        counts = ", ".join(f"{v:g} ({int(np.sum(labels == v))} rows)" for v in unique[:6])
        raise InputError(
            f"{where} row {bad[0] + 1}: {column} is {labels[bad[0]]:g}, expected 1 or 2 in every "
            f"row; the file has {counts}.\n"
            f"  Files with and without half-sets were probably joined.\n"
            f"  Remedy: take the half-sets of the refinement that gave the poses, or remove the "
            f"column {column} to have the particles split at random."
        )
    if len(unique) == 1 and len(labels) > 1:
        notes = [] if unique[0] == 0 else [single_half_set(f"{column} is {unique[0]:g}")]
        return torch.zeros(len(labels), dtype=torch.int8), notes
    return torch.from_numpy(labels.astype(np.int8)), []


def single_half_set(what: str) -> Note:
    """The note on a column of half-sets with one value in all rows; ``what`` names both."""
    text = f"{what} in every row: this is not a split into half-sets and is not used."
    return Note("half-sets-one-value", "note", text)


def scales(
    values: NDArray[np.float64], label: str, where: str, error: type[InputError]
) -> tuple[NDArray[np.float64], list[Note]]:
    """Scale factors of the CTF (n,) and a note where some are 0. Raises ``error`` where all are."""
    n_zero = int((values == 0.0).sum())
    if n_zero == len(values):
        raise error(
            f"{where}: {label} is 0 in every row, so no image carries any signal.\n"
            f"  Remedy: remove the column."
        )
    if not n_zero:
        return values, []
    text = f"{label} is 0 for {n_zero} of {len(values)} images; they do not contribute."
    return values, [Note("scale-zero", "warning", text, "Remove those rows.")]


def signs(values: NDArray[np.floating]) -> tuple[NDArray[np.float32] | None, list[Note]]:
    """cryoSPARC's data signs (n,), None where all agree: the data decide the common one; notes."""
    if np.all(np.sign(values) == np.sign(values[0])):
        return None, []
    text = (
        f"The data sign (blob/sign) is -1 for {int((values < 0).sum())} of {len(values)} particles; "
        f"their images are multiplied by -1."
    )
    sign = np.where(values < 0, np.float32(-1), np.float32(1))
    return sign, [Note("data-signs-differ", "note", text)]
