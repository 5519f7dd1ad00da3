"""The contrast transfer function, in RELION's sign.

RELION's CTF is positive at low frequency for underfocus (``+amplitude_contrast`` at the origin), so
particles whose protein is bright need no sign change. cryoDRGN's CTF is exactly its negative.
(RELION, ``src/ctf.h``; Penczek 2010, Methods Enzymol. 482.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .aberrations import even_phase, magnified
from .dose import LEAST_FREQUENCY, dose_exponent
from .values import ISOTROPIC, Optics


def ctf(optics: Optics, frequencies: Tensor) -> Tensor:
    """The CTF of n particles at spatial ``frequencies`` (..., 2) as (x, y) in 1/Angstrom.

    Returns (n, ...), real and differentiable: `envelope` times the sine of a phase, which holds even
    aberrations; odd ones are phases of the image (`odd_phase`).
    """
    x, y = _magnified_by_particle(optics, frequencies).unbind(-1)
    u, v, angle, phase_shift = (
        _column(values, frequencies)
        for values in (optics.defocus_u, optics.defocus_v, optics.defocus_angle, optics.phase_shift)
    )
    wavelength, aberration, amplitude_contrast = (
        _column(optics.of_group(name), frequencies)
        for name in ("wavelength", "spherical_aberration", "amplitude_contrast")
    )
    squared = x.square() + y.square()
    # |s|^2 cos(2 (phi - angle)), written without an arctangent: smooth at the origin
    astigmatic = (x.square() - y.square()) * torch.cos(2 * angle) + 2 * x * y * torch.sin(2 * angle)
    gamma = (
        math.pi * wavelength * 0.5 * ((u + v) * squared + (u - v) * astigmatic)
        - 0.5 * math.pi * aberration * wavelength**3 * squared.square()
        + phase_shift
        + torch.asin(amplitude_contrast)
    )
    groups, of_group = optics.present()
    if any(g.even for g in groups):
        even = torch.stack([even_phase(g, frequencies) for g in groups])
        gamma = gamma - even.to(gamma.dtype)[of_group]
    return torch.sin(gamma) * envelope(optics, frequencies)


def envelope(optics: Optics, frequencies: Tensor) -> Tensor:
    """What the CTF is at most, (n, ...): scale, and the fall-off by B-factor or dose; as `ctf`."""
    squared = _magnified_by_particle(optics, frequencies).square().sum(-1)
    exponent = 0.25 * _column(optics.b_factor, frequencies) * squared
    dose = _column(optics.dose, frequencies)
    if bool((dose > 0.0).any()):
        lost = dose_exponent(squared.clamp_min(LEAST_FREQUENCY**2).sqrt())
        exponent = torch.where(dose > 0.0, dose * lost, exponent)
    return _column(optics.scale, frequencies) * torch.exp(-exponent)


def _column(values: Tensor, frequencies: Tensor) -> Tensor:
    """A number of each particle (n,) beside the dimensions of the frequencies (..., 2)."""
    shape = (len(values),) + (1,) * (frequencies.dim() - 1)
    return values.reshape(shape).to(frequencies.dtype)


def _magnified_by_particle(optics: Optics, frequencies: Tensor) -> Tensor:
    """``M k`` of every particle (n, ..., 2), or (1, ..., 2) where all are ``k``."""
    groups, of_group = optics.present()
    if all(g.magnification == ISOTROPIC for g in groups):
        return frequencies[None]
    return torch.stack([magnified(g, frequencies) for g in groups])[of_group]
