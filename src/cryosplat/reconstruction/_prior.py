"""What the voxel half-maps say before anything is fitted: how much signal there is in every shell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..grid import Grid
from ..maps.fsc import first_below, fourier_shell_correlation
from ..statistics import QuadraticForm, shell_means
from ._maps import Maps

LEAST, MOST = 0.02, 0.9999
"""Between which an FSC is believed: shells without signal are damped fifty times, not for ever."""

RESOLVED, SMOOTH = 0.143, 3
BEYOND = 3.0
SMALLEST = 32


@dataclass(frozen=True, slots=True)
class Prior:
    """One number a shell: ``fsc`` (n_shells,) of the voxel half-maps in a mask of ``voxels`` voxels.

    It is all that the fits of the two half-sets share, beside the mask that it is measured in.
    """

    grid: Grid
    fsc: Tensor
    voxels: float

    def penalty(self, halves: tuple[QuadraticForm, QuadraticForm]) -> Tensor:
        """The penalty of `QuadraticForm.with_penalty`, the same for both halves and for their sum.

        The inverse of the signal's power, ``information (1 - F) / F`` with the mean information of
        a half-set (Scheres 2012, eq. 6 and after); (side // 2 + 1,) float64.
        """
        information = torch.from_numpy(sum(shell_means(half) for half in halves) / 2.0)
        radii = torch.arange(len(information)).double() * (self.grid.side / halves[0].grid.side)
        fsc = fourier.at_radii(self.fsc, radii)
        return information * (1.0 - fsc) / fsc

    @property
    def detail(self) -> float:
        """The finest detail, in Angstrom, before the FSC falls below a half."""
        return self.grid.side / max(first_below(self.fsc, 0.5) - 1, 1)

    @property
    def box_size(self) -> int:
        """Voxels a side of the same box that hold all frequencies at which a fit finds something.

        Mixtures see beyond voxels: with 300 particles up to 2.5 times the frequency at which the
        mean FSC of `SMOOTH` shells falls below `RESOLVED`.
        """
        means = self.fsc[1:].unfold(0, min(SMOOTH, len(self.fsc) - 1), 1).mean(-1)
        resolved = (means > RESOLVED).nonzero()
        last = int(resolved[-1]) + 1 + SMOOTH // 2 if len(resolved) else 1
        box = max(2 * math.ceil(BEYOND * last), SMALLEST)
        return min(box, self.grid.box_size)

    def coefficients(self, full: bool) -> float:
        """How many real numbers the particles know of the map: those of each shell that lie in the
        mask, times the FSC; ``full``: of all particles, otherwise of half of them."""
        shells = torch.arange(len(self.fsc)).double()
        known = 2.0 * self.fsc / (1.0 + self.fsc) if full else self.fsc
        share = self.voxels / self.grid.box_size**3
        return float((4.0 * math.pi * shells.square() * known).sum()) * share


def prior_of(voxels: Maps, mask: Tensor, grid: Grid) -> Prior:
    """The prior that the voxel half-maps give under a soft ``mask``.

    Their FSC is not corrected for what the mask adds to it, which would be a stronger prior: the
    mean of several fits holds less noise than one, and does better with the weaker.
    """
    fsc = fourier_shell_correlation(voxels.half1 * mask, voxels.half2 * mask)
    return Prior(grid, fsc.clamp(LEAST, MOST), float(mask.sum()))
