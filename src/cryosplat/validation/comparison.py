"""Mixture against mixture, voxels against voxels, one against the other: what to believe of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..grid import Grid
from ..maps.fsc import (
    Resolution,
    correct_for_mask,
    fourier_shell_correlation,
    masked_fsc,
    resolution,
    truth_from_halves,
)
from ..maps.mask import named_masks
from .calibration import Calibration, calibrate

HALF_MAPS = "half-maps, corrected"
HALF_MAPS_MASKED = "half-maps, masked"
INVENTED = "noise substitution, half-maps"
HALF_MAPS_CHECKED = "half-maps, corrected for invented"
VOXELS = "voxels, corrected"
VOXELS_MASKED = "voxels, masked"
CROSS_MASKED = "cross, masked"
CROSS = "half-map with truth, from cross"
FULL_FROM_CROSS = "map with truth, from cross"
FULL_FROM_HALVES = "map with truth, from half-maps"
PREDICTED = "map with truth, predicted"
HALF_MAP_THRESHOLD, CROSS_THRESHOLD = 0.143, 0.5
UNKNOWN = 0.2
"""Standard deviation from which an FSC with the truth counts as not known."""
Source = Literal["half-maps", "cross", "found-poses", "no-signal"]
SOURCES: dict[str, str] = {
    "half-maps": "half-map FSC",
    "cross": "cross-FSC with the voxel baseline",
    "found-poses": "FSC of half-maps whose poses were found apart",
    "no-signal": "no signal in the particles",
}
"""Where a headline comes from, by its code: the words that users see."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """FSC ``curves`` per shell, and the ``headline`` resolution, with the code in `SOURCES` of
    where it is ``taken_from``.

    ``reason`` says in a sentence why that one; ``deviation`` (n_shells,) is the standard deviation
    of the curve `CROSS`.
    """

    curves: dict[str, Tensor]
    deviation: Tensor
    headline: Resolution
    taken_from: Source
    reason: str

    def with_substitution(self, invented: Tensor, from_shell: int, grid: Grid) -> Comparison:
        """The same with what the pipeline makes of particles without signal from a shell on.

        ``invented`` (n_shells,): FSC of the half-maps fitted to substituted particles, under the
        mask of the other curves. The half-map FSC F becomes ``(F - N) / (1 - N)`` two shells after
        ``from_shell`` (Chen et al. 2013, eq. 4, with N of the whole pipeline).
        """
        shown = torch.full_like(invented, torch.nan)
        shown[from_shell:] = invented[from_shell:]
        checked = correct_for_mask(self.curves[HALF_MAPS_MASKED], invented, from_shell)
        curves = self.curves | {INVENTED: shown, HALF_MAPS_CHECKED: checked}
        return _with_headline(replace(self, curves=curves), grid)

    def without_signal(self, grid: Grid) -> Comparison:
        """The same with no resolution at all: where particles hold no signal none is claimed."""
        none = torch.zeros(grid.n_shells, dtype=torch.float64)
        return replace(
            self, headline=resolution(none, grid, CROSS_THRESHOLD), taken_from="no-signal",
            reason="The particles do not agree with the map of the other half-set, so no "
            "resolution is claimed.",
        )  # fmt: skip


def compare(
    maps: Sequence[Tensor],
    voxels: Sequence[Tensor],
    mask: Tensor,
    grid: Grid,
    generator: torch.Generator,
) -> Comparison:
    """Compare mixtures and baseline, each as maps [full, half 1, half 2], under a soft mask.

    The headline is the more cautious of two: the corrected half-map FSC at 0.143, which a prior
    shared by the halves can inflate, and 0.5 of the FSC with the truth that the cross-FSC with the
    other half's voxels implies (`calibration`), which it cannot.
    """
    ours = masked_fsc(maps[1], maps[2], mask, generator)
    base = masked_fsc(voxels[1], voxels[2], mask, generator)
    cross = cross_fsc(maps, voxels, mask)
    found = _calibrated(maps, voxels, grid)
    curves = {
        "half-maps, unmasked": ours.unmasked,
        HALF_MAPS_MASKED: ours.masked,
        HALF_MAPS: ours.corrected,
        "voxels, unmasked": base.unmasked,
        VOXELS_MASKED: base.masked,
        VOXELS: base.corrected,
        CROSS_MASKED: cross,
        CROSS: torch.where(found.deviation < UNKNOWN, found.with_truth, torch.nan),
        FULL_FROM_CROSS: found.of_full_map(),
    }
    none = resolution(torch.zeros(grid.n_shells), grid)
    return _with_headline(Comparison(curves, found.deviation, none, "half-maps", ""), grid)


def cross_fsc(maps: Sequence[Tensor], voxels: Sequence[Tensor], mask: Tensor) -> Tensor:
    """FSC of maps [full, half 1, half 2] with the voxels of the other half, mean of both ways."""
    return 0.5 * (
        fourier_shell_correlation(maps[1] * mask, voxels[2] * mask)
        + fourier_shell_correlation(maps[2] * mask, voxels[1] * mask)
    )


def _calibrated(maps: Sequence[Tensor], voxels: Sequence[Tensor], grid: Grid) -> Calibration:
    """Half-way between two masks: a tight one lets in less noise, a wide one leaks less."""
    masks = named_masks(maps[0], grid)
    mask = 0.5 * (masks["tight"] + masks["auto"])
    if not all(bool(v.any()) for v in (*maps, *voxels)):
        zero = torch.zeros(grid.n_shells, dtype=torch.float64)
        return Calibration(zero, zero, zero)
    return calibrate((maps[1], maps[2]), (voxels[1], voxels[2]), mask, grid)


def _with_headline(comparison: Comparison, grid: Grid) -> Comparison:
    curves = dict(comparison.curves)
    name = HALF_MAPS_CHECKED if HALF_MAPS_CHECKED in curves else HALF_MAPS
    curves[FULL_FROM_HALVES] = truth_from_halves(curves[name])
    curves[PREDICTED] = torch.minimum(curves[FULL_FROM_HALVES], curves[FULL_FROM_CROSS])
    half_map = resolution(curves[name], grid, HALF_MAP_THRESHOLD)
    controlled = resolution(curves[CROSS], grid, CROSS_THRESHOLD)
    lower = controlled if controlled.shell < half_map.shell else half_map
    taken_from: Source = "cross" if lower is controlled else "half-maps"
    corrected = "corrected for the mask" + (
        " and by noise substitution" if name == HALF_MAPS_CHECKED else ""
    )
    agree = controlled.shell == half_map.shell
    reason = (
        f"The half-map FSC, {corrected}, falls below 0.143 at {half_map}; the FSC with the truth, "
        f"estimated from the voxels of the other half-set, falls below 0.5 at {controlled}. "
        + ("The two agree." if agree else f"The {SOURCES[taken_from]} is the more conservative.")
    )
    return Comparison(curves, comparison.deviation, lower, taken_from, reason)
