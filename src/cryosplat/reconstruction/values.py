"""What a reconstruction is: maps, mixtures, statistics, and what was measured of them, as values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..grid import Grid
from ..maps.fsc import MaskedFsc
from ..mixture import GaussianMixture
from ..noise import NoiseModel
from ..notes import Note
from ..particles import Particles
from ..settings import ReconstructionSettings
from ..validation.comparison import Comparison
from ..validation.polarity import Polarity
from ._controls import Controls
from ._data import Halves
from ._examples import Examples
from ._fits import Fitted
from ._maps import Maps
from ._quality import Quality
from ._residual import Residual
from ._solvent import FoundSolvent
from ._worth import Worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """A map and its half-maps, what they were made from, and what was measured of them.

    ``particles``: with the half-sets that were used, drawn by the run where ``drew_half_sets``, and
    with the grey scale of each pixel size in their CTFs; ``half_sets``: a digest of them;
    ``halves``: the statistics of both half-sets, protein bright; ``fitted``: mixtures [full, half 1,
    half 2] in a cube of ``fitted_side`` voxels, and how they came about; ``solvent`` that the images
    show them in; ``maps`` of them, seen through it, on ``grid``, completed by a ``residual`` (None
    where they are the Gaussians alone); ``voxels``: the baseline; ``mask``: that of the masked FSC,
    one of ``masks``, under which the half-map FSC is given; ``notes``: alarms first; ``timings``:
    seconds of each stage, and "total"; ``peak_memory`` in bytes; ``device`` by name; ``worth``:
    weights and scales of the particles, the scales in their CTFs where they were used, and
    ``examples`` of them, None where the data could not say.
    """

    settings: ReconstructionSettings
    particles: Particles
    drew_half_sets: bool
    half_sets: str
    grid: Grid
    noise: NoiseModel
    polarity: Polarity
    halves: Halves
    fitted: Fitted
    fitted_side: int
    solvent: FoundSolvent
    residual: Residual | None
    maps: Maps
    voxels: Maps
    mask: Tensor
    masks: dict[str, MaskedFsc]
    comparison: Comparison
    controls: Controls
    quality: Quality
    notes: tuple[Note, ...]
    timings: dict[str, float]
    peak_memory: int
    device: str
    worth: Worth | None = None
    examples: Examples | None = None

    @property
    def mixtures(self) -> list[GaussianMixture]:
        """Mixtures of all particles, half-set 1 and half-set 2."""
        return self.fitted.mixtures
