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
from ..statistics import QuadraticForm
from .calibration import Calibration, calibrate
from .coverage import known_information, over_all_directions

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
Source = Literal["half-maps", "cross", "views", "found-poses", "no-signal"]
SOURCES: dict[str, str] = {
    "half-maps": "half-map FSC",
    "cross": "cross-FSC with the voxel baseline",
    "views": "cross-FSC over all directions, of which views leave some out",
    "found-poses": "FSC of half-maps whose poses were found apart",
    "no-signal": "no agreement of particles and map",
}
"""Where a headline comes from, by its code: the words that users see."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """FSC ``curves`` per shell, and the ``headline`` resolution, with the code in `SOURCES` of
    where it is ``taken_from``.

    ``reason`` says in a sentence why that one; ``deviation`` (n_shells,) is the standard deviation
    of the curve `CROSS`; ``covered`` (n_shells,): the factor that the directions without particles
    have taken from it (`coverage`).
    """

    curves: dict[str, Tensor]
    deviation: Tensor
    headline: Resolution
    taken_from: Source
    reason: str
    covered: Tensor

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

    def without_signal(self, grid: Grid, reason: str) -> Comparison:
        """The same with no resolution at all, and in a sentence why none is claimed."""
        none = torch.zeros(grid.n_shells, dtype=torch.float64)
        return replace(
            self, headline=resolution(none, grid, CROSS_THRESHOLD), taken_from="no-signal",
            reason=reason,
        )  # fmt: skip


def compare(
    maps: Sequence[Tensor],
    voxels: Sequence[Tensor],
    mask: Tensor,
    grid: Grid,
    generator: torch.Generator,
    form: QuadraticForm | None = None,
) -> Comparison:
    """Compare mixtures and baseline, each as maps [full, half 1, half 2], under a soft mask.

    ``form`` of all particles, given where views leave directions out, says how well each is shown;
    without it all count as shown.

    The headline is the more cautious of two: the corrected half-map FSC at 0.143, which a prior
    shared by the halves can inflate, and 0.5 of the FSC with the truth that the cross-FSC with the
    other half's voxels implies (`calibration`), which it cannot.
    """
    ours = masked_fsc(maps[1], maps[2], mask, generator)
    base = masked_fsc(voxels[1], voxels[2], mask, generator)
    cross = cross_fsc(maps[1:], voxels[1:], mask)
    found, closer = _calibrated(maps, voxels, grid)
    covered = torch.ones(2, grid.n_shells, dtype=torch.float64)
    if form is not None:
        known = known_information(form, closer)
        for i, (volume, rho) in enumerate(
            ((maps[1], found.with_truth), (maps[0], found.of_full_map()))
        ):
            covered[i] = over_all_directions(known, volume * closer, rho, found.voxel_signal, grid)
    curves = {
        "half-maps, unmasked": ours.unmasked,
        HALF_MAPS_MASKED: ours.masked,
        HALF_MAPS: ours.corrected,
        "voxels, unmasked": base.unmasked,
        VOXELS_MASKED: base.masked,
        VOXELS: base.corrected,
        CROSS_MASKED: cross,
        CROSS: torch.where(found.deviation < UNKNOWN, covered[0] * found.with_truth, torch.nan),
        FULL_FROM_CROSS: covered[1] * found.of_full_map(),
    }
    none = resolution(torch.zeros(grid.n_shells), grid)
    first = Comparison(curves, found.deviation, none, "half-maps", "", covered[0])
    return _with_headline(first, grid)


def cross_fsc(halves: Sequence[Tensor], voxels: Sequence[Tensor], mask: Tensor) -> Tensor:
    """FSC of half-maps with the voxels of the other half-set, mean of both ways."""
    return 0.5 * (
        fourier_shell_correlation(halves[0] * mask, voxels[1] * mask)
        + fourier_shell_correlation(halves[1] * mask, voxels[0] * mask)
    )


def _calibrated(
    maps: Sequence[Tensor], voxels: Sequence[Tensor], grid: Grid
) -> tuple[Calibration, Tensor]:
    """Half-way between two masks: a tight one lets in less noise, a wide one leaks less."""
    masks = named_masks(maps[0], grid)
    mask = 0.5 * (masks["tight"] + masks["auto"])
    if not all(bool(v.any()) for v in (*maps, *voxels)):
        zero = torch.zeros(grid.n_shells, dtype=torch.float64)
        return Calibration(zero, zero, zero), mask
    return calibrate((maps[1], maps[2]), (voxels[1], voxels[2]), mask, grid), mask


def _with_headline(comparison: Comparison, grid: Grid) -> Comparison:
    curves = dict(comparison.curves)
    name = HALF_MAPS_CHECKED if HALF_MAPS_CHECKED in curves else HALF_MAPS
    curves[FULL_FROM_HALVES] = truth_from_halves(curves[name])
    curves[PREDICTED] = torch.minimum(curves[FULL_FROM_HALVES], curves[FULL_FROM_CROSS])
    half_map = resolution(curves[name], grid, HALF_MAP_THRESHOLD)
    controlled = resolution(curves[CROSS], grid, CROSS_THRESHOLD)
    seen = resolution(curves[CROSS] / comparison.covered.clamp_min(1e-12), grid, CROSS_THRESHOLD)
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
    if taken_from == "cross" and seen.shell > controlled.shell:
        taken_from = "views"
        reason = (
            f"Particles do not show all directions: the FSC with the truth over all of them falls "
            f"below 0.5 at {controlled}, over those that particles show at {seen}; the half-map FSC, "
            f"{corrected}, falls below 0.143 at {half_map}."
        )
    return replace(comparison, curves=curves, headline=lower, taken_from=taken_from, reason=reason)
