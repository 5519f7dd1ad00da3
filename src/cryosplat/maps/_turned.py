"""One half-map turned against the other, and what of their agreement shows a symmetry.

Under a rotation of the molecule's symmetry, half-map 2 agrees with half-map 1 as well as it does
unturned: both differences from the molecule are noise. That alone shows nothing. A round body agrees
with itself however it is turned, and a smooth one nearly; of apoferritin at 20 A nine tenths of the
agreement remain under any rotation. So the agreement is put on a scale on which a turn by any angle
about the same axis counts 0, and no turn 1. What noise does to it shows in the spread over shells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..grid import Grid
from .fsc import first_below, fourier_shell_correlation
from .mask import spherical_mask

Array = NDArray[Any]
FIRST_SHELL, LAST_SHELL = 2, 14
WORTH = 0.5  # FSC of the half-maps in the shells that count
ANGLES = 32  # about an axis: more than a map of so few shells has harmonics
LOST = 0.05  # of the agreement, that interpolation and an axis found on a grid may cost
DEVIATIONS = 2.0  # of what noise does, by which a symmetry may fall short
CERTAIN = 3.0  # of these, by which it must be nearer to no turn than to any turn


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a rotation is a symmetry: 1, ``share``, as half-maps agree, 0 as after any turn about
    its axis; ``doubt``: the standard error of that.
    """

    share: float
    doubt: float

    @property
    def holds(self) -> bool:
        """Whether the share is that of a symmetry, and the map is not too smooth to tell."""
        as_good = self.share + DEVIATIONS * self.doubt >= 1.0 - LOST
        return as_good and self.share - CERTAIN * self.doubt >= 0.5


@dataclass(frozen=True, slots=True)
class Turned:
    """Half-map 1 at ``points`` (m, 3) of its transform, and half-map 2 to be read at turned ones.

    ``padded``: the transform of half-map 2, twice as fine, the origin in its middle; ``shells`` (m,);
    ``last``: the last shell that counts, ``reference``: the FSC up to there; ``middle`` (3,): the
    centre of mass, in voxels.
    """

    points: Array
    shells: NDArray[np.int64]
    values: NDArray[np.complex128]
    padded: NDArray[np.complex128]
    box: int
    last: int
    reference: Array
    middle: Array

    @staticmethod
    def of(half1: Tensor, half2: Tensor) -> Turned:
        d = len(half1)
        # what turns into the corners of the box, or out of them, is no molecule
        ball = spherical_mask(Grid(d, 1.0), 0.4 * d, 0.1 * d)
        half1, half2 = half1 * ball, half2 * ball
        fsc = fourier_shell_correlation(half1, half2)
        last = min(first_below(fsc, WORTH) - 1, d // 2 - 1, LAST_SHELL)
        axis = np.arange(-last, last + 1)
        k = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
        shells = np.rint(np.sqrt((k**2).sum(1))).astype(np.int64)
        kept = (shells >= FIRST_SHELL) & (shells <= last) & _half(k)
        order = np.argsort(shells[kept], kind="stable")
        points, shells = k[kept][order].astype(float), shells[kept][order]
        padded = _padded(half2)
        values = _padded(half1)[tuple(2 * k[kept][order][:, ::-1].T + d)]
        reference = fsc[FIRST_SHELL : last + 1].numpy()
        middle = _centre_of_mass(half1 + half2)
        return Turned(points, shells, values, padded, d, last, reference, middle)

    @property
    def roundness(self) -> float:
        """How much of the agreement remains under any rotation."""
        if not len(self.reference):
            return 0.0
        turns = Rotation.random(ANGLES, random_state=1).as_matrix()
        return float(np.mean([self.agreement(turn, self.middle, self.last) for turn in turns]))

    def agreement(self, rotation: Array, centre: Array, last: int) -> float:
        """With half-map 2 turned about ``centre`` by ``rotation``: mean FSC over the reference."""
        return float(self.curve(rotation, centre, last).mean() / self.reference.mean())

    def curve(self, rotation: Array, centre: Array, last: int) -> Array:
        """The FSC of the shells from the first to the ``last``."""
        shift = 2.0 * math.pi / self.box * (centre - rotation @ centre)
        sums = np.zeros((3, last + 1))
        n = int(np.searchsorted(self.shells, last, side="right"))
        _products(self.padded, self.points[:n], self.shells, self.values, rotation, shift, sums)
        cross, own, other = sums[:, FIRST_SHELL:]
        return cross / np.sqrt(own * other + 1e-300)

    def proof(self, rotation: Array, centre: Array) -> Proof:
        """Whether ``rotation`` is a symmetry.

        The mean FSC over shells lies between that of the half-maps, where it is one, and the mean over
        turns by all angles about its axis, where it is none: what is round about the axis agrees under
        these too. The standard error is that of the mean difference from the half-maps' FSC, from its
        spread over the shells.
        """
        axis = Rotation.from_matrix(rotation).as_rotvec()
        axis /= np.linalg.norm(axis)
        angles = 2.0 * math.pi * np.arange(ANGLES) / ANGLES
        turns = Rotation.from_rotvec(angles[:, None] * axis).as_matrix()
        any_turn = np.mean([self.curve(turn, centre, self.last) for turn in turns], axis=0)
        lost = self.reference - self.curve(rotation, centre, self.last)
        scale = max(float((self.reference - any_turn).mean()), 1e-6)
        doubt = float(lost.std(ddof=1)) / math.sqrt(len(lost)) / scale
        return Proof(1.0 - float(lost.mean()) / scale, doubt)

    def of_group(
        self, operators: Array, frame: Array, centre: Array, last: int, enough: float = -math.inf
    ) -> float:
        """Mean agreement of ``operators`` (s, 3, 3) in ``frame``; given up below ``enough``."""
        values: list[float] = []
        for operator in operators:
            values.append(self.agreement(frame.T @ operator @ frame, centre, last))
            if values[-1] < enough:
                return -1.0
        return float(np.mean(values))


def _half(k: Array) -> NDArray[np.bool_]:
    x, y, z = k.T
    return (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))


