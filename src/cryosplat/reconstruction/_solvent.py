"""The solvent that images show the molecule in: found from the data, before anything is fitted.

On statistics cropped to about 10 Angstrom, each half-set fits a coarse mixture twice: in vacuum, and
in a solvent whose two numbers are learned with it from where solvents usually are. There is a solvent
where the particles of *both* other halves say so. Positive Gaussians make this a fair question: they
cannot follow images whose low frequencies water has taken away, nor do they need to where it has not.

Too strong a solvent costs little, for the mixture can fill up what H has taken (more at each round: B
drifts from 4,700 to 2,400 A^2 within four); a prior that tells usual from unusual holds it.

The run's solvent is the mean of what the two halves found. The halves then share two numbers, as they
share the noise and the mask. H is a smooth factor, which cancels in the FSC of any shell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fitting import Schedule, density, descend, effective_voxels, fit, start_in_density
from ..mixture import GaussianMixture
from ..notes import Note
from ..progress import SOLVENT, Progress
from ..solvent import VACUUM, Solvent, filtered
from ..splatting import voxelize
from ..statistics import QuadraticForm, Statistics
from ._data import Halves

USUAL = Solvent(0.93, 2000.0)
CONTRAST_SPREAD, LOG_B_SPREAD = 1.5, 0.7  # of the prior, in logit(k) and ln(B)
PRIOR_WORTH = 0.01  # of the likelihood, at one deviation: as much as a model's misfit hides
WORTH = 0.05  # share of the likelihood of unseen particles that a solvent must add, ...
CERTAIN = 10.0  # ... and nats
STEPS, RATE, BETAS = 60, 0.03, (0.8, 0.99)
PIXEL, LARGEST_BOX = 5.0, 48  # Angstrom and pixels of the coarse statistics
VOXELS_PER_GAUSSIAN, FEWEST, MOST = 4, 50, 1000
FIRST_SCALE = 1.0  # coarse pixels
FAINT = 0.5  # of H, at whose resolution the note says that water takes half


@dataclass(frozen=True, slots=True)
class FoundSolvent:
    """The ``solvent`` of a run, what each of the ``halves`` found, and what it is worth.

    ``gain``: the share by which the likelihood of unseen particles grows over vacuum's, in the half
    where it grows less; NaN where nothing was looked for.
    """

    solvent: Solvent = VACUUM
    halves: tuple[Solvent, ...] = ()
    gain: float = math.nan

    @property
    def contrast_error(self) -> float:
        """Standard error of k."""
        return 0.5 * abs(self.halves[0].contrast - self.halves[1].contrast)

    @property
    def b_factor_error(self) -> float:
        """Standard error of B in square Angstrom."""
        return 0.5 * abs(self.halves[0].b_factor - self.halves[1].b_factor)

    def notes(self) -> list[Note]:
        """What the user should know of it."""
        if not self.solvent:
            return []
        k, b = self.solvent.contrast, self.solvent.b_factor
        half = math.sqrt(0.25 * b / math.log(k / FAINT)) if k > FAINT else 0.0
        return [
            Note(
                "solvent-modelled", "note",
                f"The images show the molecule in water, which hides {100 * k:.0f} % of its lowest "
                f"frequencies"
                + (f" and half of those at {half:.0f} Å" if half else "")
                + f" (H = 1 - {k:.2f} exp(-{b:,.0f} Å² s²/4)). map.mrc is the molecule as the images "
                f"show it, to be compared with other programs' maps; gaussians.ply is the molecule "
                f"itself, which therefore differs from them at low resolution.",
            )
        ]  # fmt: skip

    def seen(self, halves: Halves) -> Halves:
        """The statistics of both halves for the molecule itself."""
        if not self.solvent:
            return halves
        first, second = (half.seen_through(self.solvent) for half in halves)
        return first, second


class SolventTerm:
    """``L(H V)`` of a coarse mixture V, whose H is learned by steps of its own, one a call."""

    def __init__(self, form: QuadraticForm, first: Solvent) -> None:
        self.form, self.grid = form, form.grid
        self._first = _encoded(first)
        self._learned = self._first.clone().requires_grad_()
        self._adam = torch.optim.Adam([self._learned], lr=RATE, betas=BETAS)
        self._spread = torch.tensor([CONTRAST_SPREAD, LOG_B_SPREAD])

    @property
    def solvent(self) -> Solvent:
        """H as it is now."""
        logit, logarithm = self._learned.detach().double().tolist()
        return Solvent(1.0 / (1.0 + math.exp(-logit)), math.exp(logarithm))

    def __call__(self, mixture: GaussianMixture) -> Tensor:
        if self._learned.grad is not None:
            self._adam.step()
            self._adam.zero_grad()
        energy = self.form(filtered(voxelize(mixture, self.grid), self.grid, self._response))
        unusual = ((self._learned - self._first) / self._spread).square().log1p().sum()
        return energy + PRIOR_WORTH * energy.detach().abs() * unusual

    def _response(self, frequencies: Tensor) -> Tensor:
        contrast, b_factor = self._learned[0].sigmoid(), self._learned[1].exp()
        return 1.0 - contrast * torch.exp(-0.25 * b_factor * frequencies.square())


def _encoded(solvent: Solvent) -> Tensor:
    k = solvent.contrast
    return torch.tensor([math.log(k / (1.0 - k)), math.log(solvent.b_factor)])


def found_solvent(halves: Halves, symmetry: str, seed: int, progress: Progress) -> FoundSolvent:
    """The solvent that the particles of both halves prefer to vacuum, or vacuum."""
    coarse = [_coarse(half) for half in halves]
    found, gains = [], []
    with progress.stage(SOLVENT, 4, "fits") as stage:
        for number, (own, other) in enumerate((coarse, coarse[::-1])):
            generator, unseen = torch.Generator().manual_seed(seed + number), _form(other)
            volume = _fitted_in_vacuum(own, symmetry, generator)
            without = -float(unseen(volume))
            stage.advance(1)
            solvent, volume = _fitted_in_solvent(own, symmetry, generator)
            better = -float(unseen(solvent.shown(volume, own.grid))) - without
            stage.advance(1)
            found.append(solvent)
            gains.append(better / max(abs(without), 1e-30) if better > CERTAIN else 0.0)
    k = 0.5 * (found[0].contrast + found[1].contrast)
    b = math.sqrt(found[0].b_factor * found[1].b_factor)
    gain = min(gains)
    if gain < WORTH:
        progress.say("Solvent: none detected.")
        return FoundSolvent(VACUUM, (VACUUM, VACUUM), gain)
    result = FoundSolvent(Solvent(k, b), (found[0], found[1]), gain)
    progress.say(
        f"Solvent: H(s) = 1 - k exp(-B s^2 / 4), k {k:.2f} ± {result.contrast_error:.2f}, "
        f"B {b:,.0f} ± {result.b_factor_error:,.0f} Å²; unseen particles are {100 * gain:.0f} % "
        f"more likely with it."
    )
    return result


def _coarse(statistics: Statistics) -> Statistics:
    side = statistics.grid.side
    box = max(min(round(side / PIXEL), LARGEST_BOX) // 2 * 2, 8)
    if box < statistics.grid.box_size:
        statistics = statistics.downsampled(box)
    return statistics.to("cpu")


def _form(statistics: Statistics) -> QuadraticForm:
    return QuadraticForm(statistics, statistics.grid.box_size)


def _fitted_in_vacuum(statistics: Statistics, symmetry: str, generator: torch.Generator) -> Tensor:
    form = _form(statistics)
    mixture = fit(form, _start(form, symmetry, generator), Schedule(steps=STEPS)).mixture
    return voxelize(mixture, form.grid).detach()


def _fitted_in_solvent(
    statistics: Statistics, symmetry: str, generator: torch.Generator
) -> tuple[Solvent, Tensor]:
    """The solvent, and the map of the molecule itself."""
    term = SolventTerm(_form(statistics), USUAL)
    first = _start(_form(statistics.seen_through(USUAL)), symmetry, generator)
    mixture = descend(term, first, Schedule(steps=STEPS)).mixture
    return term.solvent, voxelize(mixture, term.grid).detach()


def _start(form: QuadraticForm, symmetry: str, generator: torch.Generator) -> GaussianMixture:
    positive = density(form)
    k = round(effective_voxels(positive) / VOXELS_PER_GAUSSIAN)
    k = min(max(k, FEWEST), MOST)
    return start_in_density(form, positive, k, FIRST_SCALE, generator, symmetry)
