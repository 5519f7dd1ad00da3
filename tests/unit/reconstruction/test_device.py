"""A reconstruction on another device is the one on the CPU, by both solvers and with their controls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pretended_device import pretended_device
from scipy.spatial.transform import Rotation

from cryosplat.alignment import changes
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import Poses
from cryosplat.reconstruction import Reconstruction, reconstruct
from cryosplat.reconstruction.refinement import refine
from cryosplat.settings import ImageSchedule, ReconstructionSettings, RefinementSettings
from cryosplat.simulation import SimulationSettings, phantom, simulate_particles
from cryosplat.statistics import QuadraticForm

GRID = Grid(32, 5.0)


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    folder = tmp_path_factory.mktemp("device") / "set"
    generator = torch.Generator().manual_seed(3)
    return read_particles(
        simulate_particles(phantom(), GRID, SimulationSettings(120, 0.1), folder, generator)
    )


def _gains(result: Reconstruction, of: Reconstruction) -> list[float]:
    """What the mixtures' maps gain in likelihood on the statistics ``of`` one run, on the CPU."""
    halves = of.halves
    forms = [QuadraticForm(part, part.grid.box_size) for part in (halves[0] + halves[1], *halves)]
    return [-float(form(volume)) for form, volume in zip(forms, result.maps, strict=True)]


@pytest.mark.parametrize(
    "settings",
    [
        ReconstructionSettings(gaussians=102, steps=4, symmetry="D3"),
        ReconstructionSettings(
            gaussians=100, solver="images", images=ImageSchedule(epochs=1), contrast="bright"
        ),
    ],
    ids=["statistics", "images"],
)
def test_the_maps_are_those_of_the_cpu(
    particles: Particles, settings: ReconstructionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = reconstruct(particles, replace(settings, device="cpu"))
    with pretended_device(monkeypatch):
        there = reconstruct(particles, replace(settings, device="cuda"))
        assert there.halves[0].backprojection.device.type != "cpu"
        voxels = list(there.voxels)  # back on the CPU
    for found, wanted in zip(voxels, here.voxels, strict=True):
        assert float((found - wanted).norm() / wanted.norm()) < 1e-5
    # Adam's first steps are signs of gradients, and rounding turns those that are nearly zero
    gains, expected = _gains(there, here), _gains(here, here)
    assert gains == pytest.approx(expected, rel=0.02)
    assert here.device == "CPU" and there.device != "CPU"


def test_the_refined_poses_are_those_of_the_cpu(
    particles: Particles, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, how = ReconstructionSettings(device="cpu"), RefinementSettings(rounds=1)
    begun = replace(particles, poses=_turned(particles.poses, 0.05))
    here = refine(begun, settings, how)
    with pretended_device(monkeypatch):
        there = refine(begun, replace(settings, device="cuda"), how)
    assert here.verdict == there.verdict and len(here.rounds) == len(there.rounds) > 1
    moved = torch.rad2deg(changes(here.particles.poses, begun.poses)[0].norm(dim=1))
    apart = torch.rad2deg(changes(here.particles.poses, there.particles.poses)[0].norm(dim=1))
    assert float(apart.median()) < 0.1 * float(moved.median())


def _turned(poses: Poses, angle: float) -> Poses:
    """With errors of a normal distribution, in radian about each axis."""
    vectors = (
        angle * torch.randn(len(poses), 3, generator=torch.Generator().manual_seed(4)).double()
    )
    turns = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    return Poses(turns @ poses.rotations.double(), poses.shifts)


def test_a_device_that_is_not_there_is_said_at_once(particles: Particles) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SettingsError, match="finds no CUDA device"):
        reconstruct(particles, ReconstructionSettings(device="cuda"))
