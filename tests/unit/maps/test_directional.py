"""Directional FSC: even where data are even, lower along an axis that misses them."""

from __future__ import annotations

import math

import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.maps.directional import FEWEST_VOXELS, directional_fsc
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.views import half_sphere

SEED = 2

BOX = 64
GRID = Grid(BOX, 1.5)
FULL_MASK = torch.ones((BOX,) * 3)
AXIS = torch.tensor([0.48, 0.6, 0.64], dtype=torch.float64)


def _white(generator: torch.Generator) -> Tensor:
    return torch.randn((BOX,) * 3, generator=generator)


def _filtered(volume: Tensor, gain: Tensor) -> Tensor:
    return torch.fft.irfftn(torch.fft.rfftn(volume) * gain, s=(BOX,) * 3)


def _off_axis() -> Tensor:
    """Angle of every Fourier voxel to the line along ``AXIS``, radian."""
    full, half = torch.fft.fftfreq(BOX).double(), torch.fft.rfftfreq(BOX).double()
    k = torch.stack(torch.broadcast_tensors(half, full[:, None], full[:, None, None]), -1)
    cosine = (k @ AXIS).abs() / k.norm(dim=-1).clamp_min(1e-9)
    return cosine.clamp(max=1.0).acos()


def _signal(generator: torch.Generator) -> Tensor:
    return _filtered(
        _white(generator), 4.0 * torch.exp(-fourier.shells((GRID.box_size,) * 3) / 12.0)
    )


def test_an_isotropic_map_scores_near_1(generator: torch.Generator) -> None:
    signal = _signal(generator)
    found = directional_fsc(signal + _white(generator), signal + _white(generator), FULL_MASK, GRID)
    assert found.cfar > 0.7
    assert found.fsc.shape == (256, GRID.n_shells)
    whole = fourier_shell_correlation(signal + _white(generator), signal + _white(generator))
    assert float((found.mean - whole)[10:].abs().max()) < tolerances.FSC_STATISTICAL


def test_a_missing_cone_is_found_where_it_is(generator: torch.Generator) -> None:
    outside = (_off_axis() > math.radians(30.0)).float()
    signal = _filtered(_signal(generator), outside)
    found = directional_fsc(signal + _white(generator), signal + _white(generator), FULL_MASK, GRID)
    assert found.cfar < 0.5
    worst = torch.tensor(found.summary()["worst_axis"], dtype=torch.float64)
    assert abs(float(worst @ AXIS)) > math.cos(math.radians(15.0))
    best = found.axes[int(found.areas.argmax())]
    assert abs(float(best @ AXIS)) < math.cos(math.radians(30.0))
    near = (found.axes @ AXIS).abs() > math.cos(math.radians(8.0))
    assert float(found.resolutions[near].min()) > 1.2 * float(found.resolutions.median())


def test_one_cone_is_the_fsc_of_its_voxels(generator: torch.Generator) -> None:
    """Golden: the sums over one cone, written out with the half transforms."""
    a, b = _signal(generator), _signal(generator)
    b = a + b
    found = directional_fsc(a, b, FULL_MASK, GRID)
    first, second = torch.fft.rfftn(a), torch.fft.rfftn(b)
    full, half = torch.fft.fftfreq(BOX).double(), torch.fft.rfftfreq(BOX).double()
    k = torch.stack(torch.broadcast_tensors(half, full[:, None], full[:, None, None]), -1)
    k[:, BOX // 2, :, 1] = k[BOX // 2, :, :, 2] = 0.5
    inside = (k @ found.axes[40]).abs() >= math.cos(math.radians(20.0)) * k.norm(dim=-1)
    for shell in (15, 31):
        cone = inside & (fourier.shells((GRID.box_size,) * 3) == shell)
        assert int(cone.sum()) >= FEWEST_VOXELS
        cross = (first * second.conj()).real[cone].sum()
        norm = (first.abs().square()[cone].sum() * second.abs().square()[cone].sum()).sqrt()
        expected = float(cross / norm)
        assert float(found.fsc[40, shell]) == pytest.approx(expected, abs=tolerances.CONE_FSC)


def test_equal_maps_are_perfect_and_unrelated_ones_score_0(generator: torch.Generator) -> None:
    a, b = _white(generator), _white(generator)
    found = directional_fsc(a, a, FULL_MASK, GRID)
    assert found.cfar == pytest.approx(1.0)
    assert float(found.resolutions.max()) == pytest.approx(2.0 * GRID.pixel_size)
    nothing = directional_fsc(a, -a, FULL_MASK, GRID)
    assert nothing.cfar == 0.0
    assert nothing.summary()["resolutions"] == [None] * 256
    assert directional_fsc(a, b, FULL_MASK, GRID).mean[10:].abs().max() < 0.05


def test_axes_cover_the_half_sphere_evenly() -> None:
    axes = half_sphere(256)
    torch.testing.assert_close(axes.norm(dim=1), torch.ones(256, dtype=torch.float64))
    assert float(axes[:, 2].min()) > 0
    everywhere = torch.nn.functional.normalize(
        torch.randn(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    nearest = (everywhere @ axes.T).abs().amax(1).clamp(max=1.0).acos()
    assert float(nearest.max()) < math.radians(10.0)


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(InputError, match=r"mask has shape \(32, 64, 64\), expected a cube of 64"):
        directional_fsc(FULL_MASK, FULL_MASK, FULL_MASK[:32], GRID)
    with pytest.raises(InputError, match=r"first half-map .* finite"):
        directional_fsc(FULL_MASK * torch.nan, FULL_MASK, FULL_MASK, GRID)
