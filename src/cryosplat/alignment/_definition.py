"""The likelihood of images at poses by its definition: any device and precision, differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import fourier, gridding


def turned(vectors: Tensor, rotations: Tensor) -> Tensor:
    """``exp([w]_x) A`` for rotation vectors w (n, 3) in the image's frame and A (n, 3, 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y), (z, zero, -x), (-y, x, zero)
    return torch.matrix_exp(torch.stack([torch.stack(row, -1) for row in rows], -2)) @ rotations


def log_likelihood(
    transform: Tensor, values: Tensor, stretch: Tensor, radii: Tensor, rotations: Tensor,
    shifts: Tensor,
) -> Tensor:  # fmt: skip
    """``sum Re conj(X) w - p |X|^2 / 2`` of every image, (n,) float64.

    X is the slice of the padded half grid ``transform`` at ``rotations`` (n, 3, 3), moved by
    ``shifts`` (n, 2) in pixels; the others as in `_cpu.evaluated`.
    """
    box = values.shape[1]
    steps = stretch.transpose(1, 2) @ rotations[:, :2].double()
    slices = gridding.slices(transform, steps, radii, box)
    k = 2.0 * math.pi * fourier.frequencies((box, box), device=values.device)
    moved = torch.polar(torch.ones(()).double(), torch.einsum("yxc,nc->nyx", k, shifts.double()))
    x = torch.view_as_real(slices * moved.to(slices.dtype))
    terms = (x * values[..., :2]).sum(-1) - 0.5 * values[..., 2] * x.square().sum(-1)
    return (terms * fourier.friedel_counts(box, values.device)).sum((1, 2), dtype=torch.float64)
