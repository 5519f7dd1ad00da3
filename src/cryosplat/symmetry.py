"""Point groups: their names and rotations, about the axes that RELION gives them.

Cn: the n-fold axis on z. Dn: that, and a 2-fold axis on x. T: a 3-fold axis on z, a 2-fold axis in the
plane of y and z. O: 4-fold axes on x, y and z. I1 and I2: 2-fold axes on x, y and z, with 5-fold axes
in the plane of x and z at 31.7 degrees from x (I1) or from z (I2). I3 and I4: a 5-fold axis on z, with
the next one in the plane of x and z on the side of -x (I3) or +x (I4). I is I2. (RELION's manual,
conventions, and the matrices that ``relion_refine --sym NAME --print_symmetry_ops`` prints.)

A map V has the symmetry if ``V(S r) = V(r)`` for every rotation S of the group, so that a pose A and
``A S`` give the same image.
"""

from __future__ import annotations

import math
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .errors import SettingsError

LARGEST_FOLD = 99
GOLDEN = (1.0 + math.sqrt(5.0)) / 2.0
ALLOWED = f"C1 to C{LARGEST_FOLD}, D1 to D{LARGEST_FOLD}, T, O, I (that is I2), I1, I2, I3 or I4"
X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)

Axis = tuple[float, float, float]
Generator = tuple[Axis, int]
"""An axis, of any length, and how many times its rotation makes a turn."""

_POLYHEDRAL: dict[str, tuple[Generator, Generator]] = {
    "T": ((Z, 3), ((0.0, math.sqrt(2.0), 1.0), 2)),
    "O": ((Z, 4), (X, 4)),
    "I1": ((Z, 2), ((GOLDEN, 0.0, 1.0), 5)),
    "I2": ((Z, 2), ((1.0, 0.0, GOLDEN), 5)),
    "I3": ((Z, 5), ((2.0, 0.0, -1.0), 5)),
    "I4": ((Z, 5), ((2.0, 0.0, 1.0), 5)),
}


def symmetry_name(given: str) -> str:
    """The name of a point group in capitals, "I" as "I2".

    Raises `SettingsError` for anything that names no group of rotations.
    """
    name = given.strip().upper() if isinstance(given, str) else ""
    name = "I2" if name == "I" else name
    if name in _POLYHEDRAL or re.fullmatch(r"[CD][1-9][0-9]?", name, re.ASCII):
        return name
    raise SettingsError(f"symmetry is {given!r}, expected {ALLOWED}.")


def rotations_of(name: str) -> NDArray[np.float64]:
    """All rotations of a point group, (s, 3, 3), the identity first. Read-only.

    Raises `SettingsError` for an unknown name.
    """
    return _rotations(symmetry_name(name))


def order_of(name: str) -> int:
    """How many asymmetric units a map of this symmetry has."""
    return len(rotations_of(name))


def stored(gaussians: int, name: str) -> int:
    """How many Gaussians of one asymmetric unit stand for ``gaussians`` of the whole map."""
    return max(1, round(gaussians / order_of(name)))


def equivalent(
    rotations: NDArray[np.float64], name: str, random: np.random.Generator
) -> NDArray[np.float64]:
    """``A S`` for every pose A in ``rotations`` (n, 3, 3), each with an S at random.

    For a map of this symmetry the poses are the same; they are spread over all asymmetric units.
    """
    operators = rotations_of(name)
    return rotations @ operators[random.integers(len(operators), size=len(rotations))]


def subgroups(name: str) -> tuple[str, ...]:
    """C1, and the largest groups Cn and Dn about the same axes that are parts of a group, C1 first.

    A group with other parts, as O with D4 on three axes, is told those that have names here.
    """
    group = rotations_of(name)
    n = len(group)
    folds = [fold for fold in range(1, min(n, LARGEST_FOLD) + 1) if n % fold == 0]
    named = [f"{kind}{fold}" for kind in "CD" for fold in folds]
    parts = [part for part in named if order_of(part) < n and _holds(group, part)]
    largest = [p for p in parts if not any(p != q and _holds(rotations_of(q), p) for q in parts)]
    return tuple(dict.fromkeys(("C1", *largest))) if n > 1 else ()


def _holds(group: NDArray[np.float64], part: str) -> bool:
    """Whether all rotations of ``part`` are in ``group``."""
    apart = np.abs(group[:, None] - rotations_of(part)).max((2, 3))
    return bool((apart.min(0) < 1e-6).all())


@cache
def _rotations(name: str) -> NDArray[np.float64]:
    if name in _POLYHEDRAL:
        generators = _POLYHEDRAL[name]
    else:
        turn = (Z, int(name[1:]))
        generators = (turn,) if name[0] == "C" else (turn, (X, 2))
    group = _closed([_rotation(axis, fold) for axis, fold in generators])
    group.flags.writeable = False
    return group


def _rotation(axis: Axis, fold: int) -> NDArray[np.float64]:
    direction = np.array(axis) / np.linalg.norm(axis)
    return Rotation.from_rotvec(2.0 * math.pi / fold * direction).as_matrix()


def _closed(generators: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The group that the generators make, in the order in which their products appear."""
    found = [np.eye(3)]
    for rotation in found:  # grows while it is read
        for generator in generators:
            product = _exact(rotation @ generator)
            if not any(np.abs(product - known).max() < 1e-6 for known in found):
                found.append(product)
    return np.stack(found)


def _exact(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entries within rounding of 0, 1/2 and 1, and their negatives, made so."""
    halves = np.round(2.0 * matrix) / 2.0
    return np.where(np.abs(matrix - halves) < 1e-9, halves, matrix) + 0.0
