"""Both solvers through the whole recipe: broken off and resumed, and one begun where one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from problems import blobs
from runs import Run, run_into

from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.io.mrc import read_map
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.particles import read_particles, write_particles
from cryosplat.reconstruction import reconstruct
from cryosplat.run_folder import RunFolder
from cryosplat.run_folder.measured import NoiseSubstitution
from cryosplat.settings import ImageSchedule, ReconstructionSettings
from cryosplat.simulation import SimulationSettings, simulate_particles

GRID = Grid(24, 3.0)
IMAGES = ReconstructionSettings(
    seed=5, gaussians=200, solver="images", quick=True, images=ImageSchedule(epochs=8)
)
STATISTICS = ReconstructionSettings(seed=5, gaussians=200, steps=30, quick=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of 300 particles in ``set``, their truth, and a run of each solver."""
    folder = tmp_path_factory.mktemp("solvers")
    generator = torch.Generator().manual_seed(2)
    mixture = blobs(60, 18.0, generator, width=2.2)
    simulate_particles(mixture, GRID, SimulationSettings(300, snr=0.2), folder / "set", generator)
    for name, settings in (("images", replace(IMAGES, quick=False)), ("statistics", STATISTICS)):
        _run(folder / "set" / "particles.star", folder / name, settings)
    return folder


def _run(star: Path, out: Path, settings: ReconstructionSettings) -> Run:
    return run_into(out, read_particles(star), settings)


def _map(path: Path) -> torch.Tensor:
    return torch.from_numpy(read_map(path).data.copy())


def _correlation(first: Path, second: Path) -> torch.Tensor:
    return fourier_shell_correlation(_map(first), _map(second))


@pytest.mark.parametrize("solver", ["images", "statistics"])
def test_each_solver_finds_the_truth(folder: Path, solver: str) -> None:
    found = _correlation(folder / solver / "map.mrc", folder / "set" / "truth.mrc")
    assert float(found[1:7].min()) > 0.97


def test_noise_is_substituted_for_the_solver_that_was_used(folder: Path) -> None:
    of_images, of_statistics = (
        RunFolder(folder / name).read_summary().noise_substitution
        for name in ("images", "statistics")
    )
    assert of_images and of_images.from_shell and of_images.invented
    assert not of_images.skipped and of_images.from_shell > 1 and of_images.invented < 0.9
    assert of_statistics == NoiseSubstitution(skipped=True)


@pytest.mark.parametrize(("first", "second"), [("images", STATISTICS), ("statistics", IMAGES)])
def test_one_solver_goes_on_where_the_other_ended(
    folder: Path, tmp_path: Path, first: str, second: ReconstructionSettings
) -> None:
    settings = replace(second, start=str(folder / first))
    result = _run(folder / "set" / "particles.star", tmp_path / "run", settings)
    assert result.summary.members == 1
    found = _correlation(tmp_path / "run" / "map.mrc", folder / "set" / "truth.mrc")
    assert float(found[1:7].min()) > 0.97


def test_a_start_that_has_seen_other_half_sets_is_refused(folder: Path, tmp_path: Path) -> None:
    particles = read_particles(folder / "set" / "particles.star")
    swapped = tmp_path / "swapped.star"
    order = torch.randperm(len(particles), generator=torch.Generator().manual_seed(1))
    write_particles(replace(particles, half_sets=particles.half_sets[order]), swapped)
    settings = replace(STATISTICS, start=str(folder / "images"))
    with pytest.raises(InputError, match="would not be independent"):
        _run(swapped, tmp_path / "run", settings)


SOLVERS = {
    "images": ("--solver", "images", "--gaussians", "200", "--epochs", "40"),
    "statistics": ("--start", "random", "--gaussians", "400"),
}


def _command(folder: Path, out: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-c", "from cryosplat.cli import main; main()", "reconstruct",
        str(folder / "set" / "particles.star"),
        "-o", str(out), "--quick", "--seed", "5", "--threads", "1", *options,
    ]  # fmt: skip


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the run ended before it could be broken off"
        assert time.monotonic() < end, "no checkpoint within two minutes"
        time.sleep(0.05)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_that_is_terminated_resumes_to_the_same_bits(
    solver: str, folder: Path, tmp_path: Path
) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    checkpoint = RunFolder(broken).checkpoint
    with subprocess.Popen(
        _command(folder, broken, *SOLVERS[solver]), env=environment, stdout=subprocess.DEVNULL
    ) as process:
        _wait_for(checkpoint.exists, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert checkpoint.exists() and not broken.exists()
    again = subprocess.run(
        _command(folder, broken, *SOLVERS[solver]), env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert again.returncode == 2 and "--resume" in again.stderr
    for out, options in ((broken, ["--resume"]), (whole, [])):
        subprocess.run(
            _command(folder, out, *SOLVERS[solver], *options), env=environment, check=True,
            capture_output=True,
        )  # fmt: skip
    assert not checkpoint.exists()
    for name in ("map.mrc", "half1.mrc", "gaussians.ply"):
        one, other = ((run / name).read_bytes() for run in (broken, whole))
        assert one[1024:] == other[1024:], name


def test_a_checkpoint_of_other_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "checkpoint")
    particles = read_particles(folder / "set" / "particles.star")
    reconstruct(particles, IMAGES, checkpoint=checkpoint)
    assert checkpoint.exists()
    with pytest.raises(InputError, match="belongs to a run with other particles or settings"):
        reconstruct(particles, replace(IMAGES, seed=6), checkpoint=checkpoint)
    turned = replace(particles, poses=replace(particles.poses, shifts=particles.poses.shifts + 1.0))
    with pytest.raises(InputError, match="what differs: poses"):
        reconstruct(turned, IMAGES, checkpoint=checkpoint)
