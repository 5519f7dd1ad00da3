"""The FSC with the truth from the cross-FSC: maps whose truth and noise are known."""

from __future__ import annotations

import pytest
import torch
from problems import blobs
from tolerances import CALIBRATED
from torch import Tensor

from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.mask import spherical_mask
from cryosplat.splatting import voxelize
from cryosplat.validation.calibration import (
    Calibration,
    calibrate,
    difference_variance,
    independent_coefficients,
)

GRID = Grid(48, 2.0)
MASK = spherical_mask(GRID, 34.0, 10.0)


def _truth() -> Tensor:
    mixture = blobs(150, 26.0, torch.Generator().manual_seed(1), width=1.6)
    return voxelize(mixture, GRID).double()


def _low_passed(volume: Tensor, width: float) -> Tensor:
    axes = torch.fft.fftfreq(48), torch.fft.fftfreq(48), torch.fft.rfftfreq(48)
    squared = sum(k.square() for k in torch.meshgrid(*axes, indexing="ij"))
    assert isinstance(squared, Tensor)
    damped = torch.fft.rfftn(volume) * torch.exp(-squared * width**2)
    return torch.fft.irfftn(damped, s=volume.shape)


def _problem(level: float, bias: float) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Models and voxel maps of two halves; the models share an error of relative size ``bias``."""
    truth, generator = _truth(), torch.Generator().manual_seed(2)

    def noise() -> Tensor:
        return torch.randn(48, 48, 48, generator=generator, dtype=torch.float64) * truth.std()

    shared = bias * noise() * MASK
    first, second = level * noise(), level * noise()
    voxels = [truth + first, truth + second]
    models = [truth + _low_passed(n, 2.0) * 0.5 * MASK + shared for n in (first, second)]
    return models, voxels, truth


def _found(models: list[Tensor], voxels: list[Tensor]) -> Calibration:
    return calibrate((models[0], models[1]), (voxels[0], voxels[1]), MASK, GRID)


@pytest.mark.parametrize("bias", [0.0, 0.6])
def test_the_estimate_is_the_measured_fsc_whatever_the_models_share(bias: float) -> None:
    models, voxels, truth = _problem(1.5, bias)
    found = _found(models, voxels)
    measured = 0.5 * sum(fourier_shell_correlation(m * MASK, truth * MASK) for m in models)
    assert isinstance(measured, Tensor)
    judged = measured > 0.3
    assert float((found.with_truth - measured)[judged].abs().max()) < CALIBRATED


def test_a_shared_error_inflates_the_half_maps_and_not_the_estimate() -> None:
    models, voxels, truth = _problem(1.5, 0.6)
    halves = fourier_shell_correlation(models[0] * MASK, models[1] * MASK)
    measured = fourier_shell_correlation(models[0] * MASK, truth * MASK)
    promised = halves.clamp_min(0.0).sqrt()
    assert float((promised - measured)[20:23].mean()) > 0.1
    assert abs(float((_found(models, voxels).with_truth - measured)[20:23].mean())) < CALIBRATED


def test_without_noise_model_and_truth_are_one() -> None:
    truth = _truth()
    found = _found([truth, truth], [truth, truth])
    assert float(found.with_truth[1:20].min()) > 0.97


def test_of_the_full_map_it_is_what_doubled_data_give() -> None:
    half = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    full = Calibration(half, torch.zeros(3), half).of_full_map()
    assert full.tolist() == pytest.approx([1.0, (2 * 0.25 / 1.25) ** 0.5, 0.0])


def test_maps_of_another_box_are_refused() -> None:
    with pytest.raises(InputError, match="expected a cube of 48 voxels"):
        _found([torch.ones(8, 8, 8)] * 2, [torch.ones(48, 48, 48)] * 2)


def test_an_empty_map_is_refused() -> None:
    truth = _truth()
    with pytest.raises(InputError, match="without any power"):
        _found([truth, torch.zeros_like(truth)], [truth, truth])


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_the_variance_of_cross_minus_voxels(share: float) -> None:
    """Over 3,000 draws of 40 independent coefficients of a truth, two models and two voxel maps."""
    generator, m, n = torch.Generator().manual_seed(5), 40, 3000

    def draw(level: float) -> Tensor:
        return level * torch.randn(n, m, dtype=torch.complex128, generator=generator)

    def fsc(a: Tensor, b: Tensor) -> Tensor:
        product = (a * b.conj()).real.sum(1)
        return product / (a.abs().square().sum(1) * b.abs().square().sum(1)).sqrt()

    truth, nu = draw(1.0), (1.0 - share) / share
    noise = [draw(nu**0.5) for _ in range(2)]
    voxels = [truth + one for one in noise]
    models = [truth + draw(0.3) for _ in noise]
    cross = 0.5 * (fsc(models[0], voxels[1]) + fsc(models[1], voxels[0]))
    own = fsc(voxels[0], voxels[1])
    expected = difference_variance(
        cross.mean()[None], own.mean()[None], torch.tensor([float(m)], dtype=torch.float64)
    )
    assert float((cross - own).var()) == pytest.approx(float(expected[0]), rel=0.3)


def test_a_mask_leaves_as_many_independent_coefficients_as_its_share() -> None:
    whole = independent_coefficients(torch.ones(16, 16, 16))
    part = torch.zeros(16, 16, 16)
    part[:4] = 1.0
    assert float(whole.sum()) == pytest.approx(4.0 * float(independent_coefficients(part).sum()))
