"""The voxel baseline: what the same particles give without Gaussians."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..maps.fsc import fourier_shell_correlation
from ..statistics import QuadraticForm, Statistics, penalty_from_fsc, shell_means, solve

FIRST_STEPS, STEPS = 5, 10  # of conjugate gradients, for the FSC and for the maps


def voxel_maps(
    halves: tuple[Statistics, Statistics], on_map: Callable[[int], None] = lambda n: None
) -> list[Tensor]:
    """Regularised least-squares maps [full, half 1, half 2], each (d, d, d), on the CPU.

    The FSC of lightly regularised half-maps gives the Wiener penalty per shell of all three.
    """
    side = halves[0].grid.box_size
    forms = [QuadraticForm(half, side) for half in halves]
    first = []
    for form in forms:
        first.append(solve(form, 0.1 * shell_means(form), FIRST_STEPS))
        on_map(1)
    whole = forms[0] + forms[1]
    fsc = _after_first_drop(fourier_shell_correlation(*first))
    penalty = penalty_from_fsc(whole, fsc)
    maps = []
    for form in (whole, *forms):
        maps.append(solve(form, penalty, STEPS).cpu())
        on_map(1)
    return maps


def _after_first_drop(fsc: Tensor) -> Tensor:
    """An FSC curve with zeros once it has fallen to zero: what follows is noise."""
    below = (fsc[1:] <= 0.0).nonzero()
    if len(below):
        fsc = fsc.clone()
        fsc[int(below[0]) + 1 :] = 0.0
    return fsc
