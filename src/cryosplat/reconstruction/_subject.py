"""What is judged: the maps of a run beside the voxel baseline, and what they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..grid import Grid
from ..noise import NoiseModel
from ..particles import Particles
from ..settings import ReconstructionSettings
from ..solvent import Solvent
from ..validation.independence import Fingerprints
from ._data import Polarity


class Maps(NamedTuple):
    """Maps (d, d, d) of all particles and of each half-set."""

    full: Tensor
    half1: Tensor
    half2: Tensor


@dataclass(frozen=True, slots=True)
class Subject:
    """``maps`` of mixtures, seen through the ``solvent``, and ``voxels`` of the baseline on ``grid``,
    protein bright.

    ``left_out``: positions of particles that do not count; ``mask`` of the FSC; ``fingerprints``
    of all images; ``device``: where statistics and fits are computed.
    """

    particles: Particles
    left_out: Tensor
    noise: NoiseModel
    polarity: Polarity
    grid: Grid
    settings: ReconstructionSettings
    maps: Maps
    voxels: Maps
    mask: Tensor
    fingerprints: Fingerprints
    device: torch.device
    solvent: Solvent
