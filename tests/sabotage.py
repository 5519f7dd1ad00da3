"""Sound particles, and the same particles spoilt in every way that a report must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from problems import blobs
from runs import Run, run_into
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, read_map, write_stack
from cryosplat.mixture import GaussianMixture
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import Poses
from cryosplat.settings import ReconstructionSettings
from cryosplat.simulation import SimulationSettings, phantom, simulate_particles

QUICK = ReconstructionSettings(quick=True)


@dataclass(frozen=True)
class Sound:
    """Particles in order, and the map they were made from."""

    particles: Particles
    truth: Tensor
    folder: Path


def sound(
    source: GaussianMixture, grid: Grid, settings: SimulationSettings, folder: Path, seed: int
) -> Sound:
    """Simulated particles of ``source``."""
    generator = torch.Generator().manual_seed(seed)
    star = simulate_particles(source, grid, settings, folder, generator)
    truth = torch.from_numpy(read_map(folder / "truth.mrc").data.copy())
    return Sound(read_particles(star), truth, folder)


def sound_phantom(folder: Path) -> Sound:
    """A made-up protein, white noise."""
    return sound(phantom(), Grid(36, 4.4), SimulationSettings(500, snr=0.1), folder, 21)


def sound_blobs(folder: Path) -> Sound:
    """A loose heap of blobs at a finer pixel, poses a little off."""
    mixture = blobs(120, 26.0, torch.Generator().manual_seed(5), width=2.0)
    settings = SimulationSettings(500, snr=0.08, angle_error=0.01, shift_error=0.3)
    return sound(mixture, Grid(32, 3.2), settings, folder, 22)


def sound_dark(folder: Path) -> Sound:
    """Dark protein in coloured noise, two voltages."""
    settings = SimulationSettings(
        600, snr=0.06, noise="coloured", contrast="dark", voltages=(200e3, 300e3)
    )
    return sound(phantom(), Grid(36, 4.4), settings, folder, 23)


def run(particles: Particles, folder: Path, settings: ReconstructionSettings = QUICK) -> Run:
    """Reconstruct, with whatever is patched."""
    return run_into(folder, particles, settings)


def with_images(
    particles: Particles, change: Callable[[np.ndarray], np.ndarray], folder: Path
) -> Particles:
    """The same particles with other pixels."""
    order = np.arange(len(particles))
    images = change(particles.images.read(order).numpy().copy())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "particles.mrcs"
    write_stack(path, images.astype(np.float32), particles.pixel_size)
    source = replace(particles.images, stacks=(StackFile(path),))
    return replace(particles, images=source)


def wrong_sign(particles: Particles, folder: Path) -> Particles:
    """A tenth of the particles with a CTF of the wrong sign, which is an image of the wrong sign."""

    def change(images: np.ndarray) -> np.ndarray:
        images[::10] *= -1.0
        return images

    return with_images(particles, change, folder)


def pure_noise(particles: Particles, folder: Path) -> Particles:
    """Images without anything in them."""
    generator = np.random.default_rng(7)
    return with_images(particles, lambda images: generator.normal(size=images.shape), folder)


def permuted_poses(particles: Particles) -> Particles:
    """The poses of other particles."""
    order = torch.randperm(len(particles), generator=torch.Generator().manual_seed(5))
    poses = Poses(particles.poses.rotations[order], particles.poses.shifts[order])
    return replace(particles, poses=poses)


def duplicated(particles: Particles, share: float) -> Particles:
    """Some particles of half-set 1 entered once more, in half-set 2."""
    first = (particles.half_sets == 1).nonzero().squeeze(1)
    again = first[: round(share * len(first))]
    both = particles[torch.cat([torch.arange(len(particles)), again])]
    halves = both.half_sets.clone()
    halves[len(particles) :] = 2
    return replace(both, half_sets=halves)


def duplicated_with_other_pixels(particles: Particles, share: float, folder: Path) -> Particles:
    """The same, extracted a second time: a little more noise makes every pixel another number."""
    both = duplicated(particles, share)
    n = len(particles)
    order = np.arange(len(both))
    images = both.images.read(order).numpy().copy()
    images[n:] += 0.02 * np.random.default_rng(3).normal(size=images[n:].shape)
    folder.mkdir(parents=True, exist_ok=True)
    write_stack(folder / "again.mrcs", images.astype(np.float32), particles.pixel_size)
    source = replace(
        both.images, stacks=(StackFile(folder / "again.mrcs"),), section=order,
        stack=np.zeros(len(both), np.int64),
    )  # fmt: skip
    return replace(both, images=source)


def identical_halves(particles: Particles) -> Particles:
    """Half-set 2 is half-set 1 over again."""
    first = particles[(particles.half_sets == 1).nonzero().squeeze(1)]
    return duplicated(first, 1.0)
