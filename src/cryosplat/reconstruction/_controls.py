"""The controls of a run: everything is measured again where nothing, or something else, is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..fitting import density, effective_voxels
from ..grid import Grid
from ..maps.fsc import MaskedFsc, fourier_shell_correlation
from ..maps.mask_checks import mask_remarks, tightness_remark
from ..mixture import GaussianMixture
from ..noise import NoiseModel
from ..notes import Note
from ..particles import Particles
from ..progress import Progress
from ..settings import ReconstructionSettings
from ..splatting import voxelize
from ..statistics import QuadraticForm, accumulate
from ..validation.agreement import SAMPLE, Agreement, particle_agreement
from ..validation.comparison import VOXELS, Comparison
from ..validation.findings import Evidence, diagnose, has_signal
from ..validation.independence import Fingerprints, noise_correlation
from ..validation.noise_substitution import (
    already_normalised,
    shell_frequency,
    substituted,
    substitution_shell,
)
from ._fits import VOXELS_PER_GAUSSIAN, Again, Fitted, Parts
from ._symmetry import look_at_symmetry


@dataclass(frozen=True, slots=True)
class Subject:
    """What the controls look at: a run before its report.

    ``contrast``: "bright" or "dark"; ``maps`` and ``voxels``: [full, half 1, half 2] (d, d, d);
    ``fingerprints`` of all images.
    """

    particles: Particles
    noise: NoiseModel
    contrast: str
    grid: Grid
    settings: ReconstructionSettings
    maps: list[Tensor]
    voxels: list[Tensor]
    mask: Tensor
    fingerprints: Fingerprints


@dataclass(frozen=True, slots=True)
class Controlled:
    """The comparison after the controls, what they found, and numbers for ``run.json``."""

    comparison: Comparison
    findings: list[Note]
    summary: dict[str, Any]


def control(
    subject: Subject,
    comparison: Comparison,
    parts: Parts,
    fitted: Fitted,
    remarks: Sequence[str],
    progress: Progress,
) -> Controlled:
    """Look at single particles, at the independence of the halves and at what the pipeline invents.

    With a start from an earlier run, or with ``quick``, there is no noise substitution: the fits
    could not be made again as they were. Findings that are not notes are said as warnings.
    """
    choices = fitted.choices
    settings = subject.settings
    agreement = _look_at_particles(subject, progress)
    symmetry = look_at_symmetry(subject.particles, settings.symmetry, settings.seed, progress)
    substitution: dict[str, Any] = {"skipped": True}
    if fitted.refit is not None and not subject.settings.quick:
        shell, invented = _substitute_noise(subject, comparison, fitted.refit, progress)
        comparison = comparison.with_substitution(invented, shell, subject.grid)
        substitution = _described(shell, invented, subject.grid)
    if not has_signal(agreement):
        comparison = comparison.without_signal(subject.grid)
    evidence = Evidence(
        subject.grid,
        comparison,
        agreement,
        subject.fingerprints.share_in_both(subject.particles.half_sets),
        _noise_correlation(subject),
        choices[1].history if choices else (),
        choices[1].gaussians if choices else None,
        _suggested(parts) if subject.settings.gaussians is not None else None,
        remarks,
        symmetry,
        bool(subject.noise.circles),
    )
    findings = diagnose(evidence)
    for finding in findings:
        if finding.severity != "note":
            progress.warn(f"{finding.text} Remedy: {finding.remedy}")
    summary = {
        "findings": [finding.to_dict() for finding in findings],
        "noise_substitution": substitution,
        "agreement": {
            "particles": agreement.n,
            "gain": agreement.gain,
            "gain_deviation": agreement.gain_deviation,
            "gain_with_dealt_rotations": agreement.dealt_gain,
            "strength": agreement.strength,
            "against": agreement.against,
        },
        "independence": {
            "shared_images": evidence.shared_images,
            "noise_correlation": evidence.noise_correlation,
        },
        "resolution_reason": comparison.reason,
        "symmetry_control": None if symmetry is None else symmetry.summary(),
    }
    return Controlled(comparison, findings, summary)


def _noise_correlation(subject: Subject) -> float | None:
    """That of the voxel half-maps; None where images are cut to a circle, whose edge they share."""
    if subject.noise.circles:
        return None
    return noise_correlation(subject.voxels[1], subject.voxels[2], subject.maps[0], subject.grid)


def remarks_on(mask: Tensor, found: MaskedFsc, volume: Tensor, grid: Grid) -> list[str]:
    """What is wrong with a mask that the user gave, by its shape and by its FSC."""
    tight = tightness_remark(found, grid)
    return mask_remarks(mask, volume, grid) + ([] if tight is None else [tight])


def _suggested(parts: Parts) -> int:
    """How many Gaussians one fit of half-set 1 would begin with, were none given."""
    form = QuadraticForm(parts.sets[1].whole(), parts.side)
    return round(effective_voxels(density(form)) / VOXELS_PER_GAUSSIAN)


def _substitute_noise(
    subject: Subject,
    comparison: Comparison,
    refit: Callable[[Again, Progress], list[GaussianMixture]],
    progress: Progress,
) -> tuple[int, Tensor]:
    """The shell from which phases were replaced, and the FSC of the half-maps fitted then."""
    grid, particles = subject.grid, subject.particles
    shell = substitution_shell(comparison.curves[VOXELS], grid)
    frequency, seed = shell_frequency(shell, grid), subject.settings.seed + 1
    noise = already_normalised(subject.noise)

    def read(indices: Tensor | None = None) -> Iterator[Batch]:
        return substituted(particles.batches(indices), subject.noise, frequency, seed)

    with progress.stage("noise substitution", len(particles), "images") as stage:
        half_sets = particles.half_sets.long() - 1
        symmetry = subject.settings.symmetry
        halves = accumulate(read(), half_sets, 2, grid, noise, stage.advance, symmetry)
    if subject.contrast == "dark":
        halves = [half.inverted() for half in halves]
    maps = [voxelize(m, grid).detach() for m in refit(Again(read, noise, halves), progress)]
    return shell, fourier_shell_correlation(maps[0] * subject.mask, maps[1] * subject.mask)


def _described(shell: int, invented: Tensor, grid: Grid) -> dict[str, Any]:
    """For ``run.json``; "invented" is the mean over the shells without signal."""
    beyond = invented[shell:]
    return {
        "from_shell": shell,
        "from_angstrom": grid.side / shell,
        "invented": float(beyond.mean()),
        "most_invented": float(beyond.max()),
        "skipped": False,
    }


def _look_at_particles(subject: Subject, progress: Progress) -> Agreement:
    particles = subject.particles
    generator = torch.Generator().manual_seed(subject.settings.seed + 2)
    sample = torch.randperm(len(particles), generator=generator)[:SAMPLE]
    sign = -1.0 if subject.contrast == "dark" else 1.0
    half1, half2 = (sign * half for half in subject.maps[1:])
    with progress.stage("looking at single particles", None, "images"):
        return particle_agreement(
            particles.batches(sample), particles.half_sets, (half1, half2), subject.grid,
            subject.noise, generator,
        )  # fmt: skip
