"""What a microscope does to a central slice: CTF x odd phase x shift x scale. The definition.

An image is ``Y(k) = H(k) X(k)`` with X the slice of a map and ``H = C(k) exp(i odd(k) + 2 pi i k.s)``:
C the CTF with its envelope and scale, odd the phase of antisymmetric aberrations, s RELION's shift
(the particle lies at ``-s``). Float64, on the device of its tensors, differentiable by shifts and by
all columns of the optics. `operators` holds its three uses, fused where a device has a kernel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import fourier
from ..errors import SettingsError
from .aberrations import odd_phase
from .ctf import ctf
from .values import Optics


def response(shifts: Tensor, optics: Optics, box_size: int, origin: int = 0) -> Tensor:
    """H of n particles of one pixel size, (n, box_size, box_size // 2 + 1) complex128.

    ``rfft2`` layout; ``shifts`` (n, 2) as (x, y) in Angstrom. ``origin``: the pixel, on both axes,
    about which the slice was transformed; the images' transforms are about pixel 0. Zero at and
    beyond the Nyquist frequency, where an image does not say which of two frequencies a value
    belongs to.
    """
    phases = phase_factors(shifts, optics, box_size, origin)
    return phases * ctf(optics, image_frequencies(optics, box_size))


def phase_factors(shifts: Tensor, optics: Optics, box_size: int, origin: int = 0) -> Tensor:
    """The response without the CTF: ``exp(i odd(k) + 2 pi i k.s)``, zero where it is."""
    frequencies = image_frequencies(optics, box_size)
    cycles = frequencies * _pixel_size(optics)
    inside = 4.0 * fourier.squared_radii((box_size,) * 2, cycles.device) < box_size**2
    moved = shifts.double() / _pixel_size(optics) - origin
    phases = 2.0 * math.pi * torch.einsum("hwx,nx->nhw", cycles, moved)
    groups, of_group = optics.present()
    if any(g.odd for g in groups):
        phases = phases + torch.stack([odd_phase(g, frequencies) for g in groups])[of_group]
    return torch.polar(inside.double().expand_as(phases), phases)


def image_frequencies(optics: Optics, box_size: int) -> Tensor:
    """Frequencies (box_size, box_size // 2 + 1, 2) as (x, y) in 1/Angstrom of images' ``rfft2``."""
    return fourier.frequencies((box_size,) * 2, _pixel_size(optics), optics.group.device)


def _pixel_size(optics: Optics) -> float:
    sizes = {group.pixel_size for group in optics.present()[0]}
    if len(sizes) != 1:
        raise SettingsError(
            f"optics: particles have {len(sizes)} pixel sizes, expected one. "
            f"Remedy: take those of one pixel size at a time."
        )
    return sizes.pop()
