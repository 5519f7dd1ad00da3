"""The controls of a run: everything is measured again where nothing, or something else, is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch import Batch
from ..grid import Grid
from ..maps.fsc import MaskedFsc, fourier_shell_correlation
from ..maps.mask_checks import shape_notes, tightness_notes
from ..maps.views import unseen_share
from ..mixture import GaussianMixture
from ..notes import Note
from ..progress import SUBSTITUTE, Progress
from ..splatting import voxelize
from ..statistics import QuadraticForm, accumulate
from ..validation.agreement import SAMPLE, Agreement, particle_agreement
from ..validation.box import share_cut_off
from ..validation.calibration import independent_coefficients
from ..validation.comparison import VOXELS, Comparison, cross_fsc
from ..validation.findings import Evidence, diagnose, has_signal
from ..validation.independence import NoiseCorrelation, noise_correlation
from ..validation.leftovers import Leftovers, left_over
from ..validation.noise_substitution import (
    already_normalised,
    shell_frequency,
    substituted,
    substitution_shell,
)
from ..validation.symmetry_check import SymmetryCheck
from ._fits import Again, Fitted
from ._plan import Parts, suggested_number
from ._quality import as_the_map_is_seen
from ._screening import without
from ._subject import Subject
from ._symmetry import look_at_symmetry

UNSEEN = (
    "The particles do not agree with the map of the other half-set, so no resolution is claimed."
)
UNTURNED = "The orientations carry no information, so no resolution is claimed."
SMALLEST_WITH_CORNERS = 20
"""Voxels a side from which the corners of a box may be taken for noise."""
CUT_SHELLS = 8
"""Of images cut to a circle the first of so many parts of the shells is not compared."""
SEEN = 0.5
"""The solvent's factor from which Gaussians are compared with voxels."""


@dataclass(frozen=True, slots=True)
class Substitution:
    """``fsc`` (n_shells,) of half-maps fitted to images whose phases are noise ``from_shell`` on."""

    from_shell: int
    fsc: Tensor

    @property
    def invented(self) -> Tensor:
        """The FSC of the shells without signal."""
        return self.fsc[self.from_shell :]


@dataclass(frozen=True, slots=True)
class Controls:
    """What the controls found: ``notes`` in words, alarms first, and the numbers behind them.

    ``shared_images``: the share of one half-set that the other holds too; ``noise_correlation``: of
    the half-sets, None where images are cut to a circle; ``substitution``: None where nothing was
    fitted again; ``symmetry``: None where none was given.
    """

    notes: list[Note]
    agreement: Agreement
    shared_images: float
    noise_correlation: NoiseCorrelation | None
    substitution: Substitution | None
    symmetry: SymmetryCheck | None


def control(
    subject: Subject,
    comparison: Comparison,
    parts: Parts,
    fitted: Fitted,
    on_mask: Sequence[Note],
    progress: Progress,
) -> tuple[Comparison, Controls]:
    """Look at single particles, at the independence of the halves and at what the pipeline invents.

    Returns the comparison as it is after the controls. With a start from an earlier run, or with
    ``quick``, there is no noise substitution: the fits could not be made again as they were.
    """
    settings = subject.settings
    agreement = _look_at_particles(subject, progress)
    symmetry = look_at_symmetry(subject.particles, settings.symmetry, settings.seed, progress)
    substitution = None
    if fitted.refit is not None and not settings.quick:
        substitution = _substitute_noise(subject, comparison, fitted.refit, progress)
        comparison = comparison.with_substitution(
            substitution.fsc, substitution.from_shell, subject.grid
        )
    if not has_signal(agreement):
        comparison = comparison.without_signal(subject.grid, UNSEEN)
    half_sets = without(subject.left_out, subject.particles.half_sets.long(), 0)
    views = as_the_map_is_seen(subject.particles.poses, settings.symmetry)
    evidence = Evidence(
        subject.grid,
        comparison,
        agreement,
        subject.fingerprints.share_in_both(subject.particles.half_sets),
        _noise_correlation(subject),
        unseen_share(views.rotations),
        min(int((half_sets == half).sum()) for half in (1, 2)),
        _left_over(subject, progress),
        share_cut_off(
            subject.support, subject.grid, subject.particles.optics, comparison.headline.angstrom
        ),
        independent_coefficients(subject.mask),
        fitted.histories[1] if fitted.histories and settings.steps is not None else (),
        fitted.plans[1].gaussians if fitted.plans else None,
        suggested_number(parts) if subject.settings.gaussians is not None else None,
        on_mask,
        symmetry,
        _first_compared(subject),
        cross_fsc(subject.mixtures[1:], subject.voxels[1:], subject.mask),
        fitted.images_shown,
    )
    notes = diagnose(evidence)
    if any(note.code == "poses-say-nothing" for note in notes):
        comparison = comparison.without_signal(subject.grid, UNTURNED)
    return comparison, Controls(
        notes, agreement, evidence.shared_images, evidence.noise_correlation, substitution,
        symmetry,
    )  # fmt: skip


