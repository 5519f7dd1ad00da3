"""Radiation damage: what electrons that came before have cost each frequency."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

CRITICAL = (0.245, -1.665, 2.81)
"""Factor, power and constant of `critical_exposure`, in e/A^2 and 1/Angstrom."""
LEAST_FREQUENCY = 1e-6
"""1/Angstrom; stands for the origin, where nothing is lost."""

Frequency = TypeVar("Frequency", float, Tensor)


def critical_exposure(frequency: Frequency) -> Frequency:
    """The dose that damps a frequency above 0 to ``exp(-1/2)``, in electrons per square Angstrom.

    Grant & Grigorieff 2015, eLife 4, e06980, eq. 3.
    """
    factor, power, constant = CRITICAL
    return factor * frequency**power + constant  # pyright: ignore[reportReturnType]


def dose_exponent(frequency: Frequency) -> Frequency:
    """``q`` in the fall-off ``exp(-q dose)`` at a frequency above 0 in 1/Angstrom."""
    return 0.5 / critical_exposure(frequency)
