"""From image transforms to what the gridding spreads: CTF, shift and noise weights, in numba."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from ..optics import Optics

# sin(2 pi x) / x as a polynomial in x^2 below its highest power, for |x| <= 1/4: Taylor, 6e-8
SINE = tuple(
    np.float32(c)
    for c in (42.058693945, -76.7058597531, 81.6052492761, -41.3417022404, 6.28318530718)
)
_ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a double to the nearest integer


def optics_columns(optics: Optics) -> NDArray[np.float64]:
    """The optics of n particles as (n, 9) float64, in the order that `weigh` reads."""
    columns = (
        optics.of_group("pixel_size"), optics.of_group("wavelength"),
        optics.of_group("spherical_aberration"),
        0.5 * (optics.defocus_u + optics.defocus_v), 0.5 * (optics.defocus_u - optics.defocus_v),
        optics.defocus_angle,
        optics.phase_shift + torch.asin(optics.of_group("amplitude_contrast")),
        optics.b_factor, optics.scale,
    )  # fmt: skip
    return torch.stack(columns, -1).double().numpy()


@njit(inline="always")
def contrast_polynomial(optics, box):
    """The CTF of one row of `optics_columns` in pixel frequencies of a ``box``, for `contrast_line`.

    Five coefficients of ``gamma / (2 pi)``, the exponent of the envelope, and its scale.
    """
    pixel, wavelength, aberration, mean, difference, angle, phase, b_factor, scale = optics
    frequency = 1.0 / (box * pixel)
    quadratic = 0.5 * wavelength * frequency**2
    return (
        quadratic * mean,
        quadratic * difference * math.cos(2.0 * angle),
        2.0 * quadratic * difference * math.sin(2.0 * angle),
        -0.25 * aberration * wavelength**3 * frequency**4,
        phase / (2.0 * math.pi),
        -0.25 * b_factor * frequency**2,
        np.float32(scale),
    )  # fmt: skip


@njit(inline="always")
def contrast_line(polynomial, ky, contrast):
    """Fill ``contrast`` with the CTF at (kx, ky), kx = 0, 1, ...: `optics.ctf`.

    The phase is reduced in double, the sine taken in single.
    """
    mean, xx_yy, xy, quartic, constant, damping, scale = polynomial
    n_half = contrast.shape[0]
    for kx in range(n_half):
        squared = float(kx * kx + ky * ky)
        turns = (
            mean * squared + xx_yy * (kx * kx - ky * ky) + xy * (kx * ky)
            + quartic * squared * squared + constant
        )  # fmt: skip
        turns = turns - ((turns + _ROUND) - _ROUND)
        x = np.float32(0.5 - abs(abs(turns) - 0.25) * 2.0)  # folded: sin(pi/2 * 2 x) below
        x = x * np.float32(0.5)
        s = x * x
        sine = np.float32(-15.0946425768)
        for coefficient in SINE:
            sine = sine * s + coefficient
        sine = sine * x
        contrast[kx] = sine if turns >= 0.0 else -sine
    if damping != 0.0:
        for kx in range(n_half):
            contrast[kx] *= np.float32(math.exp(damping * (kx * kx + ky * ky)))
    for kx in range(n_half):
        contrast[kx] *= scale


@njit(parallel=True, cache=True, error_model="numpy")
def weigh(transforms, optics, shifts, precision, group, radii, out, energy, count):
    """Fill ``out`` (n, d, d // 2 + 1, 3) with ``C e^{2 pi i k.c} y / s^2`` and ``C^2 / s^2``.

    ``energy`` (n,) becomes ``1/2 sum |y|^2 / s^2`` over both members of every Friedel pair with
    ``|k| < radii`` (n,) in pixel frequencies, ``count`` (n,) the number of its terms.

    ``transforms`` (n, d, d // 2 + 1): ``rfft2`` of the images. ``optics`` as `optics_columns`.
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
        total = 0.0
        terms = 0
        for row in range(box):
            ky = row if row < (box + 1) // 2 else row - box
            argument = turn * ky * (shifts[i, 1] - box // 2)
            ramp_y = np.complex64(complex(math.cos(argument), math.sin(argument)))
            contrast_line(polynomial, ky, contrast)
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
                value = raw * (ramp_x[kx] * ramp_y) * weight
                out[i, row, kx, 0] = value.real
                out[i, row, kx, 1] = value.imag
                out[i, row, kx, 2] = c * weight
        energy[i] = 0.5 * total
        count[i] = terms