def _first_compared(subject: Subject) -> int:
    """The lowest shell at which Gaussians are compared with voxels.

    Of images cut to a circle, all voxel maps share its edge in the lowest shells. Where water hides
    the molecule, what is left to see is the difference of two shapes, and no factor by shell.
    """
    first = subject.grid.n_shells // CUT_SHELLS if subject.noise.circles else 1
    seen = subject.solvent(subject.grid.shell_frequencies()) >= SEEN
    return max(first, int(seen.int().argmax()))


def _noise_correlation(subject: Subject) -> NoiseCorrelation | None:
    """That of what the half-maps leave over; None where images are cut to a circle, whose edge they
    share, and in boxes so small that there is no place far from the molecule."""
    if subject.noise.circles or subject.grid.box_size < SMALLEST_WITH_CORNERS:
        return None
    pairs = zip(subject.halves, subject.maps[1:], strict=True)
    left = [QuadraticForm(s, len(v)).beyond(v.to(subject.device)).linear.cpu() for s, v in pairs]
    return noise_correlation(left[0], left[1], subject.maps[0], subject.grid)


def notes_on_mask(mask: Tensor, found: MaskedFsc, volume: Tensor, grid: Grid) -> list[Note]:
    """What is wrong with a mask that the user gave, by its shape and by its FSC."""
    return shape_notes(mask, volume, grid) + tightness_notes(found, grid)


def _substitute_noise(
    subject: Subject,
    comparison: Comparison,
    refit: Callable[[Again, Progress], list[GaussianMixture]],
    progress: Progress,
) -> Substitution:
    """Replace the phases of the images by noise and fit both half-sets again."""
    grid, particles = subject.grid, subject.particles
    shell = substitution_shell(comparison.curves[VOXELS], grid)
    frequency, seed = shell_frequency(shell, grid), subject.settings.seed + 1
    noise = already_normalised(subject.noise)

    def read(indices: Tensor | None = None) -> Iterator[Batch]:
        return substituted(particles.batches(indices), subject.noise, frequency, seed)

    with progress.stage(SUBSTITUTE, len(particles), "images") as stage:
        half_sets = without(subject.left_out, particles.half_sets.long(), 0) - 1
        symmetry = subject.settings.symmetry
        halves = accumulate(
            read(), half_sets, 2, grid, noise, stage.advance, symmetry, device=subject.device
        )
    if subject.polarity.sign < 0.0:
        halves = [half.inverted() for half in halves]
    solvent = subject.solvent
    seen = [half.seen_through(solvent) for half in halves] if solvent else halves
    mixtures = refit(Again(read, noise, seen), progress)
    maps = [solvent.shown(voxelize(m, grid).detach(), grid) for m in mixtures]
    if subject.residual is not None:
        maps = subject.residual.added(maps, halves, subject.support)
    fsc = fourier_shell_correlation(maps[0] * subject.mask, maps[1] * subject.mask)
    return Substitution(shell, fsc)


def _sample(subject: Subject, generator: torch.Generator) -> Tensor:
    """Positions of some particles."""
    sample = torch.randperm(len(subject.particles), generator=generator)
    return sample[~torch.isin(sample, subject.left_out)][:SAMPLE]


def _look_at_particles(subject: Subject, progress: Progress) -> Agreement:
    particles = subject.particles
    generator = torch.Generator().manual_seed(subject.settings.seed + 2)
    sample = _sample(subject, generator)
    half1, half2 = (subject.polarity.sign * half for half in subject.maps[1:])
    with progress.stage("testing single particles", None, "images"):
        return particle_agreement(
            particles.batches(sample), particles.half_sets, (half1, half2), subject.grid,
            subject.noise, generator,
        )  # fmt: skip


def _left_over(subject: Subject, progress: Progress) -> Leftovers:
    particles = subject.particles
    sample = _sample(subject, torch.Generator().manual_seed(subject.settings.seed + 2))
    halves = [subject.polarity.sign * half for half in subject.maps[1:]]
    with progress.stage("looking beside single particles", None, "images"):
        return left_over(
            particles.batches(sample), particles.half_sets, halves, subject.support, subject.grid,
            subject.noise,
        )  # fmt: skip
