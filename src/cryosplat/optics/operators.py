"""The uses of the response: the CTF of images, forming them, weighing them, and their residuals.

Each follows the device and precision of its tensors: fused in one pass on the CPU in single precision
(`_cpu`), elsewhere by its definition (`_reference`), in parts of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..arrays import members
from . import _cpu, _reference
from ._columns import Columns, columns
from .ctf import ctf
from .response import image_frequencies
from .values import Optics

PART_BYTES = 2**28  # of intermediate values at a time, where the definition runs
_INTERMEDIATE = 250  # bytes a frequency


@dataclass(frozen=True, slots=True)
class Weighed:
    """Images y as statistics take them, with H their response and s^2 the variance of their noise.

    ``values`` (n, d, d // 2 + 1, 3): real and imaginary part of ``conj(H) y / s^2``, and
    ``|H|^2 / s^2``, about the rotation centre; ``energy`` (n,) float64: ``1/2 sum |y|^2 / s^2`` over
    both members of all Friedel pairs, ``n_frequencies`` (n,) how many there are. Of images that were
    stored changed by their CTF, y is what was recorded (`processing`).
    """

    values: Tensor
    energy: Tensor
    n_frequencies: Tensor


def form(slices: Tensor, shifts: Tensor, optics: Optics, origin: int) -> Tensor:
    """Spectra H X of images of ``slices`` X (n, d, d // 2 + 1), of one pixel size.

    ``origin``: the pixel about which the slices are transformed; the spectra are about pixel 0.
    Differentiable by all of its tensors.
    """
    if not _fused(slices, shifts, optics):
        return _reference.form(slices, shifts, optics, origin)
    return _Form.apply(slices, columns(shifts, optics, slices.shape[1], origin))


def image_ctf(optics: Optics, box_size: int) -> Tensor:
    """The CTF at the frequencies of images' ``rfft2``, (n, box_size, box_size // 2 + 1) float32.

    `ctf`, but not differentiable, and of any pixel sizes at once.
    """
    shape, device = (len(optics), box_size, box_size // 2 + 1), optics.group.device
    values = torch.empty(shape, device=device)
    if device.type == "cpu":
        table = columns(torch.zeros(len(optics), 2), optics, box_size, 0)
        _cpu.image_ctf(table, values.numpy())
    else:
        for rows in _parts(values, optics):
            own = optics.select(rows)
            values[rows] = ctf(own, image_frequencies(own, box_size)).float()
    return values


def weigh(
    transforms: Tensor, shifts: Tensor, optics: Optics, precision: Tensor, radii: Tensor
) -> Weighed:
    """``transforms`` (n, d, d // 2 + 1), the ``rfft2`` of stored images, weighed for statistics.

    ``shifts`` (n, 2) in Angstrom; ``precision`` (g, shells): 1 / s^2 of each optics group, with
    s^2 = E |transform of the noise|^2; ``radii`` (n,): frequencies with ``|k| < radius`` pixels
    count, and values beyond are zero.
    """
    n, box, n_half = transforms.shape
    real = transforms.real.dtype
    values = torch.empty(n, box, n_half, 3, dtype=real, device=transforms.device)
    energy = torch.empty(n, dtype=torch.float64, device=transforms.device)
    count = torch.empty(n, dtype=torch.int64, device=transforms.device)
    if _fused(transforms, shifts, optics):
        _cpu.weigh(
            transforms.numpy(), columns(shifts, optics, box, box // 2), precision.numpy(),
            radii.double().numpy(), values.numpy(), energy.numpy(), count.numpy(),
        )  # fmt: skip
    else:
        for rows in _parts(transforms, optics):
            values[rows], energy[rows], count[rows] = _reference.weigh(
                transforms[rows], shifts[rows], optics.select(rows), precision, radii[rows]
            )
    return Weighed(values, energy, count)


def residuals_(
    spectra: Tensor, data: Tensor, shifts: Tensor, optics: Optics, precision: Tensor, radius: float
) -> Tensor:
    """``1/2 sum |H X - y|^2 / s^2`` of every image (n,) float64; X becomes the derivative by it.

    ``spectra`` X and ``data`` (n, d, d // 2 + 1): transforms of rendered and of stored images, both
    about pixel 0; sums run over both members of Friedel pairs with ``|k| < radius`` pixels. The
    derivative is ``conj(H) (H X - y) / s^2``: its unnormalised inverse transform is the gradient by
    the rendered pixels. H, y and ``precision`` as in `weigh`.
    """
    if _fused(spectra, shifts, optics):
        losses = np.empty((len(spectra), _cpu.PARTS))
        table = columns(shifts, optics, spectra.shape[1], 0)
        _cpu.residuals(spectra.numpy(), data.numpy(), table, precision.numpy(), radius, losses)
        return torch.from_numpy(losses.sum(1))
    losses = torch.empty(len(spectra), dtype=torch.float64, device=spectra.device)
    for rows in _parts(spectra, optics):
        derivative = spectra[rows]
        losses[rows] = _reference.residuals_(
            derivative, data[rows], shifts[rows], optics.select(rows), precision, radius
        )
        spectra[rows] = derivative
    return losses


def _fused(transforms: Tensor, shifts: Tensor, optics: Optics) -> bool:
    learned = shifts.requires_grad or any(
        getattr(optics, f.name).requires_grad for f in fields(optics) if f.name != "groups"
    )
    return transforms.device.type == "cpu" and transforms.dtype == torch.complex64 and not learned


def _parts(transforms: Tensor, optics: Optics) -> Iterator[Tensor]:
    """Positions of images of one optics group, as many as intermediate values have room."""
    size = max(1, PART_BYTES // (_INTERMEDIATE * transforms[0].numel())) if len(transforms) else 1
    for _, rows in members(optics.group):
        yield from rows.split(size)


class _Form(torch.autograd.Function):
    """`form` on the CPU, differentiable by the slices."""

    @staticmethod
    def forward(ctx: Any, slices: Tensor, table: Columns) -> Tensor:
        ctx.table = table
        return _formed(slices, table, False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _formed(gradients[0], ctx.table, True), None


def _formed(slices: Tensor, table: Columns, conjugate: bool) -> Tensor:
    spectra = torch.empty_like(slices, memory_format=torch.contiguous_format)
    _cpu.form(
        slices.detach().resolve_conj().contiguous().numpy(), table, spectra.numpy(), conjugate
    )
    return spectra
