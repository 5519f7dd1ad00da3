"""Is the molecule bright or dark in the images? A matched filter on the statistics decides, or a fit.

A blob is the wrong filter where water has taken the low frequencies: a hollow molecule then looks like
a dark one. Gaussians that cannot be negative fit images of the right sign alone, in vacuum or in water.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from ..fitting import Schedule, density, effective_voxels, fit, start_in_density
from ..mixture import GaussianMixture
from ..solvent import VACUUM, Solvent
from ..splatting import voxelize
from ..statistics import QuadraticForm, Statistics


@dataclass(frozen=True, slots=True)
class Polarity:
    """How the protein looks in the images, "bright" or "dark": as it was ``used``, and as the data
    have it, ``preferred`` by ``standard_deviations`` (negative where that is dark)."""

    used: Literal["bright", "dark"]
    preferred: Literal["bright", "dark"]
    standard_deviations: float

    @property
    def sign(self) -> float:
        """What images are multiplied by to make protein bright."""
        return -1.0 if self.used == "dark" else 1.0


BRIGHT = Polarity("bright", "bright", 0.0)
WIDTHS = (0.05, 0.08, 0.12, 0.17, 0.22)  # of the box side: the molecule's standard deviation
SURROUNDINGS = VACUUM, Solvent(0.93, 2000.0)
STEPS, GAUSSIANS, VOXELS_PER_GAUSSIAN = 30, 400, 8


def fitted_polarity(own: Statistics, unseen: Statistics) -> float:
    """How many standard deviations bright protein explains ``unseen`` particles better than dark.

    Of a coarse mixture fitted to ``own`` particles, in the surroundings in which it does so best;
    negative when dark. Half its square is the log-likelihood between the two.
    """
    bright, dark = (
        max(_gain(signed, unseen if signed is own else unseen.inverted(), solvent)
            for solvent in SURROUNDINGS)
        for signed in (own, own.inverted())
    )  # fmt: skip
    return math.copysign(math.sqrt(2.0 * abs(bright - dark)), bright - dark)


def _gain(own: Statistics, unseen: Statistics, solvent: Solvent) -> float:
    """Log-likelihood of unseen particles over that of no molecule at all, 0 where it is less."""
    if solvent:
        own, unseen = own.seen_through(solvent), unseen.seen_through(solvent)
    form, held_out = (QuadraticForm(s, s.grid.box_size) for s in (own, unseen))
    positive = density(form)
    k = min(max(round(effective_voxels(positive) / VOXELS_PER_GAUSSIAN), 20), GAUSSIANS)
    start = start_in_density(form, positive, k, 1.0, torch.Generator().manual_seed(0))
    return max(fit(form, start, Schedule(steps=STEPS), held_out).held_out, 0.0)


def polarity_score(form: QuadraticForm) -> float:
    """How many standard deviations a blob of density at the centre stands out; negative when dark.

    ``<b, V> / sqrt(<V, K*V>)`` for centred Gaussians V of several widths, the one furthest from 0:
    normally distributed with deviation 1 where images hold noise only. Half its square is the
    log-likelihood that the better polarity gains.
    """
    scores = []
    for width in WIDTHS:
        blob = GaussianMixture(
            torch.zeros(1, 3),
            torch.full((1, 3), width * form.grid.side),
            torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
            torch.ones(1),
        ).to(form.linear.device)
        volume = voxelize(blob, form.grid).double()
        power = float((volume * form.convolve(volume.float())).sum())
        scores.append(float((form.linear * volume).sum()) / math.sqrt(max(power, 1e-30)))
    return max(scores, key=abs)
