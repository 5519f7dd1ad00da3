"""The whole recipe on a small simulated molecule."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from problems import blobs
from runs import Run, run_into
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, read_map, write_stack
from cryosplat.io.ply import read_ply
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.mixture import GaussianMixture
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import Poses
from cryosplat.reconstruction import reconstruct
from cryosplat.run_folder.schema import SCHEMA
from cryosplat.settings import ReconstructionSettings
from cryosplat.simulation import SimulationSettings, simulate_particles
from cryosplat.splatting import voxelize

GRID = Grid(28, 2.8)
N = 400
SETTINGS = ReconstructionSettings(seed=3, gaussians=240, steps=40)


@dataclass(frozen=True)
class Simulated:
    """Simulated particles, and the map they were made from."""

    particles: Particles
    truth: Tensor


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    generator = torch.Generator().manual_seed(11)
    mixture = blobs(80, 22.0, generator, width=2.0)
    folder = tmp_path_factory.mktemp("simulated") / "set"
    star = simulate_particles(mixture, GRID, SimulationSettings(N, snr=0.1), folder, generator)
    truth = torch.from_numpy(read_map(folder / "truth.mrc").data.copy())
    return Simulated(read_particles(star), truth)


def _run(particles: Particles, folder: Path, settings: ReconstructionSettings = SETTINGS) -> Run:
    return run_into(folder, particles, settings)


def _with_images(particles: Particles, images: np.ndarray, folder: Path) -> Particles:
    """The same particles with other pixels, in the order of their one stack."""
    write_stack(folder / "particles.mrcs", images, GRID.pixel_size)
    source = replace(particles.images, stacks=(StackFile(folder / "particles.mrcs"),))
    return replace(particles, images=source)


def _images(particles: Particles) -> np.ndarray:
    stack = particles.images.stacks[0]
    return stack.read(np.arange(stack.n_images))


@pytest.fixture(scope="session")
def run(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run(simulated.particles, tmp_path_factory.mktemp("runs") / "run")


def _with_truth(run: Run, name: str, truth: Tensor) -> Tensor:
    return fourier_shell_correlation(run.map(name), truth)


def test_the_map_is_found_and_better_than_the_voxel_baseline(
    run: Run, simulated: Simulated
) -> None:
    ours = _with_truth(run, "map", simulated.truth)
    voxels = _with_truth(run, "voxel_map", simulated.truth)
    assert float(ours[1:6].min()) > 0.99
    assert float(ours[10]) > 0.9
    assert bool((ours[1:13] > voxels[1:13] - 0.005).all())
    assert float((ours - voxels)[6:13].mean()) > 0.02


def test_the_full_map_is_better_than_each_half(run: Run, simulated: Simulated) -> None:
    full, *halves = (_with_truth(run, n, simulated.truth) for n in ("map", "half1", "half2"))
    for half in halves:
        assert float((full - half)[6:13].mean()) > 0.0


def test_the_grey_scale_is_that_of_the_truth(run: Run, simulated: Simulated) -> None:
    """The sum is known through a CTF of 0.1 alone, that is to 1 % of what other frequencies are."""
    assert float(run.map("map").sum() / simulated.truth.sum()) == pytest.approx(1.0, abs=0.1)


def test_the_prediction_from_the_half_maps_is_near_the_truth(
    run: Run, simulated: Simulated
) -> None:
    predicted = run.curves["map with truth, from half-maps"]
    measured = _with_truth(run, "map", simulated.truth)
    assert float((predicted - measured)[1:11].abs().max()) < 0.1


def test_a_given_diameter_bounds_what_is_fitted(
    run: Run, simulated: Simulated, tmp_path: Path
) -> None:
    near = replace(SETTINGS, quick=True, particle_diameter=0.4 * GRID.side)
    found = _run(simulated.particles, tmp_path / "near", near)
    assert found.result.fitted_side < run.result.fitted_side
    far = fourier.distances((GRID.box_size,) * 3) > 0.5 * GRID.box_size
    assert float(found.map("map")[far].abs().max()) < 1e-3 * float(found.map("map").max())
    wide = replace(near, particle_diameter=1.1 * GRID.side)
    with pytest.raises(SettingsError, match="at most the side of the box"):
        reconstruct(simulated.particles, wide)


def test_the_contrast_is_seen(run: Run) -> None:
    polarity = run.result.polarity
    assert polarity.used == polarity.preferred == "bright"
    assert polarity.standard_deviations > 10


def test_the_run_folder_holds_what_a_reconstruction_makes(run: Run, simulated: Simulated) -> None:
    for name in ("map", "half1", "half2", "mask", "voxel_map", "voxel_half1", "voxel_half2"):
        written = read_map(getattr(run.folder, name))
        assert written.data.shape == (28, 28, 28) and written.pixel_size == pytest.approx(2.8)
    summary = run.summary
    names = ("gaussians", "half1_gaussians", "half2_gaussians")
    for name, count in zip(names, summary.gaussians or [], strict=True):
        assert len(read_ply(getattr(run.folder, name)).means) == count
    assert not run.folder.particles.exists()  # half-sets were given
    assert summary.n_half and summary.n_particles == sum(summary.n_half) == N
    assert summary.n_half[0] == int((simulated.particles.half_sets == 1).sum())
    frequencies, curves = run.folder.read_fsc_csv()
    assert len(frequencies) == GRID.n_shells and set(curves) == set(run.curves)
    assert {len(curve) for curve in curves.values()} == {GRID.n_shells}


def test_the_summary_is_what_the_schema_says(run: Run) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.validate(json.loads(run.folder.summary.read_text("utf-8")), schema)


def test_the_mixture_in_the_ply_is_the_map_but_for_the_residual(run: Run) -> None:
    ply = read_ply(run.folder.gaussians)
    arrays = (ply.means, ply.scales, ply.quaternions, ply.amplitudes)
    mixture = GaussianMixture(*(torch.from_numpy(np.array(a)).float() for a in arrays))
    again = voxelize(mixture, GRID)
    difference = (again - run.map("map")).norm() / again.norm()
    assert run.result.residual is not None
    assert 0.0 < float(difference) < 0.03


@pytest.mark.slow
def test_two_runs_with_one_seed_are_identical(
    run: Run, simulated: Simulated, tmp_path: Path
) -> None:
    again = _run(simulated.particles, tmp_path / "again")
    for name in ("map", "half1", "half2", "voxel_map", "mask"):
        assert torch.equal(again.map(name), run.map(name)), name
    for name, curve in run.curves.items():
        assert torch.equal(again.curves[name].nan_to_num(-9), curve.nan_to_num(-9)), name


@pytest.mark.slow
def test_inverted_images_give_the_same_map_and_are_called_dark(
    run: Run, simulated: Simulated, tmp_path: Path
) -> None:
    dark = _with_images(simulated.particles, -_images(simulated.particles), tmp_path)
    found = _run(dark, tmp_path / "dark")
    assert found.result.polarity.used == "dark"
    expected = run.map("map")
    assert float((found.map("map") - expected).norm() / expected.norm()) < 0.01


@pytest.mark.slow
def test_a_random_start_converges(run: Run, simulated: Simulated, tmp_path: Path) -> None:
    found = _run(simulated.particles, tmp_path / "random", replace(SETTINGS, start="random"))
    fsc = _with_truth(found, "map", simulated.truth)
    informed = _with_truth(run, "map", simulated.truth)
    assert float(fsc[1:6].min()) > 0.98
    assert float((informed - fsc)[1:12].max()) < 0.05


@pytest.mark.slow
def test_permuted_poses_give_no_resolution(run: Run, simulated: Simulated, tmp_path: Path) -> None:
    particles = simulated.particles
    order = torch.randperm(N, generator=torch.Generator().manual_seed(5))
    poses = Poses(particles.poses.rotations[order], particles.poses.shifts[order])
    found = _run(replace(particles, poses=poses), tmp_path / "permuted")
    assert float(_with_truth(found, "map", simulated.truth)[4:13].mean()) < 0.3
    halves = found.curves["half-maps, unmasked"]
    true = run.curves["half-maps, unmasked"]
    assert float(halves[5:13].mean()) < 0.3 < 0.8 < float(true[5:9].mean())


@pytest.mark.slow
def test_half_sets_never_meet(run: Run, simulated: Simulated, tmp_path: Path) -> None:
    """The images of half 2 say something else, and nothing of that is seen in half 1.

    They change inside the circle, where no noise is measured: the noise model is shared, and so are
    a number of Gaussians and curves of one number a shell, by which half 1 changes a little.
    """
    particles = simulated.particles
    images = _images(particles)
    second = (particles.half_sets == 2).numpy()
    generator = np.random.default_rng(0)
    axis = np.arange(28) - 14
    inside = np.hypot(axis[:, None], axis) < 0.88 * 14
    images[second] += inside * generator.normal(size=images[second].shape).astype(np.float32)
    found = _run(_with_images(particles, images, tmp_path), tmp_path / "changed")
    assert found.result.fitted_side == run.result.fitted_side
    first, other = (found.map(name) - run.map(name) for name in ("half1", "half2"))
    assert float(first.norm() / run.map("half1").norm()) < 0.05
    assert float(other.norm() / run.map("half2").norm()) > 0.05
    # what a common filter changes looks like the molecule, so that is taken off both
    parts = []
    for change in (first, other):
        spectrum, molecule = (fourier.transform(v, 3) for v in (change, run.map("map")))
        powers = fourier.shell_sums(molecule.abs().square()).clamp_min(1e-30)
        gain = fourier.shell_sums((spectrum * molecule.conj()).real) / powers
        shells = fourier.shells(change.shape).clamp_max(len(gain) - 1)
        parts.append(spectrum - gain[shells] * molecule)
    correlation = (parts[0] * parts[1].conj()).real.sum() / (parts[0].norm() * parts[1].norm())
    assert abs(float(correlation)) < 0.1


@pytest.mark.slow
def test_without_half_sets_a_split_is_drawn_and_written(
    simulated: Simulated, tmp_path: Path
) -> None:
    none = replace(simulated.particles, half_sets=torch.zeros(N, dtype=torch.int8))
    found = _run(none, tmp_path / "split", ReconstructionSettings(steps=40))
    written = read_particles(found.folder.particles, datadir=simulated.particles.source.parent)
    sizes = [int((written.half_sets == half).sum()) for half in (1, 2)]
    assert sizes == found.summary.n_half and sum(sizes) == N
    assert float(_with_truth(found, "map", simulated.truth)[10]) > 0.9
