"""What directions that no particle shows take from the FSC with the truth, shell by shell.

The cross-FSC is a mean over the coefficients that particles know; of others voxels hold nothing, so
that a model may be right or wrong there and no curve says so. The truth has its power everywhere.

Let I be the information that the particles have of a coefficient of the masked map, summed over
images (the transfer function of the statistics), and I0 its mean over a shell weighted by itself: what
a typical known coefficient has. A map that is the best estimate keeps the share ``w = x / (1 + x)`` of
a coefficient with the signal-to-noise ratio ``x = I / I0 · SNR``. With w of the model, from its FSC
with the truth (``rho^2 / (1 - rho^2)``), and w' of the voxels, from their share of signal F
(``F / (1 - F)``), the cross-FSC estimates ``mean(w w') / sqrt(mean w mean w'^2)``, while the FSC with
the truth over all directions is ``sqrt(mean w)``. Their ratio is 1 where all directions are seen
alike, and the root of the share that is seen where the others are not.

Power that the model has where nothing is known counts as wrong: the share of its power that is backed,
``mean(w |A|^2) / mean |A|^2``, is compared with what the best estimate would have,
``mean w^2 / mean w``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import fourier
from ..grid import Grid
from ..statistics import QuadraticForm

LEAST, MOST = 1e-3, 0.999


def shares_known(information: Tensor, ratio: Tensor) -> Tensor:
    """The share w of each coefficient that the best estimate keeps, (d, d, d // 2 + 1).

    ``information`` I of the coefficients of a cube's half transform; ``ratio`` (n_shells,): the
    signal-to-noise ratio of a typical known coefficient of each shell.
    """
    shells = fourier.shells((len(information),) * 3).clamp_max(len(ratio) - 1)
    typical = fourier.shell_means(information.square()) / fourier.shell_means(
        information
    ).clamp_min(1e-30)
    x = information * (ratio / typical.clamp_min(1e-30))[shells]
    return x / (1.0 + x)


def over_all_directions(
    known: Tensor, volume: Tensor, rho: Tensor, voxel_signal: Tensor, grid: Grid
) -> Tensor:
    """`coverage` of a masked map ``volume`` on ``grid``, (n_shells,), from the information ``known`` of
    a cube around its rotation centre. ``rho`` and ``voxel_signal`` (n_shells,) are the grid's."""
    side = len(known)
    start = grid.centre - side // 2
    inner = slice(start, start + side)
    power = fourier.transform(volume[inner, inner, inner].double(), 3).abs().square()
    radii = torch.arange(side // 2 + 1).double() * (grid.box_size / side)
    curves = (fourier.at_radii(curve, radii) for curve in (rho, voxel_signal))
    factor = coverage(known, power, *curves)
    return fourier.at_radii(factor, torch.arange(grid.n_shells).double() * (side / grid.box_size))


def coverage(information: Tensor, model: Tensor, rho: Tensor, voxel_signal: Tensor) -> Tensor:
    """The factor from the FSC over known coefficients to that over all, (n_shells,) in [0, 1].

    ``information`` and ``model``: of the half transform of one cube, the second the power ``|A|^2`` of
    a half-set's masked map; ``rho``: its FSC with the truth over known coefficients; ``voxel_signal``:
    the share of signal in the power of the voxels. (n_shells,) of that cube.
    """

    def odds(share: Tensor) -> Tensor:
        share = share.clamp(LEAST, MOST)
        return share / (1.0 - share)

    mean = fourier.shell_means
    w = shares_known(information, odds(rho.square()))
    v = shares_known(information, odds(voxel_signal))
    seen = mean(w) * mean(v.square()).sqrt() / mean(w * v).clamp_min(1e-30)
    backed = mean(w * model) / mean(model).clamp_min(1e-30)
    expected = mean(w.square()) / mean(w).clamp_min(1e-30)
    factor = seen * (backed / expected.clamp_min(1e-30)).clamp(0.0, 1.0).sqrt()
    factor = factor.clamp(0.0, 1.0)
    factor[0] = 1.0
    return factor


def known_information(form: QuadraticForm, mask: Tensor) -> Tensor:
    """Information about each coefficient of a map on the form's cube that lies within ``mask``.

    The transfer function, smoothed as the mask smooths a map's transform: its kernel times the mask's
    autocorrelation.
    """
    side = form.grid.box_size
    period = 2 * side
    padded = torch.zeros(period, period, period)
    start = len(mask) // 2 - side // 2
    inner = slice(start, start + side)
    padded[:side, :side, :side] = mask[inner, inner, inner]
    autocorrelation = fourier.inverse(fourier.transform(padded, 3).abs().square(), period, 3)
    kernel = fourier.inverse(form.transfer.cpu().to(torch.complex64), period, 3)
    kernel *= autocorrelation / autocorrelation[0, 0, 0].clamp_min(1e-30)
    return fourier.transform(kernel, 3).real[::2, ::2, ::2].clamp_min(0.0)
