"""Optics as the kernels read them: one row a particle, one plane a group with aberrations."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from .aberrations import even_phase, odd_phase
from .processing import CODES
from .values import Optics, OpticsGroup


class Columns(NamedTuple):
    """The optics and shifts of n particles of one box.

    ``rows`` (n, 14) in the order that `_cpu.ctf_polynomial` reads; ``shifts`` (n, 2) in pixels;
    ``group`` (n,); ``processing`` (n,) of `processing.CODES`; ``plane`` (n,): that of the particle's
    aberrations, -1 for none; ``even`` (m, d, d // 2 + 1) float32: what they add to
    ``gamma / (2 pi)`` but for whole turns, gamma as in `ctf`; ``odd`` (m, d, d // 2 + 1) complex64:
    the factor of a particle's transform.
    """

    rows: NDArray[np.float64]
    shifts: NDArray[np.float64]
    group: NDArray[np.int64]
    processing: NDArray[np.int64]
    plane: NDArray[np.int64]
    even: NDArray[np.float32]
    odd: NDArray[np.complex64]


def columns(shifts: Tensor, optics: Optics, box: int, origin: int) -> Columns:
    """Those of particles whose slices are transformed about pixel ``origin``."""
    pixel_size = optics.of_group("pixel_size")
    numbers = (
        pixel_size, optics.of_group("wavelength"), optics.of_group("spherical_aberration"),
        0.5 * (optics.defocus_u + optics.defocus_v), 0.5 * (optics.defocus_u - optics.defocus_v),
        optics.defocus_angle,
        optics.phase_shift + torch.asin(optics.of_group("amplitude_contrast")),
        optics.b_factor, optics.scale, optics.dose,
    )  # fmt: skip
    group = optics.group.numpy()
    magnification = np.array([g.magnification for g in optics.groups])[group]
    rows = np.concatenate([torch.stack(numbers, -1).double().numpy(), magnification], axis=1)
    plane = np.full(len(optics.groups), -1, np.int64)
    aberrant = [g for g in np.unique(group) if optics.groups[g].odd or optics.groups[g].even]
    plane[aberrant] = np.arange(len(aberrant))
    planes = [_planes(optics.groups[g], box) for g in aberrant]
    # a plane of zeros gives the kernels something to point at
    even = [p[0] for p in planes] or [np.zeros((1, 1), np.float32)]
    odd = [p[1] for p in planes] or [np.zeros((1, 1), np.complex64)]
    moved = (shifts.double() / pixel_size[:, None] - origin).numpy()
    processing = np.array([CODES[g.processing] for g in optics.groups])[group]
    return Columns(rows, moved, group, processing, plane[group], np.stack(even), np.stack(odd))


@lru_cache(maxsize=64)
def _planes(group: OpticsGroup, box: int) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
    k = fourier.frequencies((box, box), group.pixel_size)
    turns = even_phase(group, k) / (-2.0 * math.pi)
    turns = turns - turns.round()  # whole turns only cost digits
    factor = torch.exp(1j * odd_phase(group, k))
    return turns.float().numpy(), factor.to(torch.complex64).numpy()
