"""Masks that users bring: what is refused, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.io.mrc import write_map
from cryosplat.maps.fsc import MaskedFsc, masked_fscs
from cryosplat.maps.mask import named_masks, spherical_mask
from cryosplat.maps.mask_checks import (
    edge_width,
    read_mask,
    resolutions_by_mask,
    shape_notes,
    tightness_notes,
)
from cryosplat.mixture import GaussianMixture
from cryosplat.splatting import voxelize

SEED = 5

GRID = Grid(48, 3.0)
SIZE = (48, 48, 48)


@pytest.fixture
def molecule(generator: torch.Generator) -> Tensor:
    """Sixty Gaussians within some 30 Angstrom of the centre."""
    means = 15.0 * torch.randn(60, 3, generator=generator)
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(60, 4)
    return voxelize(GaussianMixture(means, torch.full((60, 3), 3.0), turns, torch.ones(60)), GRID)


@pytest.fixture
def halves(molecule: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half-maps: the molecule up to shell 10, noise of the same strength beyond it."""
    signal = torch.fft.rfftn(molecule.double())
    shells = fourier.shells(SIZE)
    level = signal[shells == 10].abs().square().mean().sqrt() / molecule.numel() ** 0.5
    noise = [torch.randn(SIZE, generator=generator, dtype=torch.float64) for _ in range(2)]
    white = [torch.fft.rfftn(n) * level for n in noise]
    maps = [torch.fft.irfftn(torch.where(shells <= 10, signal, w), s=SIZE) for w in white]
    return maps[0], maps[1]


def _write(path: Path, mask: Tensor, pixel_size: float = 3.0) -> Path:
    write_map(path, mask.numpy(), pixel_size)
    return path


def test_a_good_mask_is_read_as_it_is(tmp_path: Path) -> None:
    mask = spherical_mask(GRID, 40.0, 15.0)
    assert torch.equal(read_mask(_write(tmp_path / "mask.mrc", mask), GRID), mask)


def test_slight_overshoot_is_clipped(tmp_path: Path) -> None:
    mask = 1.001 * spherical_mask(GRID, 40.0, 15.0) - 0.0005
    read = read_mask(_write(tmp_path / "mask.mrc", mask), GRID)
    assert (float(read.min()), float(read.max())) == (0.0, 1.0)


def test_a_mask_of_another_box_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "mask.mrc", torch.ones(40, 40, 40))
    with pytest.raises(InputError, match=r"40 x 40 x 40 voxels, the map 48 .*\n  Remedy: relion_i"):
        read_mask(path, GRID)


def test_a_mask_of_another_pixel_size_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "mask.mrc", torch.ones(48, 48, 48), 3.1)
    with pytest.raises(InputError, match=r"pixels of 3.1000 Å, the map of 3.0000 Å.\n  Remedy"):
        read_mask(path, GRID)


def test_a_mask_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "mask.mrc", torch.ones(48, 48, 48))
    content = bytearray(path.read_bytes())
    content[196:208] = np.array([-72.0, -72.0, -72.0], "<f4").tobytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"origin is \(-72, -72, -72\) Å, the map's \(0, 0, 0\) Å"):
        read_mask(path, GRID)
    assert read_mask(path, GRID, (-72.0, -72.0, -72.0)).shape == SIZE


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (3.0, "values from 0 to 3, expected 0 .solvent. to 1"),
        (-1.0, "values from -1 to 0"),
        (0.01, "largest value is 0.01, expected 1 inside the molecule"),
        (float("nan"), "110592 of 110592 voxels are outside"),
    ],
)
def test_values_that_are_no_mask_are_refused(tmp_path: Path, factor: float, message: str) -> None:
    path = _write(tmp_path / "mask.mrc", factor * spherical_mask(GRID, 40.0, 15.0))
    with pytest.raises(InputError, match=message):
        read_mask(path, GRID)


@pytest.mark.parametrize("width", [3.0, 6.0, 9.0])
def test_the_edge_has_the_width_it_was_made_with(width: float) -> None:
    mask = spherical_mask(GRID, 36.0, width * GRID.pixel_size)
    assert edge_width(mask) == pytest.approx(width, abs=0.2 * width)


def test_the_edge_of_a_binary_mask_has_no_width() -> None:
    assert edge_width(spherical_mask(GRID, 36.0, 0.0)) == 0.0
    assert edge_width(torch.ones(8, 8, 8)) == float("inf")


def test_the_masks_have_names_and_lie_in_each_other(molecule: Tensor) -> None:
    user = spherical_mask(GRID, 40.0, 15.0)
    masks = named_masks(molecule, GRID, user)
    assert list(masks) == ["loose", "auto", "tight", "user"]
    assert torch.equal(masks["user"], user)
    assert bool((masks["tight"] <= masks["auto"]).all() and (masks["auto"] <= masks["loose"]).all())
    volumes = [float(m.sum()) for m in masks.values()]
    assert volumes[0] > 1.3 * volumes[1] > 1.3 * 1.2 * volumes[2]


def test_masks_made_here_leave_nothing_to_remark(
    molecule: Tensor, halves: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    masks = named_masks(molecule, GRID)
    for mask in masks.values():
        assert shape_notes(mask, molecule, GRID) == []
    for found in masked_fscs(*halves, masks, generator).values():
        assert tightness_notes(found, GRID) == []


def test_a_hard_edge_and_a_cut_molecule_are_named(molecule: Tensor) -> None:
    hard = (named_masks(molecule, GRID)["auto"] > 0.5).float()
    (note,) = shape_notes(hard, molecule, GRID)
    assert note.code == "mask-hard-edge" and "(0.0 pixels wide)" in note.text
    small = spherical_mask(GRID, 15.0, 15.0)
    (note,) = shape_notes(small, molecule, GRID)
    assert note.code == "mask-cuts-molecule" and "% of its density lies outside" in note.text


def test_random_phases_betray_a_tight_mask(
    molecule: Tensor, halves: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    tight = (molecule > 0.2 * molecule.max()).float()
    found = masked_fscs(*halves, {"user": tight}, generator)["user"]
    (note,) = tightness_notes(found, GRID)
    assert note.text.startswith("The mask is too tight: with random phases")


def _curves(unmasked: int, masked: int, corrected: int) -> MaskedFsc:
    """Curves that are 1 up to a shell and 0 beyond it."""
    steps = [(torch.arange(25) <= shell).double() for shell in (unmasked, masked, corrected)]
    return MaskedFsc(steps[0], steps[1], torch.zeros(25).double(), steps[2], 4)


def test_curves_far_apart_are_a_tight_mask() -> None:
    assert tightness_notes(_curves(8, 11, 10), GRID) == []
    (note,) = tightness_notes(_curves(8, 15, 10), GRID)
    assert "9.60 Å with it, but 14.40 Å after correction" in note.text
    (note,) = tightness_notes(_curves(13, 10, 10), GRID)
    assert "The mask lowers the resolution: 14.40 Å with it" in note.text


def test_the_table_of_resolutions() -> None:
    table = resolutions_by_mask({"loose": _curves(8, 13, 10), "user": _curves(8, 13, 24)}, GRID)
    assert list(table) == ["unmasked", "loose", "user"]
    assert [row["0.143"] for row in table.values()] == [18.0, 14.4, 6.0]
    assert table["loose"]["0.5 interpolated"] == pytest.approx(144 / 10.5)
    assert [row["at_nyquist"] for row in table.values()] == [False, False, True]
    assert resolutions_by_mask({}, GRID) == {}
