"""What is wrong with a run, in words, from what was measured: no truth is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..grid import Grid
from ..maps.fsc import first_below, resolution, truth_from_halves
from ..notes import Note, by_severity
from ..settings import PAPER_IMAGES
from .agreement import AGAINST, Agreement
from .calibration import difference_variance
from .comparison import (
    CROSS_MASKED,
    FULL_FROM_CROSS,
    HALF_MAPS,
    INVENTED,
    VOXELS_MASKED,
    Comparison,
)
from .independence import NoiseCorrelation
from .leftovers import Leftovers
from .symmetry_check import SymmetryCheck

SHARED_IMAGES = 0.002
"""Share of a half-set's images in the other half-set from which they are called duplicated."""
SHARED_NOISE = 0.03
"""Correlation of the half-sets' noise from which they are called dependent,"""
BEYOND_CHANCE = 4.0
"""if it is as many of its standard deviations from 0."""
FEW_PARTICLES = 100
"""In a half-set; fewer cannot say what one particle is worth."""
HARDLY_SEEN, BADLY_SEEN = 0.05, 0.2
"""Share of the directions that views leave out, for a warning and for an alarm: the FSC with the truth
over all directions is at most the root of the rest, 0.89 at the latter."""
DEFOCUS_ERROR = 300.0
"""Angstrom, from which errors of the defocus are told."""
CUT_OFF, MUCH_CUT_OFF = 0.1, 0.3
"""Share of the finest resolved signal outside the box, for a note and for a warning."""
NEIGHBOURS = 0.02
"""Surplus of low-frequency power outside the particle that is told."""
SIGNAL = 5.0
"""Standard deviations by which a sample of particles must agree with the other half's map."""
CHANCE = 2.0
"""Standard deviations that noise hardly reaches: few particles beyond them may hold something."""
ALIGNED = 0.04
"""Gain by which the given rotations must beat rotations dealt out anew, or 3 of its deviations."""
JUDGEABLE = 0.05
"""Standard deviation of that difference above which it is not judged."""
CONTRADICTING = 0.02
"""Share of particles against the map; 0.0013 are expected by chance."""
REVERSED = 2.5
"""Standard deviations by which their own rotations must make them do so: other matter does not care."""
TELLING = 6.0
"""Standard deviations that one particle must be able to show before single ones are judged."""
WORSE = 0.03
"""FSC by which Gaussians may fall behind plain voxels in the data of the other half-set, ..."""
WORSE_ALONE = 0.1
"""... and where voxels complete their map: no Gaussian is as narrow as the detail of coarse pixels."""
WHERE_CLEAR = 0.5
"""Voxel half-map FSC above which they are compared; below, three shells say too little."""
STILL_RISING = 3e-3
"""Relative gain of the likelihood of unseen particles per step at which a fit had not arrived."""
FEW = 0.5
"""Share of the suggested number of Gaussians below which they are called few."""
INVENTS = 0.143
"""FSC invented from particles without signal that is worth a word."""
WRONG_SYMMETRY = 4.0
"""Standard errors by which particles must prefer a smaller group before one is called wrong."""
INFLATED = 2
"""Shells by which the half-maps may promise more than the cross-FSC confirms."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What `diagnose` looks at; None or empty where it was not measured.

    ``shared_images``, ``noise_correlation``: as in `independence`; ``unseen``: the share of
    directions that no view shows (`views.unseen_share`); ``particles`` in the smaller half-set;
    ``left``: what single particles leave over; ``cut_off``: as in `box`; ``independent``
    (n_shells,): Fourier coefficients of a masked map that are independent; ``history``: (step, gain,
    held-out gain) of the map's fit; ``gaussians`` and ``suggested`` number of one fit;
    ``on_mask``: what is wrong with the mask; ``symmetry``: what particles say of the one given;
    ``first_shell``: the lowest at which Gaussians are compared with voxels;
    ``gaussians_cross``: the cross-FSC of the Gaussians alone, where the maps are completed by voxels;
    ``images_shown`` to the map's fit, where it was fitted to images.
    """

    grid: Grid
    comparison: Comparison
    agreement: Agreement | None = None
    shared_images: float = 0.0
    noise_correlation: NoiseCorrelation | None = None
    unseen: float = 0.0
    particles: int | None = None
    left: Leftovers | None = None
    cut_off: float = 0.0
    independent: Tensor | None = None
    history: Sequence[tuple[int, float, float]] = ()
    gaussians: int | None = None
    suggested: int | None = None
    on_mask: Sequence[Note] = ()
    symmetry: SymmetryCheck | None = None
    first_shell: int = 1
    gaussians_cross: Tensor | None = None
    images_shown: int | None = None


