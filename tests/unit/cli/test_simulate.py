"""``cryosplat simulate`` with imperfect optics."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import tolerances
import torch
from fake_runs import Outcome

from cryosplat.cli._simulation_options import SimulationOptions
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.io.mrc import write_map
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import even_phase, odd_phase
from cryosplat.particles import read_particles
from cryosplat.splatting import voxelize

Cli = Callable[..., Outcome]
GRID = Grid(32, 3.0)


def _blob(path: Path) -> Path:
    one = torch.tensor([[6.0, 0.0, 0.0]]), torch.tensor([[5.0, 7.0, 9.0]])
    mixture = GaussianMixture(*one, torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([1.0]))
    write_map(path, voxelize(mixture, GRID).numpy(), GRID.pixel_size)
    return path


def test_imperfect_optics_are_in_the_particles(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "simulate", _blob(tmp_path / "blob.mrc"), "-o", tmp_path / "set", "--n", 60,
        "--beam-tilt", "1,-0.5", "--trefoil", "90,20", "--tetrafoil", "45,10",
        "--magnification-anisotropy", "2,30", "--pixel-sizes", "3,4", "--boxes", "32,26",
        "--processing", "phase-flipped",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "60 particles of 32 px, 3 Å and 26 px, 4 Å" in done.out
    first, second = read_particles(tmp_path / "set" / "particles.star").optics.groups
    assert [(g.box_size, g.pixel_size) for g in (first, second)] == [(32, 3.0), (26, 4.0)]
    assert first.processing == second.processing == "phase-flipped"
    degree = math.pi / 180
    assert first.magnification == pytest.approx(
        (1 + 0.01 * math.cos(60 * degree), 0.01 * math.sin(60 * degree),
         0.01 * math.sin(60 * degree), 1 - 0.01 * math.cos(60 * degree))
    )  # fmt: skip

    def phases(phase: Callable, direction: float) -> float:
        s = torch.tensor([math.cos(direction * degree), math.sin(direction * degree)]) / 6.0
        # frequencies that the magnification takes to s
        matrix = torch.tensor(first.magnification).reshape(2, 2)
        return float(phase(first, torch.linalg.inv(matrix) @ s)) / degree

    tilted = -360 * 2.7e7 * first.wavelength**2 / 6**3 * 1e-3
    given = tilted * (math.cos(20 * degree) - 0.5 * math.sin(20 * degree)) + 90
    assert phases(odd_phase, 20.0) == pytest.approx(given, rel=tolerances.TEXT_OPTIONS)
    assert phases(even_phase, 10.0) == pytest.approx(45.0, rel=tolerances.TEXT_OPTIONS)


def test_boxes_cover_the_field_of_the_map() -> None:
    settings = SimulationOptions(pixel_sizes="3,4.1").on(GRID)
    assert settings.image_grids == (Grid(32, 3.0), Grid(24, 4.1))
    assert SimulationOptions().on(GRID).image_grids == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_tilt": "1"}, "--beam-tilt 1: expected 2 numbers with commas between them"),
        ({"trefoil": "90,x"}, "--trefoil 90,x: expected 2 numbers"),
        ({"magnification_anisotropy": "nan,0"}, "--magnification-anisotropy nan,0: expected"),
        ({"pixel_sizes": "1,2", "boxes": "64"}, "--boxes 64: expected 2 numbers"),
        ({"boxes": "64"}, "--boxes 64: .*\n  Remedy: add --pixel-sizes"),
        ({"pixel_sizes": "0"}, "pixel_size is 0"),
    ],
)
def test_options_that_are_no_numbers_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SimulationOptions(**given).on(GRID)
