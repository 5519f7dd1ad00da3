"""The molecule in its middle state from all particles, and what undoing the motion gave its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..fitting import NOWHERE, Journal
from ..grid import Grid
from ..maps.fsc import masked_fsc, resolution
from ..noise import NoiseModel
from ..notes import Note
from ..particles import Particles
from ..progress import Progress
from .maps import StateMap
from .motion import Movement
from .undone import motion_undone, moving_mask

ALL, HERE, UNDONE = "all particles", "those in this state", "motion undone"
WORSE = 1.1  # times the resolution before: less is chance


@dataclass(frozen=True, slots=True)
class Canonical:
    """``map`` of the state ``at`` (c,) by all particles, the motion undone; ``moving``: a mask about
    what moves. ``fsc`` in it of half-maps with those of the other half-set's particles that are in this
    state, and ``angstrom`` at 0.143, by what the maps are of."""

    at: NDArray[np.float64]
    map: StateMap
    moving: Tensor
    fsc: dict[str, Tensor]
    angstrom: dict[str, float | None]

    @property
    def notes(self) -> tuple[Note, ...]:
        """That undoing the motion does not help, where it does not."""
        before, after = (self.angstrom[name] or math.inf for name in (ALL, UNDONE))
        if after <= WORSE * before or before == math.inf:
            return ()
        told = f"{after:.1f} Å" if after < math.inf else "nothing"
        return (Note(
            "motion-undone-worse", "warning",
            f"The part that moves reaches {told} with its motion undone and {before:.1f} Å without.",
            "Use the map of all particles for it; with more particles, motion is found more finely.",
        ),)  # fmt: skip


def canonical_map(
    found: Movement,
    particles: Particles,
    noise: NoiseModel,
    every: StateMap,
    here: StateMap,
    progress: Progress,
    journal: Journal = NOWHERE,
) -> Canonical:
    """The motion of ``found`` undone in images as `whole_images` has them, and compared.

    With the voxel maps of ``every`` particle and of those that are in this state, ``here``. Half-maps
    that are blurred alike agree with each other; so each is held against ``here`` of the other half.
    """
    at = found.centre()
    undone = motion_undone(particles, found.traced(at, progress, journal), noise, progress)
    grid = Grid(particles.box_size, particles.pixel_size)
    ends = torch.from_numpy(found.ends()).float()
    moving = moving_mask(found.model, torch.from_numpy(at).float(), ends, grid)
    fsc: dict[str, Tensor] = {}
    angstrom: dict[str, float | None] = {}
    for name, own in ((ALL, every), (HERE, here), (UNDONE, undone)):
        pairs = ((own.half1, here.half2), (own.half2, here.half1))
        draw = torch.Generator().manual_seed(0)
        curves = [masked_fsc(flat(a), flat(b), moving, draw).corrected for a, b in pairs]
        fsc[name] = 0.5 * (curves[0] + curves[1])
        angstrom[name] = resolution(fsc[name], grid).angstrom
    return Canonical(at, undone, moving, fsc, angstrom)


def flat(volume: Tensor) -> Tensor:
    """A map with as much power in every shell.

    Its FSC is the same, but in a small mask strong shells do not leak into weak ones, which the FSC
    would have to be corrected for from one shell on.
    """
    mean = fourier.shell_means(fourier.transform(volume.double(), 3).abs().square())
    radii = fourier.squared_radii(tuple(volume.shape)).sqrt()
    gain = fourier.at_radii(mean.clamp_min(1e-30).rsqrt(), radii)
    return fourier.filter(volume, gain, 3)