def diagnose(evidence: Evidence) -> list[Note]:
    """All findings, alarms first. A healthy run gives none that is an alarm or a warning."""
    asymmetric, dependent = list(_asymmetric(evidence)), list(_dependent(evidence))
    if asymmetric:  # what a wrong symmetry does to both halves is no noise of theirs
        dependent = [finding for finding in dependent if finding.code != "half-sets-share-noise"]
    unseen = list(_unseen(evidence))
    found = [*asymmetric, *dependent, *unseen, *_disagreeing(evidence)]
    causes = [finding for finding in found if finding.severity == "alarm"]
    if not causes and not _are_few(evidence):  # each of them would speak against every fit
        found += [*_badly_fitted(evidence), *_of_single_images(evidence)]
    found += [*_few(evidence), *evidence.on_mask, *_inflated(evidence), *_cut_off(evidence)]
    return by_severity(found)


def has_signal(agreement: Agreement) -> bool:
    """Whether particles agree with the map of the half-set that they are not in, beyond chance."""
    return agreement.gain > SIGNAL * agreement.gain_deviation


def _dependent(evidence: Evidence) -> Iterator[Note]:
    share = evidence.shared_images
    if share > SHARED_IMAGES:
        what = (
            "The two half-sets hold the same images"
            if share > 0.99
            else f"{100 * share:.1f} % of the images of one half-set are in the other one too"
        )
        yield Note(
            "half-sets-share-images", "alarm",
            f"{what}: they share noise, and every half-map FSC of this run is too high.",
            "Remove the duplicates, or keep them in one half-set, and run again.",
        )  # fmt: skip
        return
    noise = evidence.noise_correlation
    if noise is not None and noise.value > max(SHARED_NOISE, BEYOND_CHANCE * noise.deviation):
        yield Note(
            "half-sets-share-noise", "alarm",
            f"The noise of the two half-sets correlates ({noise.value:.2f} ± {noise.deviation:.2f} far "
            f"from the molecule): they are not independent, and every half-map FSC is too high.",
            "Look for particles picked twice, or overlapping boxes, in different half-sets.",
        )  # fmt: skip


def _unseen(evidence: Evidence) -> Iterator[Note]:
    share = evidence.unseen
    if share > HARDLY_SEEN:
        yield Note(
            "views-missing", "alarm" if share > BADLY_SEEN else "warning",
            f"The views leave out {100 * share:.0f} % of the directions of Fourier space: there the "
            f"map is smeared or invented. Over all directions the resolution is "
            f"{evidence.comparison.headline}.",
            "Look at the resolution by direction; collect tilted images or other views.",
        )  # fmt: skip


def _are_few(evidence: Evidence) -> bool:
    return evidence.particles is not None and evidence.particles < FEW_PARTICLES


def _few(evidence: Evidence) -> Iterator[Note]:
    if _are_few(evidence):
        yield Note(
            "few-particles", "warning",
            f"One half-set holds {evidence.particles} particles: too few to tell junk from particles, "
            f"and every FSC is uncertain by several shells.",
            "Take the map as a first look, and use more particles.",
        )  # fmt: skip


def _cut_off(evidence: Evidence) -> Iterator[Note]:
    share = evidence.cut_off
    if share > CUT_OFF:
        yield Note(
            "delocalisation", "warning" if share > MUCH_CUT_OFF else "note",
            f"Defocus moves {100 * share:.0f} % of the signal of {evidence.comparison.headline} out of "
            f"the box of {evidence.grid.side:.0f} Å.",
            "Re-extract with a larger box to keep it.",
        )  # fmt: skip


