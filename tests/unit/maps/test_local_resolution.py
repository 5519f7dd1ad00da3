"""Local resolution: what is put in at two places is found there, and noise has none."""

from __future__ import annotations

import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import InputError, SettingsError
from cryosplat.grid import Grid
from cryosplat.maps.local_resolution import LocalResolution, local_resolution
from cryosplat.maps.mask import spherical_mask

SEED = 5

BOX, PIXEL, WINDOW = 72, 2.0, 25.0
GRID = Grid(BOX, PIXEL)
COARSE, FINE = 12.0, 6.0  # Angstrom, in the left and right half of the box (x)


def _white(generator: torch.Generator) -> Tensor:
    return torch.randn((BOX,) * 3, generator=generator)


def _noise(resolution: float, generator: torch.Generator) -> Tensor:
    """Noise as strong as a white signal of variance 1 at 1/``resolution``: there FSC is 0.5."""
    gain = (fourier.shells((GRID.box_size,) * 3) / GRID.side * resolution) ** 2
    return torch.fft.irfftn(torch.fft.rfftn(_white(generator)) * gain, s=(BOX,) * 3)


def _halves(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    signal = _white(generator)
    left = torch.sigmoid((BOX // 2 - torch.arange(BOX)) / 1.5)  # a step would leak to all bands
    first, second = (
        signal + left * _noise(COARSE, generator) + (1 - left) * _noise(FINE, generator)
        for _ in range(2)
    )
    return first, second


def _median(found: LocalResolution, columns: slice) -> float:
    values = found.map[:, :, columns][found.inside[:, :, columns]]
    return float(values.median())


def test_two_known_resolutions_are_recovered(generator: torch.Generator) -> None:
    mask = spherical_mask(GRID, 0.4 * GRID.side, 4.0 * PIXEL)
    found = local_resolution(*_halves(generator), mask, GRID, WINDOW)
    margin = int(0.5 * WINDOW / PIXEL)
    left = _median(found, slice(0, BOX // 2 - margin))
    right = _median(found, slice(BOX // 2 + margin, BOX))
    assert left == pytest.approx(COARSE, rel=tolerances.LOCAL_RESOLUTION)
    assert right == pytest.approx(FINE, rel=tolerances.LOCAL_RESOLUTION)
    summary = found.summary()
    assert right < summary["median"] < left
    assert summary["q05"] <= summary["median"] <= summary["q95"]
    assert summary["unresolved"] < 0.01


def test_pure_noise_has_no_resolution(generator: torch.Generator) -> None:
    mask = spherical_mask(GRID, 0.4 * GRID.side, 4.0 * PIXEL)
    found = local_resolution(_white(generator), _white(generator), mask, GRID, WINDOW)
    assert found.summary()["unresolved"] > 0.99
    assert found.quantile(0.001) > 0.5 * found.coarsest


@pytest.mark.parametrize("window", [None, WINDOW])
def test_equal_maps_agree_to_nyquist_and_nothing_is_said_outside(
    generator: torch.Generator, window: float | None
) -> None:
    mask = spherical_mask(GRID, 0.3 * GRID.side, 4.0 * PIXEL)
    half = _white(generator)
    found = local_resolution(half, half, mask, GRID, window)
    assert bool((found.map[mask == 0] == 0).all())
    assert bool((found.map[mask > 0] > 0).all())
    torch.testing.assert_close(
        found.map[found.inside], torch.full_like(found.map[found.inside], 2.0 * PIXEL)
    )


def test_a_mask_correlates_nothing_by_itself(generator: torch.Generator) -> None:
    """Under a tiny mask independent noise stays unresolved: the mask weighs, it does not multiply."""
    mask = spherical_mask(GRID, 14.0, 2.0)
    found = local_resolution(_white(generator) + 3.0, _white(generator) + 3.0, mask, GRID, 20.0)
    assert found.quantile(0.05) > 0.5 * found.coarsest


def test_filtering_both_halves_changes_nothing(generator: torch.Generator) -> None:
    """A B-factor scales each band and leaves its correlation, up to the width of the bands."""
    first, second = _halves(generator)
    mask = spherical_mask(GRID, 0.4 * GRID.side, 4.0 * PIXEL)
    gain = torch.exp(-60.0 / 4.0 * (fourier.shells((GRID.box_size,) * 3) / GRID.side) ** 2)
    sharp = [torch.fft.irfftn(torch.fft.rfftn(h) * gain, s=(BOX,) * 3) for h in (first, second)]
    before = local_resolution(first, second, mask, GRID, WINDOW)
    after = local_resolution(*sharp, mask, GRID, WINDOW)
    assert after.quantile(0.5) == pytest.approx(before.quantile(0.5), rel=0.03)


def test_what_cannot_be_compared_is_named() -> None:
    half, mask = torch.ones((BOX,) * 3), torch.ones((BOX,) * 3)
    with pytest.raises(InputError, match=r"second half-map has shape .*72 voxels"):
        local_resolution(half, half[1:], mask, GRID)
    with pytest.raises(InputError, match="mask holds NaN"):
        local_resolution(half, half, mask * torch.nan, GRID)
    with pytest.raises(SettingsError, match=r"window is 3 Angstrom.*expected 8 to 144 Angstrom"):
        local_resolution(half, half, mask, GRID, 3.0)
    with pytest.raises(SettingsError, match=r"threshold 1\.5"):
        local_resolution(half, half, mask, GRID, 20.0, 1.5)
