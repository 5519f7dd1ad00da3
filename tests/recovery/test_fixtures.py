"""Stacks of other programs with known truth, poses or contrast: they come out as they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import finufft
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryosplat.fitting import Schedule, density, fit, start_in_density
from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.io.pickles import load_pickle
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.noise import NoiseModel, estimate_noise
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import Poses
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction._data import polarity_of
from cryosplat.settings import ReconstructionSettings
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics, accumulate, shell_means, solve

HAND_SHELLS = 12  # what 50 views of a hand some 30 pixels long sample without gaps


def _statistics(particles: Particles, sets: torch.Tensor, n_sets: int) -> list[Statistics]:
    """Statistics of images without noise, as if it were white and of deviation 1."""
    grid = Grid(particles.box_size, particles.pixel_size)
    variance = torch.full((grid.n_shells,), float(grid.box_size) ** 2, dtype=torch.float64)
    noise = NoiseModel((variance,) * len(particles.optics.groups), normalise=False)
    return accumulate(particles.batches(), sets, n_sets, grid, noise)


def _voxels(statistics: Statistics) -> torch.Tensor:
    form = QuadraticForm(statistics, statistics.grid.box_size)
    return solve(form, 0.02 * shell_means(form), 12)


def _turned(particles: Particles, rotations: NDArray[np.float64]) -> Particles:
    n = len(particles)
    poses = Poses(torch.from_numpy(rotations.astype(float)), torch.zeros(n, 2).double())
    return replace(particles, poses=poses)


@pytest.fixture
def toy(shared: Path) -> Particles:
    """1000 projections of a toy map, 30 px; the shifts in its pickle were never applied."""
    formats = shared / "data/formats"
    particles = read_particles(
        formats / "toy_projections.mrcs", poses=formats / "toy_rot_trans.pkl", ctf="none",
        pixel_size=1.0,
    )  # fmt: skip
    return _turned(particles, load_pickle(formats / "toy_rot_trans.pkl")[0])


def test_toy_projections_give_their_map(toy: Particles, shared: Path) -> None:
    truth = read_map(shared / "data/formats/toymodel_small_nocenter.mrc").data
    truth = torch.from_numpy(truth.copy())
    (statistics,) = _statistics(toy, torch.zeros(len(toy), dtype=torch.int64), 1)
    assert float(fourier_shell_correlation(_voxels(statistics), truth)[1:14].min()) > 0.99
    form = QuadraticForm(statistics, 30)
    start = start_in_density(form, density(form), 600, 0.7, torch.Generator().manual_seed(0))
    found = fit(form, start, Schedule(steps=40))
    assert (
        float(fourier_shell_correlation(voxelize(found.mixture, form.grid), truth)[1:11].min())
        > 0.9
    )


@pytest.fixture
def hand(shared: Path) -> Particles:
    """100 projections of a hand, 64 px, with the rotations of ``hand_rot.pkl`` as they are."""
    formats = shared / "data/formats"
    return read_particles(
        formats / "hand.mrcs", poses=formats / "hand_rot.pkl", ctf="none", pixel_size=1.0
    )


def _half_fsc(particles: Particles) -> torch.Tensor:
    halves = _statistics(particles, torch.arange(len(particles)) % 2, 2)
    return fourier_shell_correlation(*(_voxels(s) for s in halves))


def test_the_hand_is_found_with_its_rotations_as_they_are(hand: Particles, shared: Path) -> None:
    assert float(_half_fsc(hand)[1:HAND_SHELLS].min()) > 0.9
    rotations = hand.poses.rotations.numpy()
    mirror = np.diag([1.0, 1.0, -1.0])
    wrong = {
        "transposed": rotations.transpose(0, 2, 1),
        "x and y exchanged": mirror @ rotations[:, [1, 0, 2]],
        "in another order": rotations[::-1].copy(),
        "those of hand_rot_trans.pkl": load_pickle(
            shared / "data/formats/hand_rot_trans.pkl"
        )[0],
    }  # fmt: skip
    for name, given in wrong.items():
        assert float(_half_fsc(_turned(hand, given))[4:HAND_SHELLS].mean()) < 0.5, name


def test_mixtures_of_two_halves_of_the_hand_agree(hand: Particles) -> None:
    maps = []
    for statistics in _statistics(hand, torch.arange(len(hand)) % 2, 2):
        form = QuadraticForm(statistics.downsampled(40), 40)
        start = start_in_density(form, density(form), 400, 1.0, torch.Generator().manual_seed(0))
        maps.append(voxelize(fit(form, start, Schedule(steps=40)).mixture, form.grid))
    assert float(fourier_shell_correlation(*maps)[1:HAND_SHELLS].min()) > 0.9


def _best_correlations(
    volume: NDArray[np.float32], images: NDArray[np.float32], shells: int
) -> NDArray[np.float64]:
    """Highest correlation of every image with any projection of a map, at low frequencies.

    All orientations some 8 degrees apart (projections cannot tell mirror images apart) and shifts
    of up to 4 pixels, 2 apart.
    """
    n_views, n_turns, d = 500, 36, images.shape[-1]
    i = np.arange(n_views) + 0.5
    angles = np.stack([
        np.repeat(np.pi * (1 + 5**0.5) * i, n_turns),
        np.repeat(np.arccos(1 - 2 * i / n_views), n_turns),
        np.tile(2 * np.pi * np.arange(n_turns) / n_turns, n_views),
    ], -1)  # fmt: skip
    views = Rotation.from_euler("ZYZ", angles).as_matrix().transpose(0, 2, 1)
    axis = np.arange(d) - d // 2
    ky, kx = np.meshgrid(axis, axis, indexing="ij")
    used = (kx**2 + ky**2 < shells**2) & ((kx > 0) | ((kx == 0) & (ky > 0)))
    k = np.stack([kx[used], ky[used]], -1) * 2 * np.pi / d
    points = (k @ views[:, :2]).reshape(-1, 3)
    x, y, z = (np.ascontiguousarray(points[:, j]) for j in range(3))
    slices = finufft.nufft3d2(z, y, x, volume.astype(np.complex128), eps=1e-4, isign=-1)
    transforms = np.fft.fft2(np.fft.ifftshift(images, axes=(1, 2)))
    transforms = np.fft.fftshift(transforms, axes=(1, 2))[:, used]
    offsets = [(a, b) for a in range(-4, 5, 2) for b in range(-4, 5, 2)]
    shifted = np.stack([transforms * np.exp(-1j * k @ np.array(o)) for o in offsets])

    def unit(values: NDArray[np.complex128]) -> NDArray[np.float32]:
        flat = np.concatenate([values.real, values.imag], -1).astype(np.float32)
        return flat / np.linalg.norm(flat, axis=-1, keepdims=True)

    scores = unit(shifted.reshape(-1, used.sum())) @ unit(slices.reshape(len(views), -1)).T
    return scores.reshape(len(offsets), len(images), -1).max((0, 2)).astype(float)


def test_the_map_beside_the_hand_is_of_no_hand(hand: Particles, shared: Path) -> None:
    """``hand-vol.mrc`` is not what these images show, from any side, in either hand.

    The map of their own, found above, is; so the search would have found it.
    """
    (statistics,) = _statistics(hand, torch.zeros(len(hand), dtype=torch.int64), 1)
    images = hand.images.read(np.arange(0, len(hand), 5)).numpy()
    own = _best_correlations(_voxels(statistics).numpy(), images, 10)
    other = read_map(shared / "data/formats/hand-vol.mrc").data
    given = _best_correlations(np.array(other), images, 10)
    assert own.min() > 0.97
    assert given.mean() < 0.8 and given.max() < 0.9


@pytest.mark.parametrize("table", ["mrc", "star", "cs"])
def test_particles_of_empiar_10076_are_dark(table: str, shared: Path) -> None:
    """As they lie on disk, whatever a table says about the sign that all of them have."""
    folder = shared / "data/real/empiar10076_first7"
    given = {} if table == "cs" else {"ctf": folder / "ctf.pkl"}
    particles = read_particles(
        folder / f"empiar_10076_7.{table}", datadir=folder, poses=folder / "poses.pkl", **given
    )
    noise = estimate_noise(particles.batches())
    grid = Grid(40, particles.box_size * particles.pixel_size / 40)
    first, second = accumulate(particles.batches(), torch.arange(7) % 2, 2, grid, noise)
    polarity = polarity_of((first, second), ReconstructionSettings(), SilentProgress())
    assert polarity.used == polarity.preferred == "dark"
