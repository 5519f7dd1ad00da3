"""Polypeptides from ideal geometry: bond lengths, bond angles and the torsions of a fold.

Bond lengths and angles are Engh & Huber's (1991, Acta Cryst. A47, 392); torsions are those of the
textbook right-handed alpha-helix and of the antiparallel beta-strand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HELIX = (-65.0, -40.0)
STRAND = (-120.0, 130.0)
"""(phi, psi) in degrees; omega is 180."""
BOND_N_CA, BOND_CA_C, BOND_C_N, BOND_C_O = 1.458, 1.525, 1.329, 1.231
ANGLE_N_CA_C, ANGLE_CA_C_N, ANGLE_C_N_CA, ANGLE_CA_C_O = 109.7, 116.2, 121.7, 120.8


@dataclass(frozen=True, slots=True)
class Backbone:
    """n residues, each array (n, 3) in Angstrom; ``cb`` is the first atom of the side chain."""

    n: NDArray[np.float64]
    ca: NDArray[np.float64]
    c: NDArray[np.float64]
    o: NDArray[np.float64]
    cb: NDArray[np.float64]

    def placed(self, axes: NDArray[np.float64], centre: NDArray[np.float64]) -> Backbone:
        """Turned by the rotation matrix ``axes``, then moved by ``centre``."""
        atoms = (self.n, self.ca, self.c, self.o, self.cb)
        return Backbone(*(atom @ axes.T + centre for atom in atoms))


def segment(torsions: tuple[float, float], length: int) -> Backbone:
    """A straight segment of ``length`` >= 4 residues, its axis along z, its centre at the origin.

    The first side chain points along x, seen from the axis.
    """
    n, ca, c, o = _grow(torsions, length)
    b, d = ca - n, c - ca
    cb = -0.58273431 * np.cross(b, d) + 0.56802827 * b - 0.54067466 * d + ca
    raw = Backbone(n, ca, c, o, cb)
    # second differences along a screw point straight at its axis
    inward = ca[2:] - 2.0 * ca[1:-1] + ca[:-2]
    axis = np.cross(inward[0], inward[1])
    axis *= np.sign(axis @ (ca[-1] - ca[0])) / np.linalg.norm(axis)
    cosine = inward[0] @ inward[1] / (inward[0] @ inward[0])
    on_axis = ca[1] + inward[0] / (2.0 * (1.0 - cosine))
    centre = on_axis + axis * (axis @ (ca.mean(0) - on_axis))
    side = cb[0] - ca[0]
    side = side - axis * (axis @ side)
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(axis, side), axis])
    return raw.placed(axes, -axes @ centre)


def _grow(torsions: tuple[float, float], length: int) -> tuple[NDArray[np.float64], ...]:
    phi, psi = torsions
    n, ca = np.zeros(3), np.array([BOND_N_CA, 0.0, 0.0])
    bend = math.radians(180.0 - ANGLE_N_CA_C)
    c = ca + BOND_CA_C * np.array([math.cos(bend), math.sin(bend), 0.0])
    atoms = []
    for _ in range(length):
        following = _next_atom(n, ca, c, BOND_C_N, ANGLE_CA_C_N, psi)
        o = _next_atom(n, ca, c, BOND_C_O, ANGLE_CA_C_O, psi + 180.0)
        atoms.append((n, ca, c, o))
        next_ca = _next_atom(ca, c, following, BOND_N_CA, ANGLE_C_N_CA, 180.0)
        c = _next_atom(c, following, next_ca, BOND_CA_C, ANGLE_N_CA_C, phi)
        n, ca = following, next_ca
    return tuple(np.array(column) for column in zip(*atoms, strict=True))


def _next_atom(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    bond: float,
    angle: float,
    torsion: float,
) -> NDArray[np.float64]:
    """The atom bound to ``c`` with the given bond length, bond angle and torsion (degrees)."""
    angle, torsion = math.radians(angle), math.radians(torsion)
    forward = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, forward)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, forward)
    return c + bond * (
        -math.cos(angle) * forward
        + math.sin(angle) * math.cos(torsion) * across
        + math.sin(angle) * math.sin(torsion) * normal
    )
