"""What statistics refuse, and says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cryosplat.errors import InputError, OutputError, SettingsError
from cryosplat.grid import Grid
from cryosplat.io.arrays import read_arrays, write_arrays
from cryosplat.statistics import Identity, QuadraticForm, Statistics

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


def _statistics() -> Statistics:
    generator = torch.Generator().manual_seed(1)
    b = torch.randn(8, 8, 8, generator=generator)
    transfer = torch.randn(16, 16, 9, generator=generator)
    identity = Identity("D7", "5" * 64, 0.1 + 0.2, 2**200 + 1)
    return Statistics(GRID, b, transfer, 1.0 / 3.0, 7, 123.5, identity)


@pytest.mark.parametrize("statistics", [_statistics(), Statistics.zero(GRID)])
def test_saved_statistics_come_back_bit_for_bit(statistics: Statistics, tmp_path: Path) -> None:
    statistics.save(tmp_path / "s.safetensors")
    loaded = Statistics.load(tmp_path / "s.safetensors")
    for name in ("backprojection", "transfer"):
        assert torch.equal(getattr(loaded, name), getattr(statistics, name))
    for name in ("grid", "energy", "n_images", "n_frequencies", "weight", "identity"):
        assert getattr(loaded, name) == getattr(statistics, name)
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_what_is_loaded_adds_as_what_was_saved(tmp_path: Path) -> None:
    statistics = _statistics()
    statistics.save(tmp_path / "s.safetensors")
    loaded = Statistics.load(tmp_path / "s.safetensors")
    assert (3 * loaded - loaded).identity == (2 * statistics).identity
    assert (statistics + loaded).identity == (2 * statistics).identity


def test_safetensors_reads_saved_statistics(tmp_path: Path) -> None:
    statistics = _statistics()
    statistics.save(tmp_path / "s.safetensors")
    tensors = load_file(tmp_path / "s.safetensors")
    assert torch.equal(tensors["backprojection"], statistics.backprojection)
    assert torch.equal(tensors["transfer"], statistics.transfer)


@pytest.mark.parametrize("content", [b"", b"no statistics at all", bytes(64)])
def test_a_file_that_holds_no_statistics_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "statistics.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a statistics file written by cryosplat") as error:
        Statistics.load(path)
    assert str(path) in str(error.value) and "Remedy: accumulate" in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .*\n  Remedy: accumulate"):
        Statistics.load(tmp_path / "none.safetensors")


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weights": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="not a statistics file written by cryosplat"):
        Statistics.load(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    _statistics().save(path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at])
        with pytest.raises(InputError):
            Statistics.load(path)
    path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
    with pytest.raises(InputError, match="damaged"):
        Statistics.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("box_size", 10), ("pixel_size", -1.0), ("pixel_size", "2"), ("inputs", "xyz"), ("noise", 3),
     ("energy", None), ("n_images", 1.5), ("weight", "many"), ("symmetry", "C1v")],
)  # fmt: skip
def test_values_that_are_no_statistics_are_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    _statistics().save(path)
    arrays, values = read_arrays(path, "statistics", 1, "none")
    write_arrays(path, "statistics", 1, arrays, values | {name: value})
    with pytest.raises(InputError, match="not statistics as cryosplat writes them"):
        Statistics.load(path)


def test_another_version_of_the_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    write_arrays(path, "statistics", 99, {}, {})
    with pytest.raises(InputError, match="statistics in version 99 of the format, expected 1"):
        Statistics.load(path)


def test_a_failed_save_leaves_no_file_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        Statistics.zero(GRID).save(tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_statistics_move_to_a_device() -> None:
    there = _statistics().to("meta")
    assert there.backprojection.device.type == there.transfer.device.type == "meta"
    assert there.identity == _statistics().identity


def test_a_short_representation() -> None:
    text = "Statistics(7 images of weight 0.3, 8 voxels of 2 Å, D7, digest 000000000000)"
    assert repr(_statistics()) == text


@pytest.mark.parametrize("box", [15, 16])
def test_cropping_keeps_values_and_the_rotation_centre(box: int) -> None:
    axis = (torch.arange(box) - box // 2).float() / box
    wide = torch.exp(-40.0 * (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2))
    statistics = replace(Statistics.zero(Grid(box, 2.0)), backprojection=wide)
    small = statistics.downsampled(10).backprojection
    axis = (torch.arange(10) - 5).float() / 10
    expected = torch.exp(-40.0 * (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2))
    assert int(small.argmax()) == 555
    torch.testing.assert_close(small, expected, rtol=0.0, atol=0.02)
