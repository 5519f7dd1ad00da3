"""What is judged: the maps of a run beside the voxel baseline, and what they were made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..grid import Grid
from ..noise import NoiseModel
from ..particles import Particles
from ..settings import ReconstructionSettings
from ..solvent import Solvent
from ..validation.independence import Fingerprints
from ..validation.polarity import Polarity
from ._data import Halves
from ._maps import Maps
from ._residual import Residual


@dataclass(frozen=True, slots=True)
class Subject:
    """``maps``, as the images show them, and ``voxels`` of the baseline on ``grid``, protein bright.

    ``halves``: statistics of both half-sets;
    ``mixtures``: the maps of the Gaussians alone, seen through the ``solvent``, to which the
    ``residual`` is added within ``support``; ``left_out``: positions of particles that do not count;
    ``mask`` of the FSC; ``fingerprints`` of all images; ``device``: where statistics and fits are
    computed.
    """

    particles: Particles
    left_out: Tensor
    noise: NoiseModel
    polarity: Polarity
    grid: Grid
    settings: ReconstructionSettings
    halves: Halves
    maps: Maps
    mixtures: Maps
    residual: Residual | None
    support: Tensor
    voxels: Maps
    mask: Tensor
    fingerprints: Fingerprints
    device: torch.device
    solvent: Solvent