def _of_single_images(evidence: Evidence) -> Iterator[Note]:
    left = evidence.left
    if left is None:
        return
    variance, error = left.defocus_variance
    if variance > max(DEFOCUS_ERROR**2, BEYOND_CHANCE * error):
        yield Note(
            "defocus-wrong", "warning",
            f"The defocus of single particles is off by about {math.sqrt(variance):,.0f} Å "
            f"(standard deviation), by their own images.",
            "Refine the defocus of each particle: cryosplat refine.",
        )  # fmt: skip
    surplus, error = left.surplus
    if surplus > max(NEIGHBOURS, BEYOND_CHANCE * error):
        yield Note(
            "neighbours", "warning",
            f"The images hold something beside the particle: {100 * surplus:.0f} % more power at low "
            f"frequencies outside it than inside, once its projection is subtracted.",
            "Look for neighbours in the boxes; extract from a sparser selection, if they disturb.",
        )  # fmt: skip


def _disagreeing(evidence: Evidence) -> Iterator[Note]:
    agreement = evidence.agreement
    if agreement is None or not agreement.n:
        return
    if not has_signal(agreement):
        beyond = agreement.gain / agreement.gain_deviation
        if _are_few(evidence) and beyond > CHANCE:
            yield Note(
                "no-signal", "warning",
                f"{agreement.n} particles are too few to tell the map from noise: compared with the "
                f"map of the other half-set they agree by {beyond:.1f} standard deviations, and more "
                f"than {SIGNAL:g} are expected.",
                "Use more particles.",
            )  # fmt: skip
            return
        yield Note(
            "no-signal", "alarm",
            f"The particles show no sign of the map: {agreement.n} of them, compared with the map of "
            f"the other half-set, agree by {beyond:.1f} standard "
            f"deviations; far more than {SIGNAL:g} are expected. The map is made of noise.",
            "Look at the images, and check that stack, poses and CTFs belong together.",
        )  # fmt: skip
        return
    advantage = agreement.gain - agreement.dealt_gain
    deviation = math.sqrt(2.0) * agreement.gain_deviation
    if deviation < JUDGEABLE and advantage < max(ALIGNED, 3.0 * deviation):
        yield Note(
            "poses-say-nothing", "alarm",
            f"The orientations carry no information: particles fit the map no better with them than "
            f"with randomly permuted ones (gain {agreement.gain:.2f} against "
            f"{agreement.dealt_gain:.2f}).",
            "Check that the rows of poses and images belong together, and the angle convention.",
        )  # fmt: skip
    elif (
        agreement.strength > TELLING
        and agreement.against > CONTRADICTING
        and agreement.reversal > REVERSED
    ):
        yield Note(
            "particles-contradict", "alarm",
            f"{100 * agreement.against:.0f} % of the particles contradict the map: they match it best "
            f"with inverted contrast (t below {AGAINST:g}). A CTF or image of the wrong sign causes "
            f"this.",
            "Check contrast and defocus of each optics group, stack by stack.",
        )  # fmt: skip


def _badly_fitted(evidence: Evidence) -> Iterator[Note]:
    rise = _rise(evidence.history)
    if rise is not None and rise > STILL_RISING:
        yield Note(
            "fit-stopped-early", "alarm",
            f"The fit was stopped before it converged: the likelihood of unseen particles still rose "
            f"by {100 * rise:.1f} % per step.",
            "Omit --steps, or give more.",
        )  # fmt: skip
        return
    voxels, alone = evidence.comparison.curves[VOXELS_MASKED], evidence.gaussians_cross
    allowed, cross = WORSE, evidence.comparison.curves[CROSS_MASKED]
    if alone is not None:
        allowed, cross = WORSE_ALONE, alone
    worst, shell = _behind_voxels(cross, voxels, evidence.independent, evidence.first_shell)
    if worst >= -allowed:
        return
    where = f"FSC with the other half's data lower by {-worst:.2f} at {_angstrom(shell, evidence)}"
    count, suggested = evidence.gaussians, evidence.suggested
    if count is not None and suggested is not None and count < FEW * suggested:
        yield Note(
            "too-few-gaussians", "alarm",
            f"{count:,} Gaussians are too few: plain voxels explain unseen particles better "
            f"({where}). This density needs about {suggested:,}.",
            "Omit --gaussians, or give more.",
        )  # fmt: skip
    elif evidence.images_shown is not None:
        yield Note(
            "fit-not-converged", "alarm",
            f"The fit to images has not converged: plain voxels explain unseen particles better "
            f"({where}). It was shown {evidence.images_shown:,} images; the CryoSplat paper's fits "
            f"were shown about {PAPER_IMAGES:,}.",
            "Use --solver statistics; or, without --preset paper, give more --epochs.",
        )  # fmt: skip
    else:
        yield Note(
            "fit-stuck", "alarm",
            f"The Gaussians explain unseen particles worse than plain voxels ({where}): the fit is "
            f"stuck.",
            "Use --start statistics, or another --seed.",
        )  # fmt: skip


