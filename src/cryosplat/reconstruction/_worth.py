"""What each particle is worth: scale and weight of every image, from its own half-set's map alone.

A stage between the first statistics and the final ones. The voxel maps of the half-sets predict their
images; what comes of it enters the statistics as scale and weight, and stays where the two half-maps
agree better with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..grid import Grid
from ..maps.fsc import fourier_shell_correlation
from ..maps.mask import soft_mask
from ..noise import NoiseModel
from ..notes import Note
from ..particles import Particles
from ..progress import WEIGH, Progress
from ..weighting import gather, judge
from ._data import Halves
from ._screening import without
from ._subject import Maps

FEWEST = 100  # particles of a half-set that say what particles look like
SAMPLE = 1000  # particles held against the other half-set's map
FAINTEST = 1.0  # standard deviations that a projection stands out in the median
LEAST_SPREAD = 0.1  # of scales; what is less changes nothing
LEAST_SHARE = 0.005  # of images that hold no particle
MUCH = 10.0  # percent of such images, which is worth a warning
ROUNDS = 3
SETTLED = 0.01  # share of the particles that change sides
KEPT = 0.5
"""Images of at least this weight are kept where weights cannot be given."""
NOTHING = 1e-3  # weights below are 0
LARGEST_GROUP = 1 / 3  # of a half-set, that a micrograph may hold


@dataclass(frozen=True, slots=True)
class Worth:
    """Of all n particles: ``weights`` (n,), the posterior of each to hold the particle; ``scales``
    (n,) of its signal; ``odds`` (n,), the logarithm of the posterior's odds; ``inverted`` (n,) bool:
    particles that look like the particle with its contrast reversed.

    Of both half-sets: the ``shares`` of images with a particle and the ``spreads`` of scales.
    Particles that were left out before have weight 0. ``used``: whether the map was made with them.
    """

    weights: Tensor
    scales: Tensor
    odds: Tensor
    inverted: Tensor
    shares: tuple[float, float]
    spreads: tuple[float, float]
    used: bool = False

    @property
    def matters(self) -> bool:
        """Whether the particles are unlike enough for weights or scales to change anything."""
        return min(self.shares) < 1.0 - LEAST_SHARE or max(self.spreads) > LEAST_SPREAD

    @property
    def kept(self) -> Tensor:
        """Which particles are kept, (n,) bool."""
        return self.weights >= KEPT

    def compared(self, others: Maps, maps: Maps, grid: Grid) -> Worth:
        """This, ``used`` where half-maps made with it, ``others``, agree better than those without."""
        mask = soft_mask(maps.full, grid)
        new, old = (
            float(fourier_shell_correlation(m.half1 * mask, m.half2 * mask)[1:].sum())
            for m in (others, maps)
        )
        return replace(self, used=new > old)

    def is_like(self, other: Worth) -> bool:
        """Whether hardly a particle changes sides."""
        return float((self.kept != other.kept).double().mean()) < SETTLED

    def notes(self) -> list[Note]:
        """What was found and what was done with it."""
        n, low = len(self.weights), int((~self.kept).sum())
        share, spread = 100.0 * low / n, max(self.spreads)
        if not self.matters:
            return []
        junk = (
            f"{low:,} of {n:,} images ({share:.1f} %) do not show this particle, judged by their "
            f"weights"
        )
        uneven = f"the scale of the signal varies by {100.0 * spread:.0f} %"
        if not self.used:
            return [Note(
                "weights-unused", "note",
                f"{junk}, and {uneven}; half-maps made with weights and scales agree no better, so all "
                f"particles are weighted equally.",
            )]  # fmt: skip
        found = []
        if min(self.shares) < 1.0 - LEAST_SHARE:
            found.append(Note(
                "images-without-particle", "warning" if share > MUCH else "note",
                f"{junk}. Weights are used; particles_kept.star holds the other {n - low:,} images.",
                "Look at the worst images in the report; continue with particles_kept.star.",
            ))  # fmt: skip
        if spread > LEAST_SPREAD:
            found.append(Note(
                "scales-differ", "note", f"{uneven[0].upper()}{uneven[1:]}; scales are used.",
            ))  # fmt: skip
        return found if share > MUCH else found[::-1]

    def applied(self, particles: Particles) -> Particles:
        """The particles with these scales in their CTFs."""
        optics = particles.optics
        return replace(particles, optics=replace(optics, scale=optics.scale * self.scales))


@dataclass(frozen=True, slots=True)
class Weighed:
    """Particles with scales, their statistics and baseline maps, and their ``worth``.

    ``worth``: None where the data cannot say.
    """

    worth: Worth | None
    particles: Particles
    halves: Halves
    voxels: Maps


def worth_of(
    particles: Particles,
    halves: Halves,
    voxels: Maps,
    left_out: Tensor,
    sign: float,
    noise: NoiseModel,
    again: Callable[[Particles, Tensor], tuple[Halves, Maps]],
    progress: Progress,
) -> Weighed:
    """Judge the particles by the maps and make these again, as long as the half-maps agree better.

    Better maps judge particles better, which make better maps; each round judges the particles as they
    are given. ``left_out``: positions of those that do not count; ``sign`` makes maps with
    protein bright the images'; ``again``: statistics and maps of particles with weights (n,).
    """
    first = now = Weighed(None, particles, halves, voxels)
    grid = halves[0].grid
    for _ in range(ROUNDS):
        worth = judged(particles, now.voxels, sign, grid, noise, left_out, progress)
        before = now.worth
        if before is not None and (worth is None or not worth.matters or worth.is_like(before)):
            return now
        if worth is None or not worth.matters:
            return replace(first, worth=worth)
        scaled = worth.applied(particles)
        new_halves, new_voxels = again(scaled, worth.weights)
        worth = worth.compared(new_voxels, now.voxels, grid)
        if not worth.used:
            return replace(first, worth=worth) if before is None else now
        now = Weighed(worth, scaled, new_halves, new_voxels)
    return now


def judged(
    particles: Particles,
    voxels: Maps,
    sign: float,
    grid: Grid,
    noise: NoiseModel,
    left_out: Tensor,
    progress: Progress,
) -> Worth | None:
    """The worth of all particles; None where the maps are too faint, or the particles too few, to say.

    ``voxels``: with protein bright; ``sign`` makes them the images'.
    """
    sides = without(left_out, particles.half_sets.long(), 0) - 1
    members = [(sides == side).nonzero().squeeze(1) for side in (0, 1)]
    if min(map(len, members)) < FEWEST:
        return None
    maps = [sign * v * soft_mask(v, grid) for v in (voxels.half1, voxels.half2)]
    with progress.stage(WEIGH, len(particles), "images") as stage:
        evidence = gather(particles.batches(), sides, maps, grid, noise, stage.advance)
    rows = evidence.index[:: max(1, len(evidence) // SAMPLE)]
    unseen = gather(particles.batches(rows), 1 - sides, maps, grid, noise)
    seen = evidence.select(torch.isin(evidence.index, rows))
    products, powers = (x.double().sum(0) for x in (unseen.products, unseen.projections))
    own = seen.products.double().mean(0) - products / len(unseen)
    reliability = (products / powers.clamp_min(1e-30)).clamp(0.0, 1.0)
    reliability = torch.where(products > 2.0 * powers.sqrt(), reliability, 0.0)
    n = len(particles)
    weights, scales = torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    odds = torch.full_like(weights, -torch.inf)
    inverted = torch.zeros(n, dtype=torch.bool)
    found = []
    for side in (0, 1):
        mine = evidence.select(torch.isin(evidence.index, members[side]))
        found.append(judge(mine, reliability, own, _groups(particles, mine.index)))
        weights[mine.index], scales[mine.index] = found[-1].weights, found[-1].scales
        odds[mine.index], inverted[mine.index] = found[-1].odds, found[-1].inverted
    if min(float(one.strengths.median()) for one in found) < FAINTEST:
        return None
    spreads = found[0].spread, found[1].spread
    if max(spreads) <= LEAST_SPREAD:
        scales.fill_(1.0)
    weights = torch.where(weights < NOTHING, 0.0, weights)
    return Worth(weights, scales, odds, inverted, (found[0].share, found[1].share), spreads)


def _groups(particles: Particles, index: Tensor) -> Tensor | None:
    """The micrographs of some particles, where they say something of their scales."""
    if particles.micrographs is None:
        return None
    groups = torch.from_numpy(particles.micrographs)[index]
    counts = groups.unique(return_counts=True)[1]
    fits = 2 * len(counts) < len(index) and int(counts.max()) <= LARGEST_GROUP * len(index)
    return groups if fits else None
