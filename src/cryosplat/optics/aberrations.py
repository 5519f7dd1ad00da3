"""Aberrations that all particles of an optics group share, and its anisotropic magnification.

In RELION's order and signs (Zivanov, Nakane & Scheres 2020, IUCrJ 7): Zernike polynomials,
unnormalised, of the frequency in 1/Angstrom after the magnification matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from ..poses import Poses
from .values import ISOTROPIC, Optics, OpticsGroup


def zernike(index: int, odd: bool) -> tuple[int, int]:
    """Order n and azimuthal m of coefficient ``index`` in RELION's lists of ``odd`` or even ones.

    Odd: (1, -1), (1, 1), (3, -3), (3, -1), (3, 1), ...; even: (0, 0), (2, -2), (2, 0), (2, 2), ...
    """
    n = 1 if odd else 0
    while index > n:
        index -= n + 1
        n += 2
    return n, 2 * index - n


def added(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    """The sum of two lists of coefficients of any length; () where all are zero."""
    total = tuple(a + b for a, b in zip_longest(first, second, fillvalue=0.0))
    return total if any(total) else ()


def beam_tilt(group: OpticsGroup, x: float, y: float) -> tuple[float, ...]:
    """The odd coefficients of a beam tilt (x, y) in radian: ``-2 pi Cs lambda^2 (t.s) |s|^2``.

    As RELION's ``TiltHelper::insertTilt``: third-order coma with the shift it comes with.
    """
    unit = -2.0 * math.pi * group.spherical_aberration * group.wavelength**2 / 3.0
    return (2.0 * unit * y, 2.0 * unit * x, 0.0, unit * y, unit * x, 0.0)


def pure_beam_tilt(group: OpticsGroup) -> tuple[float, float] | None:
    """The beam tilt (x, y) in radian that is all of a group's odd aberrations; None if it is not."""
    y, x = (*group.odd, *(0.0,) * 6)[3:5]
    _, _, _, _, unit, _ = beam_tilt(group, 1.0, 0.0)
    tilt = (x / unit, y / unit) if unit else (0.0, 0.0)
    expected = (*beam_tilt(group, *tilt), *(0.0,) * len(group.odd))
    scale = 1e-9 * max(map(abs, group.odd), default=0.0)
    same = all(abs(a - b) <= scale for a, b in zip(group.odd, expected, strict=False))
    return tilt if same else None


def _polynomial(coefficients: tuple[float, ...], frequencies: Tensor, odd: bool) -> Tensor:
    """Sum of Zernike polynomials at ``frequencies`` (..., 2) in 1/Angstrom, (...)."""
    x, y = frequencies.double().unbind(-1)
    squared = x.square() + y.square()
    total = torch.zeros_like(x)
    for index, coefficient in enumerate(coefficients):
        if coefficient == 0.0:
            continue
        n, m = zernike(index, odd)
        turned = torch.complex(x, y) ** abs(m)  # r^|m| (cos + i sin)(|m| phi)
        radial = torch.zeros_like(x)
        for k in range((n - abs(m)) // 2 + 1):
            factor = (-1) ** k * math.comb(n - k, k) * math.comb(n - 2 * k, (n - abs(m)) // 2 - k)
            radial = radial + factor * squared ** ((n - abs(m)) // 2 - k)
        total = total + coefficient * radial * (turned.real if m >= 0 else turned.imag)
    return total


def magnified(group: OpticsGroup, frequencies: Tensor) -> Tensor:
    """``M k`` for ``frequencies`` (..., 2)."""
    if group.magnification == ISOTROPIC:
        return frequencies
    matrix = torch.tensor(group.magnification, dtype=frequencies.dtype, device=frequencies.device)
    return frequencies @ matrix.reshape(2, 2).T


def odd_phase(group: OpticsGroup, frequencies: Tensor) -> Tensor:
    """Phase in radian that the group's odd aberrations add to a particle's transform, (...) float64.

    ``frequencies`` (..., 2) in 1/Angstrom, as they are in the image.
    """
    return _polynomial(group.odd, magnified(group, frequencies), odd=True)


def even_phase(group: OpticsGroup, frequencies: Tensor) -> Tensor:
    """What the group's even aberrations add to RELION's gamma, in radian, as `odd_phase`.

    RELION's CTF is ``-sin(gamma)``: a defocus lowers gamma, and so does a negative coefficient.
    """
    return _polynomial(group.even, magnified(group, frequencies), odd=False)


def seen_rotations(poses: Poses, optics: Optics) -> Poses:
    """``poses`` whose first two rows are ``M^T A``: what projects a particle into a stretched image.

    A point goes to ``M^T (A r)_xy``, so that frequency k samples the map at ``A^T M k``. The third
    row, the viewing direction, stays. The same object where no group is anisotropic.
    """
    if all(g.magnification == ISOTROPIC for g in optics.groups):
        return poses
    matrices = torch.tensor([g.magnification for g in optics.groups], dtype=torch.float64)
    stretch = matrices.to(poses.rotations).reshape(-1, 2, 2)[optics.group]
    top = stretch.transpose(1, 2) @ poses.rotations[:, :2]
    return Poses(torch.cat([top, poses.rotations[:, 2:]], 1), poses.shifts)