def _rise(history: Sequence[tuple[int, float, float]]) -> float | None:
    """Relative held-out gain per step at the end of a fit; None where it is not known."""
    if len(history) < 2:
        return None
    (before, _, lower), (step, _, higher) = history[-2:]
    if not (higher == higher and lower == lower and higher > 0.0):
        return None
    return (higher - lower) / higher / (step - before)


def _behind_voxels(
    cross: Tensor, voxels: Tensor, independent: Tensor | None, first: int
) -> tuple[float, int]:
    """The worst mean over three shells, from ``first`` on, of cross-FSC minus the voxels' own and of
    what chance may do, and its middle shell."""
    last = first_below(voxels, WHERE_CLEAR)
    difference = (cross - voxels)[first:last]
    if len(difference) < 3:
        return 0.0, 0
    means = difference.unfold(0, 3, 1).mean(1)
    if independent is not None:
        variance = difference_variance(cross, voxels, independent)[first:last]
        means = (means + BEYOND_CHANCE * variance.unfold(0, 3, 1).sum(1).sqrt() / 3.0).clamp_max(
            0.0
        )
    worst = int(means.argmin())
    return float(means[worst]), worst + first + 1


def _asymmetric(evidence: Evidence) -> Iterator[Note]:
    found = evidence.symmetry
    if found is None or found.strongest.deviations <= WRONG_SYMMETRY:
        return
    rival = found.strongest
    made = "without it" if rival.symmetry == "C1" else f"with {rival.symmetry} alone"
    instead = "Omit --symmetry" if rival.symmetry == "C1" else f"Use --symmetry {rival.symmetry}"
    yield Note(
        "wrong-symmetry", "alarm",
        f"The data do not have symmetry {found.symmetry}: unseen particles fit a map made {made} "
        f"better, by {rival.nats:.0f} nats ({rival.deviations:.0f} standard errors, {found.n:,} "
        f"particles).",
        f"{instead}. Where the molecule is known to have {found.symmetry}: align the particles to "
        f"RELION's axes; I1, I2, I3 and I4 differ.",
    )  # fmt: skip


def _inflated(evidence: Evidence) -> Iterator[Note]:
    curves, headline = evidence.comparison.curves, evidence.comparison.headline
    invented = curves.get(INVENTED)
    if invented is not None and headline.shell and _at(invented, headline.shell) > INVENTS:
        yield Note(
            "pipeline-invents", "note",
            f"Particles without signal give half-maps with an FSC of "
            f"{_at(invented, headline.shell):.2f} at the resolution of this run: part of the "
            f"half-map FSC comes from the model and is subtracted in the corrected curve, which the "
            f"headline rests on.",
        )  # fmt: skip
    halves = resolution(truth_from_halves(curves[HALF_MAPS]), evidence.grid, 0.5)
    cross = resolution(curves[FULL_FROM_CROSS], evidence.grid, 0.5)
    if headline.resolved and halves.shell > cross.shell + INFLATED:
        yield Note(
            "half-maps-inflated", "note",
            f"The half-maps alone suggest more than independent voxel data support: for the map of all "
            f"particles, an FSC with the truth above 0.5 to {halves}, against {cross}. The prior that "
            f"both halves share makes the difference; the headline allows for it.",
        )  # fmt: skip


def _at(curve: Tensor, shell: int) -> float:
    return float(curve[shell])


def _angstrom(shell: int, evidence: Evidence) -> str:
    return f"{evidence.grid.side / max(shell, 1):.1f} Å"
