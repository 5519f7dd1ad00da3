"""Which point group a map has, and about which axes: found by turning one half-map against the other.

Turned by a rotation of the molecule's symmetry, half-map 2 agrees with half-map 1 as well as it does
unturned. The measure is the mean FSC over shells, in parts of that of the half-maps as they are, so
that noise counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from numba import njit
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from .. import fourier
from ..symmetry import order_of, rotations_of, symmetry_name
from .fsc import fourier_shell_correlation

Array = NDArray[Any]
FOLDS = tuple(range(2, 13))
POLYHEDRAL = ("T", "O", "I2")
BOX = 32  # voxels of the maps that are compared
ENOUGH = 0.8  # of the agreement of the half-maps as they are
CLOSE = 0.08  # how much worse a rotation of a larger group may agree than the best of all
NEARLY = 0.5  # what a coarse search has to reach to be refined
FIRST_SHELL, COARSE_SHELL, LAST_SHELL = 2, 6, 14
WORTH = 0.5  # FSC of the half-maps in the shells that count
AXES, FRAMES, ANGLES = 800, 3000, 60
OPERATORS = 12  # of a group, that it is measured by
BEST = 3  # of a coarse search, refined
STEP, SMALLEST = math.radians(6.0), math.radians(0.3)


@dataclass(frozen=True, slots=True)
class PointGroup:
    """A point group ``name``, and where it is in a map: voxel offsets r (x, y, z) from the rotation
    centre go to ``rotation @ (r - centre)``, in which the axes are RELION's.

    ``agreement``: of the half-maps when one is turned by the group, in parts of that when it is not; of
    the rotation that agrees least.
    ``tried`` holds it for the best of each group that was looked at.
    """

    name: str
    rotation: Array
    centre: Array
    agreement: float
    tried: dict[str, float]


def find_point_group(half1: Tensor, half2: Tensor, name: str | None = None) -> PointGroup:
    """The largest point group that two half-maps (d, d, d) show; C1 where they show none.

    With a ``name``: the best axes for that group, however well it fits. Groups that a molecule nearly
    has are told from those that it has as far as the half-maps agree.
    """
    d = len(half1)
    box = min(d, BOX)
    turned = _Turned.of(*(fourier.resample(half, box, 3) for half in (half1, half2)))
    fits = _all_fits(turned) if name is None else [_fit_of(turned, symmetry_name(name))]
    tried = {fit.name: round(fit.agreement, 3) for fit in fits}
    least = max(ENOUGH, max((fit.agreement for fit in fits), default=0.0) - CLOSE)
    enough = [fit for fit in fits if fit.agreement >= least or name is not None]
    if not enough or name == "C1":
        return PointGroup("C1", np.eye(3), np.zeros(3), 1.0, tried)
    best = max(enough, key=lambda fit: (order_of(fit.name), fit.agreement))
    return PointGroup(best.name, best.frame, best.centre * d / box, best.agreement, tried)


def _all_fits(turned: _Turned) -> list[_Fit]:
    """The best axes of all groups that the map may have."""
    if turned.reference <= 0.0:
        return []
    cyclic = [fit for fold in FOLDS if (fit := _cyclic(turned, f"C{fold}", NEARLY)) is not None]
    good = [fit for fit in cyclic if fit.agreement >= ENOUGH]
    fits = [*cyclic, *(_dihedral(turned, fit) for fit in good)]
    return fits + ([_polyhedral(turned, name) for name in POLYHEDRAL] if good else [])


def _fit_of(turned: _Turned, name: str) -> _Fit:
    """The best axes of the group ``name``."""
    if name[0] not in "CD" or name in ("C1", "D1"):
        return _polyhedral(turned, name)
    cyclic = _cyclic(turned, f"C{name[1:]}", -math.inf)
    assert cyclic is not None
    return cyclic if name[0] == "C" else _dihedral(turned, cyclic)


@dataclass(frozen=True, slots=True)
class _Fit:
    """A group with its ``frame`` Q, which turns the map's axes to the group's, and its ``centre``."""

    name: str
    frame: Array
    centre: Array
    agreement: float


@dataclass(frozen=True, slots=True)
class _Turned:
    """Half-map 1 at ``points`` (m, 3) of its transform, and half-map 2 to be read at turned ones.

    ``padded``: the transform of half-map 2, twice as fine, the origin in its middle; ``shells`` (m,);
    ``last``: the last shell that counts; ``middle`` (3,): the centre of mass, in voxels.
    """

    points: Array
    shells: NDArray[np.int64]
    values: NDArray[np.complex128]
    padded: NDArray[np.complex128]
    box: int
    last: int
    reference: float
    middle: Array

    @staticmethod
    def of(half1: Tensor, half2: Tensor) -> _Turned:
        d = len(half1)
        fsc = fourier_shell_correlation(half1, half2).numpy()
        below = np.flatnonzero(fsc[1:] < WORTH)
        last = int(min(below[0] if len(below) else d // 2, d // 2 - 1, LAST_SHELL))
        axis = np.arange(-last, last + 1)
        k = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
        shells = np.rint(np.sqrt((k**2).sum(1))).astype(np.int64)
        kept = (shells >= FIRST_SHELL) & (shells <= last) & _half(k)
        order = np.argsort(shells[kept], kind="stable")
        points, shells = k[kept][order].astype(float), shells[kept][order]
        padded = _padded(half2)
        values = _padded(half1)[tuple(2 * k[kept][order][:, ::-1].T + d)]
        reference = float(fsc[FIRST_SHELL : last + 1].mean()) if last >= FIRST_SHELL else 0.0
        middle = _centre_of_mass(half1 + half2)
        return _Turned(points, shells, values, padded, d, last, reference, middle)

    def agreement(self, rotation: Array, centre: Array, last: int) -> float:
        """With half-map 2 turned about ``centre`` by ``rotation``: mean FSC over the reference."""
        shift = 2.0 * math.pi / self.box * (centre - rotation @ centre)
        sums = np.zeros((3, last + 1))
        n = int(np.searchsorted(self.shells, last, side="right"))
        _products(self.padded, self.points[:n], self.shells, self.values, rotation, shift, sums)
        cross, own, other = sums[:, FIRST_SHELL:]
        return float((cross / np.sqrt(own * other + 1e-300)).mean()) / self.reference

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


def _generators(name: str) -> Array:
    """Few rotations of a group that make all others."""
    group = rotations_of(name)
    if len(group) < 3 or name[0] == "C":
        return group[-1:] if len(group) < 3 else group[1:2]
    apart = np.abs(np.einsum("sii->s", group))
    return group[[1, int(np.argmin(np.where(np.arange(len(group)) > 1, apart, np.inf)))]]


def _operators(name: str) -> Array:
    """Rotations of a group, the identity left out, few enough to try again and again."""
    group = rotations_of(name)[1:]
    if not len(group):
        return rotations_of(name)
    some = np.unique(np.linspace(0, len(group) - 1, OPERATORS).round().astype(int))
    return group[some]


def _cyclic(turned: _Turned, name: str, nearly: float) -> _Fit | None:
    """The best axis of a cyclic group; None where a coarse search shows less than ``nearly``."""
    frames = [_frame_to(axis) for axis in _directions(AXES)]
    return _best(turned, name, frames, nearly)


def _dihedral(turned: _Turned, cyclic: _Fit) -> _Fit:
    """The best two-fold axes across that of a cyclic group."""
    name = "D" + cyclic.name[1:]
    angles = np.arange(ANGLES) * math.pi / ANGLES
    frames = [Rotation.from_rotvec([0.0, 0.0, a]).as_matrix() @ cyclic.frame for a in angles]
    return _best(turned, name, frames, -math.inf, cyclic.centre) or cyclic


def _polyhedral(turned: _Turned, name: str) -> _Fit:
    frames = list(Rotation.random(FRAMES, random_state=0).as_matrix())
    fit = _best(turned, name, frames, -math.inf)
    assert fit is not None
    return fit


def _best(
    turned: _Turned, name: str, frames: Sequence[Array], nearly: float, centre: Array | None = None
) -> _Fit | None:
    """The best of ``frames`` for a group: coarsely by its generators, then refined by all of it."""
    centre = turned.middle if centre is None else centre
    coarse = min(COARSE_SHELL, turned.last)
    generators = _generators(name)
    scores = [
        turned.of_group(generators, frame, centre, coarse, enough=0.3 * NEARLY) for frame in frames
    ]
    order = np.argsort(scores)[::-1][:BEST]
    if scores[order[0]] < nearly:
        return None
    return max((_refined(turned, name, frames[i], centre) for i in order), key=_by_agreement)


def _by_agreement(fit: _Fit) -> float:
    return fit.agreement


def _refined(turned: _Turned, name: str, frame: Array, centre: Array) -> _Fit:
    """Frame and centre moved, one axis after the other, as long as the agreement rises."""
    operators = _operators(name)
    step, last = STEP, min(COARSE_SHELL, turned.last)
    while step > SMALLEST:
        value = turned.of_group(operators, frame, centre, last)
        moved = False
        for new_frame, new_centre in _moves(frame, centre, step, turned.box):
            new = turned.of_group(operators, new_frame, new_centre, last)
            if new > value + 1e-6:
                value, frame, centre, moved = new, new_frame, new_centre, True
        if not moved:
            step, last = 0.5 * step, turned.last
    worst = min(
        turned.of_group(operators[[i]], frame, centre, turned.last) for i in range(len(operators))
    )
    return _Fit(name, frame, centre, worst)


def _moves(frame: Array, centre: Array, step: float, box: int) -> Iterator[tuple[Array, Array]]:
    """Small turns of the frame about its axes, and small shifts along them."""
    for sign in (1.0, -1.0):
        for axis in np.eye(3):
            yield Rotation.from_rotvec(sign * step * axis).as_matrix() @ frame, centre
            yield frame, centre + sign * step * 0.15 * box * (frame.T @ axis)


def _frame_to(axis: Array) -> Array:
    """A rotation that takes ``axis`` to z."""
    x = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(axis, x), axis])


def _directions(n: int) -> Array:
    """Directions on a half sphere, evenly on a spiral, (n, 3)."""
    z = (np.arange(n) + 0.5) / n
    angle = np.arange(n) * math.pi * (3.0 - math.sqrt(5.0))
    r = np.sqrt(1.0 - z**2)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], 1)


def symmetrised(volume: Tensor, group: PointGroup) -> Tensor:
    """A map turned so that its axes are RELION's, and averaged over the group."""
    d = len(volume)
    axis = np.arange(d) - d // 2
    r = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    spline = scipy.ndimage.spline_filter(volume.double().numpy(), order=3)
    total = np.zeros(d**3)
    operators = rotations_of(group.name)
    for operator in operators:
        # the value at r is that of the map at Q^T S r + centre
        at = r @ (operator.T @ group.rotation) + group.centre + d // 2
        total += scipy.ndimage.map_coordinates(spline, at[:, ::-1].T, order=3, prefilter=False)
    return torch.from_numpy((total / len(operators)).reshape(d, d, d)).to(volume.dtype)
