"""Fourier shell correlation, the resolution it gives, and the expected correlation with the truth.

Shells are RELION's: shell ``i`` holds ``i - 0.5 <= |k| < i + 0.5``, summed over the stored half
transform without Hermitian weights (RELION, ``getFSC``). All sums are float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..errors import InputError, SettingsError
from ..grid import Grid

RANDOMISE_BELOW = 0.8
"""Phases are randomised from the first shell whose unmasked FSC is below this (RELION)."""
CORRECT_AFTER = 2
"""Shells between the randomisation and the first corrected shell (RELION)."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where an FSC curve first falls below ``threshold``.

    ``shell`` is the last shell before the first drop (RELION's choice), ``frequency`` (1/Angstrom)
    and ``angstrom`` belong to it; ``crossing`` (1/Angstrom) is where a straight line between that
    shell and the next meets the threshold. ``at_nyquist``: the curve never falls below. A curve
    below the threshold from its first shell has ``shell`` 0 and ``angstrom`` infinite.
    """

    threshold: float
    shell: int
    frequency: float
    angstrom: float
    crossing: float
    at_nyquist: bool

    @property
    def resolved(self) -> bool:
        """Whether at least one shell lies above the threshold before the first drop."""
        return self.shell > 0

    @property
    def crossing_angstrom(self) -> float:
        """The interpolated crossing in Angstrom; infinite if nothing is resolved."""
        return 1.0 / self.crossing if self.crossing > 0 else math.inf

    def __str__(self) -> str:
        if not self.resolved:
            return "none"
        return f"{self.angstrom:.2f} Å" + (" (at Nyquist)" if self.at_nyquist else "")


@dataclass(frozen=True, slots=True)
class MaskedFsc:
    """The FSC curves of two masked half-maps, each (n_shells,) float64.

    ``corrected`` is without the mask's own contribution (Chen et al. 2013, Ultramicroscopy 135,
    eq. 4); ``randomised`` is that contribution, the FSC with random phases from shell
    ``randomised_from`` on (the number of shells if no phases were randomised).
    """

    unmasked: Tensor
    masked: Tensor
    randomised: Tensor
    corrected: Tensor
    randomised_from: int

    def inflation(self, grid: Grid, threshold: float = 0.143) -> float:
        """FSC with random phases around the corrected resolution; above 0.1 the mask is too tight.

        The mean of up to five corrected shells, as single shells scatter.
        """
        first = self.randomised_from + CORRECT_AFTER
        if first >= len(self.randomised):
            return 0.0
        shell = max(resolution(self.corrected, grid, threshold).shell, first)
        return float(self.randomised[max(first, shell - 2) : shell + 3].mean())


def fourier_shell_correlation(a: Tensor, b: Tensor) -> Tensor:
    """FSC of two cubic maps (d, d, d), float64 of shape (d // 2 + 1,), in [-1, 1].

    A shell without power in either map has FSC 0. Also serves images (d, d): Fourier rings.

    Raises
    ------
    InputError
        The maps differ in shape, are not cubes, or hold NaN or infinite values.
    """
    _check_pair(a, b)
    return correlation_of_transforms(_transform(a), _transform(b))


def correlation_of_transforms(a: Tensor, b: Tensor) -> Tensor:
    """FSC from two half transforms in ``rfftn`` layout, of maps or images."""
    norm = (shell_products(a, a) * shell_products(b, b)).sqrt()
    return torch.where(norm > 0, shell_products(a, b) / norm, 0.0).clamp(-1.0, 1.0)


def shell_products(a: Tensor, b: Tensor) -> Tensor:
    """``Re sum a conj(b)`` of two half transforms over each shell, float64 (n_shells,)."""
    return fourier.shell_sums(a.real * b.real + a.imag * b.imag)


def resolution(fsc: Tensor, grid: Grid, threshold: float = 0.143) -> Resolution:
    """The last shell before ``fsc`` first falls below ``threshold``, scanning from shell 1.

    A NaN counts as a drop.

    Raises
    ------
    SettingsError
        ``fsc`` does not have one value for each shell of ``grid``.
    """
    if fsc.shape != (grid.n_shells,):
        raise SettingsError(
            f"resolution: the FSC has shape {tuple(fsc.shape)}, expected ({grid.n_shells},), one "
            f"value per shell of a box of {grid.box_size} pixels."
        )
    fsc = fsc.double()
    drop = first_below(fsc, threshold)
    last = drop - 1
    shell = float(last)
    if drop < len(fsc) and last > 0 and not math.isnan(fsc[drop]):
        shell += float((fsc[last] - threshold) / (fsc[last] - fsc[drop]))
    return Resolution(
        threshold=threshold,
        shell=last,
        frequency=last / grid.side,
        angstrom=grid.side / last if last else math.inf,
        crossing=shell / grid.side,
        at_nyquist=drop == len(fsc),
    )


def first_below(fsc: Tensor, threshold: float) -> int:
    """The first shell from shell 1 on with an FSC below ``threshold``, or NaN; else their number."""
    below = (~(fsc[1:] >= threshold)).nonzero()
    return int(below[0]) + 1 if len(below) else len(fsc)


def truth_from_halves(fsc: Tensor) -> Tensor:
    """Expected FSC of the full map with the truth, ``sqrt(2 F / (1 + F))``, from the half-map FSC.

    Rosenthal & Henderson 2003, J. Mol. Biol. 333, eq. 20 (their ``C_ref``); 0 where F <= 0.
    """
    positive = fsc.clamp_min(0.0)
    return (2.0 * positive / (1.0 + positive)).sqrt()


def masked_fsc(a: Tensor, b: Tensor, mask: Tensor, generator: torch.Generator) -> MaskedFsc:
    """`masked_fscs` for one mask."""
    return masked_fscs(a, b, {"mask": mask}, generator)["mask"]


def masked_fscs(
    a: Tensor, b: Tensor, masks: Mapping[str, Tensor], generator: torch.Generator
) -> dict[str, MaskedFsc]:
    """FSC of two half-maps under each of ``masks``, corrected for the mask by random phases.

    Phases are randomised from the first shell ``k`` with an unmasked FSC below 0.8; the randomised
    maps are the same for every mask. From shell ``k + 2`` the masked curve F is corrected by the
    curve N of the randomised maps (Chen et al. 2013, with RELION's choice of shells).

    Raises
    ------
    InputError
        The maps or a mask differ in shape, are not cubes, or hold NaN or infinite values.
    """
    _check_pair(a, b)
    for mask in masks.values():
        _check_pair(a, mask)
    box_size = a.shape[-1]
    transforms = _transform(a), _transform(b)
    unmasked = correlation_of_transforms(*transforms)
    first = first_below(unmasked, RANDOMISE_BELOW)
    noise = [_randomise(t, first, box_size, generator) for t in transforms if first < len(unmasked)]
    curves = {}
    for name, mask in masks.items():
        mask = mask.double()
        masked = fourier_shell_correlation(a * mask, b * mask)
        randomised = torch.zeros_like(masked)
        if noise:
            randomised = fourier_shell_correlation(noise[0] * mask, noise[1] * mask)
        corrected = correct_for_mask(masked, randomised, first)
        curves[name] = MaskedFsc(unmasked, masked, randomised, corrected, first)
    return curves


def correct_for_mask(masked: Tensor, randomised: Tensor, randomised_from: int) -> Tensor:
    """``(F - N) / (1 - N)`` from shell ``randomised_from + 2`` on, F below.

    F is the FSC under a mask, N that of the same maps with random phases from shell
    ``randomised_from`` on (Chen et al. 2013, Ultramicroscopy 135, eq. 4).
    """
    start = randomised_from + CORRECT_AFTER
    corrected = masked.clone()
    corrected[start:] = (masked - randomised)[start:] / (1.0 - randomised[start:]).clamp_min(1e-9)
    return corrected


def randomise_phases(volume: Tensor, first_shell: int, generator: torch.Generator) -> Tensor:
    """``volume`` with random phases where ``|k| >= first_shell``; all Fourier amplitudes are kept.

    The phases are those of real white noise, so the result is real. As in RELION ``|k|`` is not
    rounded: half of shell ``first_shell`` keeps its phases. Float64 [z, y, x].
    """
    return _randomise(_transform(volume), first_shell, volume.shape[-1], generator)


def _randomise(
    transform: Tensor, first_shell: int, box_size: int, generator: torch.Generator
) -> Tensor:
    size = (box_size,) * transform.dim()
    white = _transform(torch.randn(size, generator=generator, dtype=torch.float64))
    replaced = torch.polar(transform.abs(), white.angle())
    keep = fourier.squared_radii(size) < first_shell**2
    return fourier.inverse(torch.where(keep, transform, replaced), box_size, len(size))


def _transform(volume: Tensor) -> Tensor:
    return fourier.transform(volume.detach().double(), volume.dim())


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or len(set(a.shape)) != 1:
        raise InputError(
            f"FSC: the maps have shapes {tuple(a.shape)} and {tuple(b.shape)}, expected two cubes "
            f"of one box size. They probably come from different extractions. Remedy: resample "
            f"one of them to the other's box and pixel size."
        )
    for name, volume in (("first", a), ("second", b)):
        bad = int((~torch.isfinite(volume)).sum())
        if bad:
            raise InputError(
                f"FSC: {bad} of {volume.numel()} voxels of the {name} map are NaN or infinite, "
                f"expected finite numbers."
            )
