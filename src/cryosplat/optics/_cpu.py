"""The response and its uses in one pass over the images, in numba: `_reference` line by line."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .dose import CRITICAL, LEAST_FREQUENCY
from .processing import CODES, FAINTEST, ZERO

PARTS = 4  # an image is cut into so many runs of rows, for threads to share a single image
# sin(2 pi x) / x as a polynomial in x^2 below its highest power, for |x| <= 1/4: Taylor, 6e-8
_SINE = tuple(
    np.float32(c)
    for c in (42.058693945, -76.7058597531, 81.6052492761, -41.3417022404, 6.28318530718)
)
_HIGHEST = np.float32(-15.0946425768)
_ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a double to the nearest integer
_FACTOR, _POWER, _CONSTANT = CRITICAL
_FLIPPED, _MULTIPLIED = CODES["phase-flipped"], CODES["premultiplied"]
_ZERO, _FAINTEST = np.float32(ZERO), np.float32(FAINTEST)


@njit(inline="always")
def ctf_polynomial(row, box):
    """The CTF of one of `Columns.rows` in pixel frequencies k of a ``box``, for `ctf_line`.

    Of ``gamma / (2 pi)`` the coefficients of kx^2, kx ky, ky^2, of ``|M k|^4`` and the constant; the
    exponents of envelope and dose, the scale, and ``|M k|^2`` as coefficients of kx^2, kx ky, ky^2.
    """
    (pixel, wavelength, aberration, mean, difference, angle, phase, b_factor, scale, dose,
     m00, m01, m10, m11) = row  # fmt: skip
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
def ctf_line(polynomial, ky, even, ctf, most):
    """Fill ``ctf`` and its envelope ``most`` at (kx, ky), kx = 0, 1, ...; ``even`` in turns there.

    The phase is reduced in double, the sine taken in single.
    """
    xx, xy, yy, quartic, constant, damping, dose, frequency, scale, p, q, r = polynomial
    width = ctf.shape[0]
    most[:] = scale
    if dose > 0.0:
        for kx in range(width):
            squared = p * (kx * kx) + q * (kx * ky) + r * (ky * ky)
            s = max(math.sqrt(squared) * frequency, LEAST_FREQUENCY)
            most[kx] *= np.float32(math.exp(-0.5 * dose / (_FACTOR * s**_POWER + _CONSTANT)))
    elif damping != 0.0:
        for kx in range(width):
            squared = p * (kx * kx) + q * (kx * ky) + r * (ky * ky)
            most[kx] *= np.float32(math.exp(damping * squared))
    for kx in range(width):
        x2, across, y2 = float(kx * kx), float(kx * ky), float(ky * ky)
        squared = p * x2 + q * across + r * y2
        turns = xx * x2 + xy * across + yy * y2 + quartic * squared * squared + constant
        turns = turns + even[kx]
        turns = turns - ((turns + _ROUND) - _ROUND)
        x = np.float32(0.5 - abs(abs(turns) - 0.25) * 2.0)  # folded: sin(pi/2 * 2 x) below
        x = x * np.float32(0.5)
        s = x * x
        sine = _HIGHEST
        for coefficient in _SINE:
            sine = sine * s + coefficient
        sine = sine * x * most[kx]
        ctf[kx] = sine if turns >= 0.0 else -sine


@njit(inline="always")
def begin(columns, i, box):
    """The polynomial of particle ``i`` and working memory, the ramp of its shift along x in it."""
    n_half = box // 2 + 1
    lines = np.zeros((7, n_half), np.float32)
    for kx in range(n_half):
        turn = 2.0 * math.pi / box * kx * columns.shifts[i, 0]
        lines[0, kx], lines[1, kx] = math.cos(turn), math.sin(turn)
    return ctf_polynomial(columns.rows[i], box), lines


@njit(inline="always")
def response_line(columns, i, polynomial, lines, row, ky, width, box):
    """CTF of a row of frequencies (width,), its envelope, and both parts of the other phases."""
    cosines, sines, nothing = lines[0, :width], lines[1, :width], lines[2, :width]
    ctf, most, re, im = lines[3, :width], lines[4, :width], lines[5, :width], lines[6, :width]
    turn = 2.0 * math.pi / box * ky * columns.shifts[i, 1]
    c, s = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    for kx in range(width):
        re[kx] = c * cosines[kx] - s * sines[kx]
        im[kx] = c * sines[kx] + s * cosines[kx]
    plane = columns.plane[i]
    if plane < 0:
        ctf_line(polynomial, ky, nothing, ctf, most)
    else:
        ctf_line(polynomial, ky, columns.even[plane, row], ctf, most)
        for kx in range(width):
            x, y, factor = re[kx], im[kx], columns.odd[plane, row, kx]
            re[kx] = x * factor.real - y * factor.imag
            im[kx] = x * factor.imag + y * factor.real
    return ctf, most, re, im


@njit(inline="always")
def flip(ctf, flipped):
    """A CTF becomes that of images with flipped phases."""
    if flipped:
        for kx in range(ctf.shape[0]):
            ctf[kx] = abs(ctf[kx])


@njit(inline="always")
def undone(ctf, most):
    """`processing.undone` of a premultiplied image."""
    most = max(abs(most), _FAINTEST)
    share = ctf / most
    return share / (share * share + _ZERO * _ZERO) / most


@njit(inline="always")
def row_frequency(row, box):
    """``ky`` of a row of a transform."""
    return row if row < (box + 1) // 2 else row - box


@njit(inline="always")
def row_width(ky, radius, n_half):
    """How many frequencies of a row have ``|k| < radius``."""
    room = radius * radius - ky * ky
    return min(n_half, math.ceil(math.sqrt(room))) if room > 0.0 else 0


@njit(inline="always")
def shell_of(kx, ky):
    """``round(|k|)``."""
    return int(math.sqrt(np.float32(kx * kx + ky * ky)) + np.float32(0.5))


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def image_ctf(columns, values):
    """`operators.image_ctf` into ``values``."""
    n, box = values.shape[:2]
    for i in prange(n):
        polynomial, lines = begin(columns, i, box)
        plane = columns.plane[i]
        for row in range(box):
            even = lines[2] if plane < 0 else columns.even[plane, row]
            ctf_line(polynomial, row_frequency(row, box), even, values[i, row], lines[4])


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def form(slices, columns, spectra, conjugate):
    """`_reference.form` into ``spectra``; with the response's conjugate, its adjoint."""
    n, box, n_half = slices.shape
    sign = np.float32(-1.0 if conjugate else 1.0)
    for i in prange(n):
        polynomial, lines = begin(columns, i, box)
        for row in range(box):
            ky = row_frequency(row, box)
            width = row_width(ky, 0.5 * box, n_half)
            ctf, _, re, im = response_line(columns, i, polynomial, lines, row, ky, width, box)
            for kx in range(width):
                factor = complex(ctf[kx] * re[kx], sign * ctf[kx] * im[kx])
                spectra[i, row, kx] = np.complex64(factor) * slices[i, row, kx]
            spectra[i, row, width:] = 0.0


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def weigh(transforms, columns, precision, radii, values, energy, count):
    """`_reference.weigh`: fills ``values``, ``energy`` and ``count``."""
    n, box, n_half = transforms.shape
    last = precision.shape[1] - 1
    for i in prange(n):
        polynomial, lines = begin(columns, i, box)
        weights = precision[columns.group[i]]
        multiplied = columns.processing[i] == _MULTIPLIED
        total = 0.0
        terms = 0
        for row in range(box):
            ky = row_frequency(row, box)
            width = row_width(ky, radii[i], n_half)
            ctf, most, re, im = response_line(columns, i, polynomial, lines, row, ky, width, box)
            flip(ctf, columns.processing[i] == _FLIPPED)
            subtotal = np.float32(0.0)
            for kx in range(width):
                weight = weights[min(shell_of(kx, ky), last)]
                raw = transforms[i, row, kx]
                pair = np.float32(1.0 if kx == 0 else 2.0)
                power = raw.real * raw.real + raw.imag * raw.imag
                factor = ctf[kx]
                if multiplied:
                    factor = np.float32(1.0)
                    inverse = undone(ctf[kx], most[kx])
                    power *= inverse * inverse
                subtotal += pair * weight * power
                factor *= weight
                values[i, row, kx, 0] = factor * (re[kx] * raw.real + im[kx] * raw.imag)
                values[i, row, kx, 1] = factor * (re[kx] * raw.imag - im[kx] * raw.real)
                values[i, row, kx, 2] = weight * ctf[kx] * ctf[kx]
            values[i, row, width:] = 0.0
            total += subtotal
            terms += max(2 * width - 1, 0)
        energy[i] = 0.5 * total
        count[i] = terms


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def residuals(spectra, data, columns, precision, radius, losses):
    """`_reference.residuals_`: ``spectra`` become the derivative, ``losses`` (n, PARTS) its parts."""
    n, box, n_half = spectra.shape
    last = precision.shape[1] - 1
    for job in prange(n * PARTS):
        i, part = job // PARTS, job % PARTS
        polynomial, lines = begin(columns, i, box)
        weights = precision[columns.group[i]]
        multiplied = columns.processing[i] == _MULTIPLIED
        total = 0.0
        for row in range(part * box // PARTS, (part + 1) * box // PARTS):
            ky = row_frequency(row, box)
            width = row_width(ky, radius, n_half)
            ctf, most, re, im = response_line(columns, i, polynomial, lines, row, ky, width, box)
            flip(ctf, columns.processing[i] == _FLIPPED)
            subtotal = np.float32(0.0)
            for kx in range(width):
                weight = weights[min(shell_of(kx, ky), last)]
                model, image = spectra[i, row, kx], data[i, row, kx]
                c = ctf[kx]
                x = re[kx] * model.real - im[kx] * model.imag
                y = re[kx] * model.imag + im[kx] * model.real
                inverse, lack = np.float32(1.0), np.float32(0.0)
                if multiplied:
                    inverse = undone(c, most[kx])
                    lack = c * inverse - np.float32(1.0)
                a, b = c * x - inverse * image.real, c * y - inverse * image.imag
                pair = np.float32(1.0 if kx == 0 else 2.0)
                square = a * a + b * b
                square += np.float32(2.0) * lack * (image.real * x + image.imag * y)
                subtotal += pair * weight * square
                a, b = c * a + lack * image.real, c * b + lack * image.imag
                spectra[i, row, kx] = complex(
                    weight * (re[kx] * a + im[kx] * b), weight * (re[kx] * b - im[kx] * a)
                )
            spectra[i, row, width:] = 0.0
            total += subtotal
        losses[i, part] = 0.5 * total
