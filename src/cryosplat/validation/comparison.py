"""Mixture against mixture, voxels against voxels, and one against the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..grid import Grid
from .fsc import (
    Resolution,
    fourier_shell_correlation,
    masked_fsc,
    resolution,
    truth_from_cross,
    truth_from_halves,
)

HALF_MAPS = "half-maps, corrected"
CROSS = "half-map with truth, from cross"


@dataclass(frozen=True, slots=True)
class Comparison:
    """FSC ``curves`` per shell, and the ``headline`` resolution with where it is ``taken_from``."""

    curves: dict[str, Tensor]
    headline: Resolution
    taken_from: str


def compare(
    maps: list[Tensor], voxels: list[Tensor], mask: Tensor, grid: Grid, generator: torch.Generator
) -> Comparison:
    """Compare mixtures and baseline, each as maps [full, half 1, half 2], under a soft mask.

    The headline is the more cautious of two: the corrected half-map FSC at 0.143, which a prior
    shared by the halves can inflate, and 0.5 of the FSC with the truth that the cross-FSC with the
    other half's voxels implies, which it cannot.
    """
    ours = masked_fsc(maps[1], maps[2], mask, generator)
    base = masked_fsc(voxels[1], voxels[2], mask, generator)
    cross = 0.5 * (
        fourier_shell_correlation(maps[1] * mask, voxels[2] * mask)
        + fourier_shell_correlation(maps[2] * mask, voxels[1] * mask)
    )
    curves = {
        "half-maps, unmasked": ours.unmasked,
        "half-maps, masked": ours.masked,
        HALF_MAPS: ours.corrected,
        "voxels, unmasked": base.unmasked,
        "voxels, masked": base.masked,
        "voxels, corrected": base.corrected,
        "cross, masked": cross,
        CROSS: truth_from_cross(cross, base.masked, grid),
        "map with truth, from half-maps": truth_from_halves(ours.corrected),
    }
    half_map = resolution(curves[HALF_MAPS], grid, 0.143)
    controlled = resolution(curves[CROSS], grid, 0.5)
    if controlled.shell < half_map.shell:
        return Comparison(curves, controlled, "cross-FSC with the voxel baseline")
    return Comparison(curves, half_map, "half-map FSC")