def _padded(volume: Tensor) -> NDArray[np.complex128]:
    """The transform of a map, made for trilinear interpolation between half steps."""
    d = len(volume)
    factor = 1.0 / np.sinc((np.arange(d) - d // 2) / (2 * d)) ** 2
    whole = np.zeros((2 * d,) * 3)
    inner = slice(d - d // 2, d - d // 2 + d)
    filled = volume.double().numpy() * factor[:, None, None] * factor[:, None] * factor
    whole[inner, inner, inner] = filled
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(whole)))


@njit(cache=True, fastmath=True, error_model="numpy")
def _products(padded, points, shells, values, rotation, shift, sums):
    """Into ``sums`` (3, shells): cross products and powers of the values and of the turned map.

    The turned map at k is the map at R^T k, with the phase of its centre's shift.
    """
    middle = padded.shape[0] // 2
    for i in range(len(points)):
        k = points[i]
        x = 2.0 * (k[0] * rotation[0, 0] + k[1] * rotation[1, 0] + k[2] * rotation[2, 0]) + middle
        y = 2.0 * (k[0] * rotation[0, 1] + k[1] * rotation[1, 1] + k[2] * rotation[2, 1]) + middle
        z = 2.0 * (k[0] * rotation[0, 2] + k[1] * rotation[1, 2] + k[2] * rotation[2, 2]) + middle
        ix, iy, iz = int(x), int(y), int(z)
        fx, fy, fz = x - ix, y - iy, z - iz
        other = 0.0j
        for j in range(8):
            jx, jy, jz = j & 1, (j >> 1) & 1, (j >> 2) & 1
            w = (fx if jx else 1.0 - fx) * (fy if jy else 1.0 - fy) * (fz if jz else 1.0 - fz)
            other += w * padded[iz + jz, iy + jy, ix + jx]
        angle = k[0] * shift[0] + k[1] * shift[1] + k[2] * shift[2]
        other *= complex(math.cos(angle), -math.sin(angle))
        own, shell = values[i], shells[i]
        sums[0, shell] += own.real * other.real + own.imag * other.imag
        sums[1, shell] += own.real * own.real + own.imag * own.imag
        sums[2, shell] += other.real * other.real + other.imag * other.imag


def _centre_of_mass(volume: Tensor) -> Array:
    """Of what stands out of a map, (x, y, z) in voxels from the rotation centre."""
    density = (volume - volume.mean() - volume.std()).clamp_min(0.0).double()
    d = len(volume)
    axis = torch.arange(d, dtype=torch.float64) - d // 2
    total = density.sum().clamp_min(1e-30)
    sums = [(density.sum(tuple({0, 1, 2} - {i})) * axis).sum() / total for i in (2, 1, 0)]
    return np.array([float(s) for s in sums])
