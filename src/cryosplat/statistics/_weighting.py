"""From image transforms to what the gridding spreads: CTF, shift and noise weights, in numba."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from ..optics import Optics, OpticsGroup, even_phase, odd_phase

# sin(2 pi x) / x as a polynomial in x^2 below its highest power, for |x| <= 1/4: Taylor, 6e-8
SINE = tuple(
    np.float32(c)
    for c in (42.058693945, -76.7058597531, 81.6052492761, -41.3417022404, 6.28318530718)
)
_ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a double to the nearest integer


def optics_columns(optics: Optics) -> NDArray[np.float64]:
    """The optics of n particles as (n, 14) float64, in the order that `contrast_polynomial` reads."""
    of_groups = np.array([g.magnification for g in optics.groups])[optics.group.numpy()]
    columns = (
        optics.of_group("pixel_size"), optics.of_group("wavelength"),
        optics.of_group("spherical_aberration"),
        0.5 * (optics.defocus_u + optics.defocus_v), 0.5 * (optics.defocus_u - optics.defocus_v),
        optics.defocus_angle,
        optics.phase_shift + torch.asin(optics.of_group("amplitude_contrast")),
        optics.b_factor, optics.scale, optics.dose,
    )  # fmt: skip
    return np.concatenate([torch.stack(columns, -1).double().numpy(), of_groups], axis=1)


@dataclass(frozen=True, slots=True)
class Aberrations:
    """The aberrations of n particles as the kernels read them.

    ``plane`` (n,): the plane of each particle, -1 for none; ``even`` (m, d, d // 2 + 1) float32: what
    they add to ``gamma / (2 pi)`` but for whole turns, gamma in the sign of `optics.ctf`; ``odd``
    (m, d, d // 2 + 1) complex64: the factor of a particle's transform. ``rfft2`` layout.
    """

    plane: NDArray[np.int64]
    even: NDArray[np.float32]
    odd: NDArray[np.complex64]

    @staticmethod
    def of(optics: Optics, box: int) -> Aberrations:
        """Of images of a ``box``."""
        group = optics.group.numpy()
        plane = np.full(len(optics.groups), -1, np.int64)
        aberrant = [g for g in np.unique(group) if optics.groups[g].odd or optics.groups[g].even]
        plane[aberrant] = np.arange(len(aberrant))
        planes = [_planes(optics.groups[g], box) for g in aberrant]
        # a plane of zeros gives the kernels something to point at
        even = [p[0] for p in planes] or [np.zeros((box, box // 2 + 1), np.float32)]
        odd = [p[1] for p in planes] or [np.zeros((1, 1), np.complex64)]
        return Aberrations(plane[group], np.stack(even), np.stack(odd))


@lru_cache(maxsize=64)
def _planes(group: OpticsGroup, box: int) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
    ky = torch.fft.fftfreq(box, group.pixel_size, dtype=torch.float64)
    kx = torch.fft.rfftfreq(box, group.pixel_size, dtype=torch.float64)
    frequencies = torch.stack(torch.meshgrid(kx, ky, indexing="xy"), -1)
    turns = even_phase(group, frequencies) / (-2.0 * math.pi)
    turns = turns - turns.round()  # whole turns only cost digits
    factor = torch.exp(1j * odd_phase(group, frequencies))
    return turns.float().numpy(), factor.to(torch.complex64).numpy()


@njit(inline="always")
def contrast_polynomial(optics, box):
    """The CTF of one row of `optics_columns` in pixel frequencies k of a ``box``, for `contrast_line`.

    Of ``gamma / (2 pi)`` the coefficients of kx^2, kx ky, ky^2, of ``|M k|^4`` and the constant; the
    exponents of envelope and dose, the scale, and ``|M k|^2`` as coefficients of kx^2, kx ky, ky^2.
    """
    (pixel, wavelength, aberration, mean, difference, angle, phase, b_factor, scale, dose,
     m00, m01, m10, m11) = optics  # fmt: skip
    frequency = 1.0 / (box * pixel)
    quadratic = 0.5 * wavelength * frequency**2
    p, q, r = m00 * m00 + m10 * m10, 2.0 * (m00 * m01 + m10 * m11), m01 * m01 + m11 * m11
    cosine = quadratic * difference * math.cos(2.0 * angle)
    sine = 2.0 * quadratic * difference * math.sin(2.0 * angle)
    mean = quadratic * mean
    return (
        mean * p + cosine * (m00 * m00 - m10 * m10) + sine * m00 * m10,
        mean * q + 2.0 * cosine * (m00 * m01 - m10 * m11) + sine * (m00 * m11 + m01 * m10),
        mean * r + cosine * (m01 * m01 - m11 * m11) + sine * m01 * m11,
        -0.25 * aberration * wavelength**3 * frequency**4,
        phase / (2.0 * math.pi),
        -0.25 * b_factor * frequency**2,
        dose, frequency,
        np.float32(scale),
        p, q, r,
    )  # fmt: skip


@njit(inline="always")
def contrast_line(polynomial, ky, even, contrast):
    """Fill ``contrast`` with the CTF at (kx, ky), kx = 0, 1, ...: `optics.ctf`.

    ``even``: what the aberrations add to ``gamma / (2 pi)`` there. The phase is reduced in double,
    the sine taken in single.
    """
    xx, xy, yy, quartic, constant, damping, dose, frequency, scale, p, q, r = polynomial
    n_half = contrast.shape[0]
    for kx in range(n_half):
        x2, across, y2 = float(kx * kx), float(kx * ky), float(ky * ky)
        squared = p * x2 + q * across + r * y2
        turns = xx * x2 + xy * across + yy * y2 + quartic * squared * squared + constant
        turns = turns + even[kx]
        turns = turns - ((turns + _ROUND) - _ROUND)
        x = np.float32(0.5 - abs(abs(turns) - 0.25) * 2.0)  # folded: sin(pi/2 * 2 x) below
        x = x * np.float32(0.5)
        s = x * x
        sine = np.float32(-15.0946425768)
        for coefficient in SINE:
            sine = sine * s + coefficient
        sine = sine * x
        contrast[kx] = sine if turns >= 0.0 else -sine
    if dose > 0.0:
        for kx in range(n_half):
            squared = p * (kx * kx) + q * (kx * ky) + r * (ky * ky)
            frequencies = max(squared, 1e-12) * frequency * frequency
            lost = 0.5 / (0.245 * frequencies ** (-0.5 * 1.665) + 2.81)
            contrast[kx] *= np.float32(math.exp(-dose * lost))
    elif damping != 0.0:
        for kx in range(n_half):
            squared = p * (kx * kx) + q * (kx * ky) + r * (ky * ky)
            contrast[kx] *= np.float32(math.exp(damping * squared))
    for kx in range(n_half):
        contrast[kx] *= scale


@njit(parallel=True, cache=True, error_model="numpy")
def weigh(
    transforms, optics, plane, even, odd, shifts, precision, group, radii, out, energy, count
):
    """Fill ``out`` (n, d, d // 2 + 1, 3) with ``C e^{2 pi i k.c - i odd} y / s^2`` and ``C^2 / s^2``.

    ``energy`` (n,) becomes ``1/2 sum |y|^2 / s^2`` over both members of every Friedel pair with
    ``|k| < radii`` (n,) in pixel frequencies, ``count`` (n,) the number of its terms.

    ``transforms`` (n, d, d // 2 + 1): ``rfft2`` of the images. ``optics`` as `optics_columns`;
    ``plane``, ``even`` and ``odd`` as `Aberrations`.
    ``shifts`` (n, 2): RELION origins in pixels (x, y), the centre being pixel ``d // 2``.
    ``precision`` (g, shells): 1 / s^2 of each optics ``group`` (n,), s^2 = E|noise transform|^2.
    """
    n, box, n_half = transforms.shape
    for i in prange(n):
        polynomial = contrast_polynomial(optics[i], box)
        turn = -2.0 * math.pi / box
        ramp_x = np.empty(n_half, np.complex64)
        for kx in range(n_half):
            argument = turn * kx * (shifts[i, 0] - box // 2)
            ramp_x[kx] = complex(math.cos(argument), math.sin(argument))
        contrast = np.empty(n_half, np.float32)
        square = radii[i] * radii[i]
        nothing = np.zeros(n_half, np.float32)
        turned = np.empty(n_half, np.complex64)
        total = 0.0
        terms = 0
        for row in range(box):
            ky = row if row < (box + 1) // 2 else row - box
            argument = turn * ky * (shifts[i, 1] - box // 2)
            ramp_y = np.complex64(complex(math.cos(argument), math.sin(argument)))
            for kx in range(n_half):
                turned[kx] = ramp_x[kx] * ramp_y
            if plane[i] < 0:
                contrast_line(polynomial, ky, nothing, contrast)
            else:
                contrast_line(polynomial, ky, even[plane[i], row], contrast)
                for kx in range(n_half):
                    turned[kx] *= odd[plane[i], row, kx].conjugate()
            for kx in range(n_half):
                shell = min(int(math.sqrt(float(kx * kx + ky * ky)) + 0.5), precision.shape[1] - 1)
                c = contrast[kx]
                certainty = precision[group[i], shell]
                weight = c * certainty
                raw = transforms[i, row, kx]
                if kx * kx + ky * ky < square:
                    pair = 1 if kx == 0 else 2
                    total += pair * certainty * (raw.real * raw.real + raw.imag * raw.imag)
                    terms += pair
                value = raw * turned[kx] * weight
                out[i, row, kx, 0] = value.real
                out[i, row, kx, 1] = value.imag
                out[i, row, kx, 2] = c * weight
        energy[i] = 0.5 * total
        count[i] = terms
