"""Particles for the studies: one molecule, clean images once, noise as each study asks for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.fitting import ImageData
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.particles import Particles, read_particles
from cryosplat.simulation import (
    SimulationSettings,
    mixture_from_atoms,
    phantom,
    simulate_particles,
)

from ..scoring import read_map

CLEAN_SNR = 1e6  # what "no noise" is on disk
BATCH = 500  # images that are handed over together


@dataclass(frozen=True, slots=True)
class Molecule:
    """What is imaged: the made-up protein of `cryosplat demo`, or an atomic model."""

    model: Path | None = None
    b_factor: float = 80.0

    @property
    def name(self) -> str:
        """For tables."""
        return "made-up protein of the demo (D3)" if self.model is None else self.model.name

    def mixture(self) -> GaussianMixture:
        """Its Gaussians in Angstrom."""
        return phantom() if self.model is None else mixture_from_atoms(self.model, self.b_factor)


@dataclass(frozen=True, slots=True)
class Problem:
    """Images in memory, in the fit's terms, and the map they were made from."""

    data: ImageData
    truth: NDArray[np.float32]
    settings: dict[str, object]


@dataclass(frozen=True, slots=True)
class CleanSet:
    """Images without noise, of variance 1, in memory."""

    particles: Particles
    images: Tensor
    truth: NDArray[np.float32]
    settings: dict[str, object]

    def at(self, snr: float | None, seed: int = 11) -> Problem:
        """The particles with white noise; None for none. Noise has variance 1, or is absent."""
        random = np.random.default_rng(seed)
        images = self.images
        if snr is not None:
            noise = random.standard_normal(images.shape, np.float32)
            images = snr**0.5 * images + torch.from_numpy(noise)
        particles, box = self.particles, images.shape[-1]

        def read(index: Tensor) -> Iterator[Batch]:
            for part in index.split(BATCH):
                yield Batch(
                    part, images[part], particles.poses.select(part), particles.optics.select(part)
                )

        variance = torch.full((box // 2 + 1,), float(box**2), dtype=torch.float64)
        groups = len(particles.optics.groups)
        data = ImageData(
            read, particles.half_sets, Grid(box, particles.pixel_size),
            NoiseModel((variance,) * groups, normalise=False),
        )  # fmt: skip
        return Problem(data, self.truth, {**self.settings, "snr": snr})


def clean_set(
    molecule: Molecule, box: int, pixel_size: float, n: int, folder: Path, seed: int = 7
) -> CleanSet:
    """Simulate ``n`` images without noise into a folder below ``folder``, unless they are there.

    Recorded poses are the true ones.
    """
    settings: dict[str, object] = {
        "molecule": molecule.name, "box_size": box, "pixel_size": pixel_size, "n": n, "seed": seed,
    }  # fmt: skip
    label = "phantom" if molecule.model is None else molecule.model.name.split(".")[0]
    place = folder / f"{label}-{box}-{pixel_size:g}-{n}-{seed}"
    stamp = folder / f"{place.name}.json"
    if not (stamp.exists() and json.loads(stamp.read_text()) == settings):
        shutil.rmtree(place, ignore_errors=True)  # what an interrupted run has left
        generator = torch.Generator().manual_seed(seed)
        simulation = SimulationSettings(n, CLEAN_SNR)
        simulate_particles(
            molecule.mixture(), Grid(box, pixel_size), simulation, place, generator
        )  # fmt: skip
        stamp.write_text(json.dumps(settings))
    particles = read_particles(place / "particles.star")
    images = torch.cat([batch.images for batch in particles.batches()])
    images = images / images.square().mean().sqrt()
    return CleanSet(particles, images, read_map(place / "truth.mrc"), settings)
