"""The whole recipe with a symmetry: what is stored, what is exact, and what a wrong one is called."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import tolerances
import torch
from problems import blobs
from runs import Run, run_into
from torch import Tensor

from cryosplat.cli._maps import run_voxelize
from cryosplat.errors import InputError
from cryosplat.estimate import REST, expected_cost
from cryosplat.fitting import Schedule, fit, march
from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.io.ply import read_ply
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.noise import estimate_noise
from cryosplat.notes import Note
from cryosplat.particles import Particles, read_particles
from cryosplat.progress import SilentProgress
from cryosplat.report.evidence import Evidence
from cryosplat.settings import ImageSchedule, ReconstructionSettings
from cryosplat.simulation import SimulationSettings, simulate_particles
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, accumulate
from cryosplat.viewer.scene import read_scene

GRID = Grid(28, 2.8)
D2 = ReconstructionSettings(seed=3, gaussians=240, steps=30, quick=True, symmetry="D2")


class _Listening(SilentProgress):
    """Keeps the warnings, and the titles of stages."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.titles: list[str] = []

    def stage(
        self, title: str, total: int | None, unit: str
    ) -> AbstractContextManager[SilentProgress]:
        self.titles.append(title)
        return super().stage(title, total, unit)

    def warn(self, note: Note) -> None:
        self.heard.append(note.text)


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    """Of a molecule with symmetry D2; ``truth.mrc`` is beside them."""
    generator = torch.Generator().manual_seed(12)
    mixture = replace(blobs(20, 18.0, generator, width=2.0), symmetry="D2")
    folder = tmp_path_factory.mktemp("simulated") / "set"
    star = simulate_particles(mixture, GRID, SimulationSettings(400, snr=0.1), folder, generator)
    return read_particles(star)


@pytest.fixture(scope="module")
def truth(particles: Particles) -> Tensor:
    return torch.from_numpy(read_map(particles.source.parent / "truth.mrc").data.copy())


def _run(particles: Particles, folder: Path, settings: ReconstructionSettings) -> Run:
    return run_into(folder, particles, settings)


@pytest.fixture(scope="module")
def run(particles: Particles, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run(particles, tmp_path_factory.mktemp("runs") / "d2", D2)


@pytest.mark.parametrize("name", ["map", "half1", "half2"])
def test_maps_are_symmetric_to_rounding(run: Run, name: str) -> None:
    """But for the first voxels of an even box, which have no partner."""
    inner = run.map(name)[1:, 1:, 1:]
    limit = tolerances.SYMMETRIC_MAP * float(inner.abs().max())
    for turned in (inner.flip(1, 2), inner.flip(0, 1), inner.flip(0, 2)):
        assert float((turned - inner).abs().max()) < limit


def test_the_map_is_right(run: Run, truth: Tensor) -> None:
    assert fourier_shell_correlation(run.map(), truth)[1:10].min() > 0.9


def test_one_asymmetric_unit_is_stored(run: Run, tmp_path: Path) -> None:
    ply = read_ply(run.folder.gaussians)
    assert len(ply.amplitudes) == 60 and ply.symmetry == "D2"
    assert b"comment cryosplat symmetry D2\n" in run.folder.gaussians.read_bytes()
    summary = json.loads(run.folder.summary.read_text())
    assert summary["symmetry"] == "D2"
    assert summary["gaussians"] == [240] * 3 and summary["gaussians_stored"] == [60] * 3
    again = tmp_path / "again.mrc"
    run_voxelize(run.folder.gaussians, again, GRID.box_size, GRID.pixel_size, None)
    volume = torch.from_numpy(read_map(again).data)
    # the map also holds what voxels add
    assert 0.0 < float((volume - run.map()).norm() / run.map().norm()) < 0.1


def test_report_and_viewer_show_the_whole_molecule(run: Run) -> None:
    mixture = Evidence.read(run.folder).mixture()
    shown = read_scene(run.folder).gaussians
    assert mixture is not None and len(mixture.amplitudes) == 240
    assert shown is not None and len(shown.amplitudes) == 240


def test_the_right_symmetry_is_preferred(run: Run) -> None:
    control = run.result.controls.symmetry
    assert control is not None and control.strongest.deviations < -4.0 and control.n == 400
    assert "wrong-symmetry" not in run.codes()


def test_a_wrong_symmetry_raises_the_alarm(particles: Particles, tmp_path: Path) -> None:
    progress = _Listening()
    settings = replace(D2, symmetry="C3", steps=5)
    wrong = run_into(tmp_path / "c3", particles, settings, progress)
    assert "wrong-symmetry" in wrong.codes()
    assert any("The data do not have symmetry C3" in text for text in progress.heard)
    assert wrong.summary.symmetry_control.strongest_rival == "C1"  # pyright: ignore
    for expected, (_, times) in expected_cost(100, 28, 1, settings).stages.items():
        if expected != REST:  # the stages whose time is told beforehand are those that ran
            assert sum(title.startswith(expected) for title in progress.titles) == times, expected


def test_a_run_goes_on_from_one_of_its_symmetry_only(
    run: Run, particles: Particles, truth: Tensor, tmp_path: Path
) -> None:
    start = replace(D2, start=str(run.folder.path), steps=5)
    with pytest.raises(InputError, match="have the symmetry D2, expected C2"):
        _run(particles, tmp_path / "other", replace(start, symmetry="c2"))
    again = _run(particles, tmp_path / "again", start)
    assert fourier_shell_correlation(again.map(), truth)[1:10].min() > 0.9
    assert again.summary.gaussians_stored == [60] * 3


@pytest.mark.parametrize("start", ["statistics", "random"])
def test_images_are_fitted_with_a_symmetry(
    particles: Particles, truth: Tensor, tmp_path: Path, start: str
) -> None:
    schedule = ImageSchedule(epochs=6 if start == "random" else 3)
    rate = {} if start == "statistics" else {"rate": 1e-3, "factors": (1.0, 1.0, 1.0, 1.0)}
    images = replace(schedule, **rate)
    settings = replace(D2, solver="images", start=start, steps=None, images=images, gaussians=160)
    found = _run(particles, tmp_path / "images", settings)
    assert found.summary.gaussians_stored == [40] * 3
    assert fourier_shell_correlation(found.map(), truth)[1:5].min() > 0.9


def test_marching_keeps_the_symmetry(particles: Particles, truth: Tensor) -> None:
    batches = list(particles.batches())
    everything = torch.zeros(len(particles), dtype=torch.int64)
    noise = estimate_noise(batches)
    (statistics,) = accumulate(batches, everything, 1, GRID, noise, symmetry="D2")
    generator = torch.Generator().manual_seed(1)
    schedule = Schedule(steps=30)
    start = march(statistics, GRID.box_size, 240, 1.0, schedule, generator, "D2")
    found = fit(QuadraticForm(statistics, GRID.box_size), start, schedule)
    assert found.mixture.symmetry == "D2" and len(found.mixture) == 60
    assert fourier_shell_correlation(voxelize(found.mixture, GRID), truth)[1:8].min() > 0.9
