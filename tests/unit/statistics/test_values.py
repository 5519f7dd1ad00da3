"""What statistics refuse, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cryosplat.errors import InputError, SettingsError
from cryosplat.grid import Grid
from cryosplat.statistics import QuadraticForm, Statistics, fourier_cropped

GRID = Grid(8, 2.0)


def test_arrays_of_another_size_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"expected \(\(8, 8, 8\), \(16, 16, 9\)\)"):
        Statistics(GRID, torch.zeros(8, 8, 8), torch.zeros(16, 16, 16), 0.0, 0, 0)


@pytest.mark.parametrize("other", [Grid(10, 2.0), Grid(8, 2.1)])
def test_statistics_on_different_grids_do_not_add(other: Grid) -> None:
    with pytest.raises(SettingsError, match="Remedy: accumulate both on one grid"):
        Statistics.zero(GRID) + Statistics.zero(other)


@pytest.mark.parametrize("size", [2, 5, 10])
def test_only_even_smaller_boxes_can_be_cropped_to(size: int) -> None:
    with pytest.raises(SettingsError, match=f"box_size is {size}, expected even, from 4 to 8"):
        Statistics.zero(GRID).downsampled(size)


@pytest.mark.parametrize("side", [3, 9])
def test_a_cube_fits_into_the_box(side: int) -> None:
    with pytest.raises(SettingsError, match=f"side is {side}, expected 4 to 8 voxels"):
        QuadraticForm(Statistics.zero(GRID), side)


def test_forms_on_different_cubes_do_not_add() -> None:
    statistics = Statistics.zero(GRID)
    with pytest.raises(SettingsError, match="cannot add forms"):
        QuadraticForm(statistics, 6) + QuadraticForm(statistics, 8)


@pytest.mark.parametrize("content", [b"", b"no statistics at all", bytes(64)])
def test_a_file_that_holds_no_statistics_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "statistics.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a statistics file written by cryosplat") as error:
        Statistics.load(path)
    assert str(path) in str(error.value) and "Remedy: accumulate" in str(error.value)


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"weights": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="not a statistics file written by cryosplat"):
        Statistics.load(path)


def test_a_failed_save_leaves_no_file_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(OSError):
        Statistics.zero(GRID).save(tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("box", [15, 16])
def test_cropping_keeps_values_and_the_rotation_centre(box: int) -> None:
    axis = (torch.arange(box) - box // 2).float() / box
    wide = torch.exp(-40.0 * (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2))
    small = fourier_cropped(wide, 10)
    axis = (torch.arange(10) - 5).float() / 10
    expected = torch.exp(-40.0 * (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2))
    assert int(small.argmax()) == 555
    torch.testing.assert_close(small, expected, rtol=0.0, atol=0.02)
