"""The definition of splatting: every Gaussian at every pixel, on any device, in any dtype.

A few Gaussians at a time, so that memory is bounded whatever their number; slow in large boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._reference import parts


def _gaussians(centres: Tensor, precisions: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets from the centres dx (k, 1, side), dy (k, side, 1), and exp (k, side, side)."""
    axis = torch.arange(side, dtype=centres.dtype, device=centres.device)
    dx = (axis - centres[:, :1])[:, None, :]
    dy = (axis - centres[:, 1:])[:, :, None]
    xx, xy, yy = (p[:, None, None] for p in precisions.unbind(-1))
    return dx, dy, torch.exp(-0.5 * (xx * dx * dx + 2.0 * xy * dx * dy + yy * dy * dy))


def splat_dense(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """``Q[i, y, x] = sum_g w_ig exp(-1/2 (r - c_ig)^T P_ig (r - c_ig))``, (n, side, side).

    ``centres`` (n, k, 2) as (x, y) pixel indices; ``precisions`` (n, k, 3): xx, xy, yy in
    1 / pixel^2; ``weights`` (n, k). (CryoSplat, eq. 9, with the factor of its eq. 8 in w.)
    """
    n, k = weights.shape
    c, p, w = (t.flatten(0, 1) for t in (centres, precisions, weights))
    image = torch.arange(n, device=weights.device).repeat_interleave(k)
    images = weights.new_zeros(n, side, side)
    for part in parts(n * k, side * side, weights):
        e = _gaussians(c[part], p[part], side)[2]
        images.index_add_(0, image[part], w[part, None, None] * e)
    return images


def splat_dense_adjoint(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``<gradient, splat_dense>`` by centres, precisions and weights.

    With e the Gaussian times the gradient: ``w P sum(e d)``, ``-w/2 sum(e d d^T)`` (the
    off-diagonal entry stands for two of the matrix), ``sum(e)`` (CryoSplat, eqs. 15-20).
    """
    n, k = weights.shape
    c, p = centres.flatten(0, 1), precisions.flatten(0, 1)
    image = torch.arange(n, device=weights.device).repeat_interleave(k)
    moments = weights.new_zeros(n * k, 6)
    for part in parts(n * k, gradient[:1].numel(), weights):
        dx, dy, e = _gaussians(c[part], p[part], gradient.shape[-1])
        e = e * gradient[image[part]]
        factors = (torch.ones_like(dx), dx, dy, dx * dx, dx * dy, dy * dy)
        moments[part] = torch.stack([(e * factor).sum((1, 2)) for factor in factors], -1)
    one, x, y, xx, xy, yy = moments.reshape(n, k, 6).unbind(-1)
    p_xx, p_xy, p_yy = precisions.unbind(-1)
    by_centre = torch.stack([weights * (p_xx * x + p_xy * y), weights * (p_xy * x + p_yy * y)], -1)
    by_precision = -weights[..., None] * torch.stack([0.5 * xx, xy, 0.5 * yy], -1)
    return by_centre, by_precision, one.clone()
