"""Masks: exact spheres, and molecules found in clean, noisy and empty maps."""

from __future__ import annotations

from pathlib import Path

import gemmi
import pytest
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.maps.mask import soft_mask, spherical_mask
from cryosplat.maps.mask_checks import shape_notes

MODELS = {  # file, box size, pixel size
    "4hhb_hemoglobin.pdb": (64, 1.6),
    "1igy_IgG1.pdb": (96, 2.2),
    "6vxx.pdb": (100, 2.6),
    "apoferritin_ca_sym.pdb": (96, 2.0),
}


def _positions(path: Path) -> Tensor:
    structure = gemmi.read_structure(str(path))
    structure.remove_waters()
    atoms = [site.atom.pos.tolist() for site in structure[0].all()]
    positions = torch.tensor(atoms, dtype=torch.float64)
    return positions - positions.mean(0)


def _indices(positions: Tensor, grid: Grid) -> Tensor:
    """Nearest voxel [z, y, x] of every atom."""
    return (positions.flip(1) / grid.pixel_size + grid.centre).round().long()


def _map(positions: Tensor, grid: Grid, b_factor: float = 100.0) -> Tensor:
    """Atoms at their nearest voxel, blurred by a B-factor."""
    volume = torch.zeros((grid.box_size,) * 3, dtype=torch.float64)
    volume.index_put_(
        tuple(_indices(positions, grid).T), torch.ones(len(positions)).double(), accumulate=True
    )
    squared = (fourier.shells(volume.shape) / grid.side) ** 2
    spectrum = torch.fft.rfftn(volume) * torch.exp(-0.25 * b_factor * squared)
    return torch.fft.irfftn(spectrum, s=volume.shape)


def _noisy(volume: Tensor, shell: int, generator: torch.Generator) -> Tensor:
    """Added noise, growing with frequency, as strong as the signal at ``shell``."""
    shells = fourier.shells(tuple(volume.shape))
    signal = torch.fft.rfftn(volume)
    deviation = signal[shells == shell].abs().square().mean().sqrt()
    white = torch.fft.rfftn(torch.randn(volume.shape, generator=generator, dtype=torch.float64))
    growth = (shells / shell).clamp(max=4.0).sqrt() / volume.numel() ** 0.5
    return torch.fft.irfftn(signal + white * growth * deviation, s=volume.shape)


def test_sphere_is_exact() -> None:
    mask = spherical_mask(Grid(32, 2.0), radius=10.0, edge=4.0)
    line = mask[16, 16, 16:]
    assert mask.dtype == torch.float32
    torch.testing.assert_close(line[:9], torch.tensor([1.0] * 6 + [0.5, 0.0, 0.0]))
    assert torch.equal(mask, mask.permute(2, 1, 0))


def test_a_sphere_without_an_edge_is_binary() -> None:
    mask = spherical_mask(Grid(16, 1.0), radius=3.0, edge=0.0)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask[8, 8, 8:].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", [None, "weak", "strong"])
def test_contains_the_molecule_and_leaves_the_solvent(
    shared: Path, generator: torch.Generator, model: str, noise: str | None
) -> None:
    grid = Grid(*MODELS[model])
    positions = _positions(shared / "data" / "models" / model)
    volume = _map(positions, grid)
    if noise is not None:
        volume = _noisy(volume, grid.box_size // (4 if noise == "weak" else 8), generator)
    mask = soft_mask(volume, grid)
    assert float(mask.min()) >= 0.0 and float(mask.max()) <= 1.0
    inside = mask[tuple(_indices(positions, grid).T)]
    assert float((inside > 0.95).double().mean()) > 0.995
    distance_limit = 0.30  # of the box: the sphere of a mask that found nothing has 0.41 or more
    assert float(mask.mean()) < distance_limit
    for face in (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]):
        assert float(face.max()) == 0.0


def test_a_map_of_noise_gets_the_sphere_that_assumes_nothing(generator: torch.Generator) -> None:
    grid = Grid(48, 3.0)
    mask = soft_mask(torch.randn(48, 48, 48, generator=generator), grid)
    edge = 15.0  # 5 pixels
    torch.testing.assert_close(mask, spherical_mask(grid, 0.5 * grid.side - edge, edge))


def test_an_empty_map_gets_the_same_sphere() -> None:
    grid = Grid(32, 2.0)
    torch.testing.assert_close(
        soft_mask(torch.zeros(32, 32, 32), grid), spherical_mask(grid, 22.0, 10.0)
    )


def test_specks_are_dropped_and_cavities_filled() -> None:
    grid = Grid(64, 2.0)
    shell = spherical_mask(grid, 30.0, 2.0) - spherical_mask(grid, 15.0, 2.0)
    speck = torch.zeros(64, 64, 64)
    speck[32, 32, 58] = 300.0
    mask = soft_mask(shell + speck, grid)
    assert float(mask[32, 32, 58]) == 0.0
    assert float(mask[32, 32, 32]) == 1.0
    assert float(mask[32, 32, 46]) == 1.0


def test_grey_scale_and_background_do_not_matter(shared: Path) -> None:
    grid = Grid(*MODELS["4hhb_hemoglobin.pdb"])
    volume = _map(_positions(shared / "data" / "models" / "4hhb_hemoglobin.pdb"), grid)
    torch.testing.assert_close(soft_mask(1e3 * volume + 7.0, grid), soft_mask(volume, grid))


def test_a_map_of_another_box_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(8, 8, 8\), expected a cube of 16"):
        soft_mask(torch.zeros(8, 8, 8), Grid(16, 1.0))
    with pytest.raises(InputError, match="NaN or infinite"):
        soft_mask(torch.full((16, 16, 16), torch.nan), Grid(16, 1.0))


@pytest.mark.parametrize("box_size", [4, 5, 8, 12, 16, 31])
def test_masks_of_few_pixels_reach_one_and_hold_the_molecule(box_size: int) -> None:
    grid = Grid(box_size, 4.0)
    distance = fourier.distances((box_size,) * 3)
    blob = torch.exp(-((distance / (0.12 * box_size)) ** 2)).double()
    mask = soft_mask(blob, grid)
    assert float(mask.max()) == 1.0 and shape_notes(mask, blob, grid) == []
