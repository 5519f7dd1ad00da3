"""The headline is the lower of two resolutions, and says which."""

from __future__ import annotations

import math

import pytest
import torch
from problems import blobs
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.maps.fsc import resolution
from cryosplat.maps.mask import soft_mask
from cryosplat.splatting import voxelize
from cryosplat.validation.comparison import (
    CROSS,
    FULL_FROM_CROSS,
    FULL_FROM_HALVES,
    HALF_MAPS,
    HALF_MAPS_CHECKED,
    HALF_MAPS_MASKED,
    INVENTED,
    PREDICTED,
    Comparison,
    compare,
)

GRID = Grid(40, 2.0)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """Models that share an error, voxels that do not."""
    generator = torch.Generator().manual_seed(4)
    truth = voxelize(blobs(100, 20.0, generator, width=1.6), GRID)

    def noise(level: float) -> Tensor:
        return level * float(truth.std()) * torch.randn(40, 40, 40, generator=generator)

    mask = soft_mask(truth, GRID)
    shared = noise(1.0) * mask
    voxels = [truth + noise(1.0), truth + noise(1.4), truth + noise(1.4)]
    models = [truth + shared + noise(0.2) * mask for _ in range(3)]
    return compare(models, voxels, mask, GRID, torch.Generator().manual_seed(0))


def test_a_shared_error_makes_the_cross_fsc_the_headline(compared: Comparison) -> None:
    assert compared.taken_from == "cross"
    assert compared.headline == resolution(compared.curves[CROSS], GRID, 0.5)
    assert compared.headline.shell < resolution(compared.curves[HALF_MAPS], GRID).shell
    assert "The cross-FSC with the voxel baseline is the more conservative" in compared.reason


def test_the_prediction_trusts_neither_curve_beyond_the_other(compared: Comparison) -> None:
    curves = compared.curves
    lower = torch.minimum(curves[FULL_FROM_HALVES], curves[FULL_FROM_CROSS])
    assert torch.equal(curves[PREDICTED], lower)


def test_what_is_invented_is_taken_off_the_half_maps(compared: Comparison) -> None:
    invented = torch.full((GRID.n_shells,), 0.4, dtype=torch.float64)
    found = compared.with_substitution(invented, 8, GRID)
    masked, checked = found.curves[HALF_MAPS_MASKED], found.curves[HALF_MAPS_CHECKED]
    assert torch.equal(checked[:10], masked[:10])
    assert torch.allclose(checked[10:], (masked[10:] - 0.4) / 0.6)
    assert bool(found.curves[INVENTED][:8].isnan().all())
    assert "by noise substitution" in found.reason


def test_half_maps_that_invent_everything_lower_the_headline(compared: Comparison) -> None:
    everything = compared.curves[HALF_MAPS_MASKED].clone()
    found = compared.with_substitution(everything, 4, GRID)
    assert found.taken_from == "half-maps" and found.headline.shell == 5


def test_without_signal_there_is_no_resolution(compared: Comparison) -> None:
    found = compared.without_signal(GRID, "Nothing fits, so no resolution is claimed.")
    assert not found.headline.resolved and math.isinf(found.headline.angstrom)
    assert "no resolution is claimed" in found.reason
