"""A recipe that needs no time, for tests of what is around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cryosplat.fitting import Store
from cryosplat.grid import Grid
from cryosplat.maps.directional import DirectionalFsc
from cryosplat.maps.fsc import MaskedFsc, resolution
from cryosplat.maps.local_resolution import LocalResolution
from cryosplat.maps.sharpening import sharpen
from cryosplat.maps.uncertainty import Uncertainty
from cryosplat.maps.views import view_distribution
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.notes import Note
from cryosplat.particles import Particles, split_half_sets
from cryosplat.progress import Progress, SilentProgress
from cryosplat.reconstruction import (
    Controls,
    Fitted,
    FoundSolvent,
    Maps,
    Polarity,
    Quality,
    Reconstruction,
    Residual,
    Start,
)
from cryosplat.settings import ReconstructionSettings
from cryosplat.statistics import Statistics
from cryosplat.validation.agreement import Agreement
from cryosplat.validation.comparison import Comparison

CURVES = (
    "half-maps, unmasked", "half-maps, masked", "half-maps, corrected", "voxels, unmasked",
    "voxels, masked", "voxels, corrected", "cross, masked", "map with truth, from half-maps",
)  # fmt: skip
BOX = 18
GAUSSIANS = 100, 90, 95
TRIAL = ((0, -10.0, -1.0), (5, -2.0, -0.2), (10, -1.0, -0.3))


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


def fake_reconstruct(
    particles: Particles,
    settings: ReconstructionSettings,
    progress: Progress = SilentProgress(),
    *,
    start: Start | None = None,
    checkpoint: Store | None = None,
) -> Reconstruction:
    """Noise, in the shape of what the recipe returns; with pixels of 1.5 Angstrom, 4.5 are resolved."""
    with progress.stage("accumulating statistics", len(particles), "images") as stage:
        stage.advance(len(particles))
    progress.say("Contrast: particles are bright.")
    note = Note("fake", "warning", "This is no reconstruction.")
    progress.warn(note)
    generator = torch.Generator().manual_seed(1)
    given = particles.has_half_sets
    particles = particles if given else split_half_sets(particles, generator)
    grid = Grid(BOX, particles.pixel_size)
    volumes = torch.randn(7, BOX, BOX, BOX, generator=generator)
    curve = torch.where(torch.arange(grid.n_shells) <= 6, 0.3, 0.0).double()
    masked = MaskedFsc(curve, curve, torch.zeros_like(curve), curve, grid.n_shells)
    headline = resolution(curve, grid)
    comparison = Comparison(
        dict.fromkeys(CURVES, curve), torch.zeros_like(curve), headline, "half-maps", "Made up.",
        torch.ones_like(curve),
    )  # fmt: skip
    mixtures = [_mixture(k, generator) for k in GAUSSIANS]
    return Reconstruction(
        settings=settings, particles=particles, drew_half_sets=not given, half_sets="0" * 64,
        grid=grid, noise=NoiseModel((torch.ones(grid.n_shells).double(),), True),
        polarity=Polarity("bright", "bright", 20.0), halves=_halves(particles),
        fitted=Fitted(mixtures, {"members": 1, "choices": ["made up"] * 3, "trials": [TRIAL] * 3}),
        fitted_side=BOX, solvent=FoundSolvent(), residual=_residual(curve),
        maps=Maps(*volumes[:3]), voxels=Maps(*volumes[3:6]),
        mask=volumes[6].abs().clamp(max=1.0), masks={"auto": masked}, comparison=comparison,
        controls=_controls(note), quality=_quality(volumes, curve, grid, particles),
        notes=(note,), timings={"accumulate": 1.5, "fit halves": 2.5, "total": 4.5},
        peak_memory=500_000_000, device="CPU",
    )  # fmt: skip


def _mixture(k: int, generator: torch.Generator) -> GaussianMixture:
    """A quarter of its Gaussians is as narrow as 0.4 pixels of 1.5 Angstrom."""
    scales = torch.full((k, 3), 2.0)
    scales[: k // 4] = 0.6
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(k, 4).clone()
    return GaussianMixture(torch.randn(k, 3, generator=generator), scales, turns, torch.ones(k))


def _halves(particles: Particles) -> tuple[Statistics, Statistics]:
    none = Statistics.zero(Grid(8, 1.0))
    sizes = (int((particles.half_sets == half).sum()) for half in (1, 2))
    first, second = (replace(none, n_images=n) for n in sizes)
    return first, second


def _residual(curve: Tensor) -> Residual:
    return Residual(0.1 * curve, 9.0 - curve, 0.05 * curve)


def _controls(note: Note) -> Controls:
    ones = torch.ones(10).double()
    return Controls([note], Agreement(ones, ones, ones), 0.0, None, None, None)


def _quality(
    volumes: torch.Tensor, curve: torch.Tensor, grid: Grid, particles: Particles
) -> Quality:
    local = LocalResolution(volumes[0].abs() + 5, volumes[0] > 0, 30.0, 0.5, 20.0)
    axes = torch.nn.functional.normalize(volumes[1, :4, :4, :3].reshape(-1, 3), dim=1)
    cones = curve.repeat(len(axes), 1)
    each = torch.ones(len(axes))
    k = GAUSSIANS[0]
    return Quality(
        sharpen(volumes[0], curve, grid),
        local,
        local,
        DirectionalFsc(axes, cones, 4.5 * each, each, grid.shell_frequencies()),
        view_distribution(particles.poses),
        0.9,
        Uncertainty(torch.ones(k), torch.ones(k), torch.ones(k, dtype=torch.bool)),
        None,
    )
