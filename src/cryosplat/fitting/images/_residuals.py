"""From the transforms of rendered images to residuals and what descends on them, in one pass.

Each image meets its CTF, its shift and the weights of its noise here; the residual never leaves
Fourier space. The sums are those of `statistics`: the same band, the same pairs, the same CTF.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from ...formation import response
from ...grid import Grid, radial_shells, squared_radii
from ...optics import Optics
from ...poses import Poses
from ...statistics._weighting import contrast_line, contrast_polynomial

PARTS = 4  # an image is cut into so many runs of rows, for threads to share a single image


@dataclass(frozen=True, slots=True)
class Band:
    """The frequencies of images on ``grid`` that are compared, those with ``|k| < radius`` pixels.

    ``counts`` (d, d // 2 + 1) float64: how often each one of a half transform counts: 2, or 1 in the
    column ``kx = 0``, which holds both members of its Friedel pairs, or 0; ``n_frequencies`` is their
    sum. ``shells``: the shells they are in.
    """

    grid: Grid
    radius: float
    counts: Tensor
    shells: Tensor
    n_frequencies: int

    @staticmethod
    def of(grid: Grid, radius: float, device: torch.device) -> Band:
        """The band up to ``radius``."""
        counts = 2.0 * (squared_radii((grid.box_size,) * 2) < radius**2)
        counts[:, 0] *= 0.5
        shells = radial_shells((grid.box_size,) * 2).clamp_max(grid.box_size // 2)
        return Band(grid, radius, counts.to(device), shells.to(device), int(counts.sum()))


def residuals(
    spectra: Tensor,
    data: Tensor,
    poses: Poses,
    optics: Optics,
    certainty: Tensor,
    band: Band,
) -> tuple[Tensor, Tensor]:
    """Half the weighted squared residual of each image (n,), and its derivative: the definition.

    ``spectra`` (n, d, d // 2 + 1): transforms of rendered images X, the particle at the rotation
    centre; ``data`` those of the images; ``certainty`` (g, shells): 1 / s^2 of each optics group.
    The derivative is ``conj(H) (H X - Y) / s^2`` with H the CTF times the phases of shift and odd
    aberrations; its
    unnormalised inverse transform is the gradient by the rendered pixels.
    """
    seen = response(poses, optics, band.grid.pixel_size, band.grid.box_size).to(spectra)
    weights = certainty[optics.group][:, band.shells] * (band.counts > 0.0)
    difference = seen * spectra - data
    squares = band.counts * weights * difference.abs().square()
    losses = 0.5 * squares.sum((1, 2), dtype=torch.float64)
    return losses, seen.conj() * difference * weights.to(seen.real.dtype)


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def residuals_cpu(
    spectra, data, optics, plane, even, odd, shifts, certainty, group, radius, losses
):
    """`residuals` in place: ``spectra`` become the derivative, ``losses`` (n, PARTS) its parts.

    ``spectra`` and ``data`` (n, d, d // 2 + 1, 2) float32: real and imaginary parts; ``optics``
    as `optics_columns`; ``plane``, ``even``, ``odd`` as `Aberrations`; ``shifts`` (n, 2) in pixels.
    """
    n, box, n_half, _ = spectra.shape
    last = certainty.shape[1] - 1
    for job in prange(n * PARTS):
        i, part = job // PARTS, job % PARTS
        polynomial = contrast_polynomial(optics[i], box)
        turn = 2.0 * math.pi / box
        contrast = np.empty(n_half, np.float32)
        cosines = np.empty(n_half, np.float32)
        sines = np.empty(n_half, np.float32)
        re = np.empty(n_half, np.float32)
        im = np.empty(n_half, np.float32)
        nothing = np.zeros(n_half, np.float32)
        for kx in range(n_half):
            argument = turn * kx * shifts[i, 0]
            cosines[kx] = math.cos(argument)
            sines[kx] = math.sin(argument)
        weights = certainty[group[i]]
        total = 0.0
        for row in range(part * box // PARTS, (part + 1) * box // PARTS):
            ky = row if row < (box + 1) // 2 else row - box
            room = radius * radius - ky * ky
            width = 0
            if room > 0.0:
                width = min(n_half, math.ceil(math.sqrt(room)))
            line, measured = spectra[i, row], data[i, row]
            argument = turn * ky * shifts[i, 1]
            c, s = np.float32(math.cos(argument)), np.float32(math.sin(argument))
            for kx in range(width):
                re[kx] = c * cosines[kx] - s * sines[kx]
                im[kx] = c * sines[kx] + s * cosines[kx]
            if plane[i] < 0:
                contrast_line(polynomial, ky, nothing, contrast[:width])
            else:
                contrast_line(polynomial, ky, even[plane[i], row], contrast[:width])
                for kx in range(width):
                    factor = odd[plane[i], row, kx]
                    x, y = re[kx], im[kx]
                    re[kx] = x * factor.real - y * factor.imag
                    im[kx] = x * factor.imag + y * factor.real
            subtotal = np.float32(0.0)
            for kx in range(width):
                shell = int(math.sqrt(np.float32(kx * kx + ky * ky)) + np.float32(0.5))
                weight = weights[min(shell, last)]
                seen_re, seen_im = contrast[kx] * re[kx], contrast[kx] * im[kx]
                x, y = line[kx, 0], line[kx, 1]
                a = seen_re * x - seen_im * y - measured[kx, 0]
                b = seen_re * y + seen_im * x - measured[kx, 1]
                pair = np.float32(1.0) if kx == 0 else np.float32(2.0)
                subtotal += pair * weight * (a * a + b * b)
                line[kx, 0] = weight * (seen_re * a + seen_im * b)
                line[kx, 1] = weight * (seen_re * b - seen_im * a)
            for kx in range(width, n_half):
                line[kx, 0] = 0.0
                line[kx, 1] = 0.0
            total += subtotal
        losses[i, part] = 0.5 * total
