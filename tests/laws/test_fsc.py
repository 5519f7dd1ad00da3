"""Laws of the Fourier shell correlation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.grid import Grid
from cryosplat.maps.fsc import (
    fourier_shell_correlation,
    masked_fsc,
    randomise_phases,
    truth_from_halves,
)
from cryosplat.maps.mask import spherical_mask

BOX = 48
GRID = Grid(BOX, 2.0)


def _noise(generator: torch.Generator, box_size: int = BOX) -> Tensor:
    return torch.randn((box_size,) * 3, generator=generator, dtype=torch.float64)


def _signal(generator: torch.Generator) -> Tensor:
    """White noise under a falling envelope, so that unit white noise drowns its high shells."""
    envelope = 6.0 * torch.exp(-fourier.shells((BOX,) * 3) / 8.0)
    return torch.fft.irfftn(torch.fft.rfftn(_noise(generator)) * envelope, s=(BOX,) * 3)


@pytest.mark.parametrize("box_size", [15, 16])
def test_a_map_correlates_perfectly_with_itself_and_negatively_with_its_negative(
    generator: torch.Generator, box_size: int
) -> None:
    volume = _noise(generator, box_size)
    ones = torch.ones(box_size // 2 + 1, dtype=torch.float64)
    torch.testing.assert_close(fourier_shell_correlation(volume, volume), ones)
    torch.testing.assert_close(fourier_shell_correlation(volume, -volume), -ones)


def test_a_positive_filter_of_shells_changes_nothing(generator: torch.Generator) -> None:
    a, b = _noise(generator), _noise(generator) + _signal(generator)
    gain = torch.rand(200, generator=generator, dtype=torch.float64)[fourier.shells((BOX,) * 3)] + 1
    filtered = torch.fft.irfftn(torch.fft.rfftn(a) * gain, s=(BOX,) * 3)
    torch.testing.assert_close(
        fourier_shell_correlation(filtered, b), fourier_shell_correlation(a, b)
    )


def test_half_maps_predict_the_fsc_with_the_truth(generator: torch.Generator) -> None:
    truth = _signal(generator)
    half1, half2 = truth + _noise(generator), truth + _noise(generator)
    predicted = truth_from_halves(fourier_shell_correlation(half1, half2))
    measured = fourier_shell_correlation(half1 + half2, truth)
    error = (predicted - measured)[4:20].abs()
    assert float(error.max()) < tolerances.FSC_STATISTICAL


def test_random_phases_keep_amplitudes_and_the_low_shells(generator: torch.Generator) -> None:
    volume = _signal(generator)
    randomised = randomise_phases(volume, 9, generator)
    before, after = torch.fft.rfftn(volume), torch.fft.rfftn(randomised)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-9, atol=1e-9)
    low = fourier.shells((BOX,) * 3) < 9
    torch.testing.assert_close(after[low], before[low])
    assert float(fourier_shell_correlation(volume, randomised)[10:].abs().max()) < 0.2


def test_random_phases_are_seeded(generator: torch.Generator) -> None:
    volume = _signal(generator)
    first, second = (
        randomise_phases(volume, 5, torch.Generator().manual_seed(seed)) for seed in (3, 3)
    )
    other = randomise_phases(volume, 5, torch.Generator().manual_seed(4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_correction_removes_the_correlation_a_shared_mask_creates(
    generator: torch.Generator,
) -> None:
    """Pure noise beyond shell 8 under one tight mask: masked FSC is high, corrected FSC is not."""
    low = fourier.shells((BOX,) * 3) < 8
    shared = torch.fft.rfftn(_noise(generator))
    size = (BOX,) * 3
    half1, half2 = (
        torch.fft.irfftn(torch.where(low, shared, torch.fft.rfftn(_noise(generator))), s=size)
        for _ in range(2)
    )
    mask = spherical_mask(GRID, radius=6.0, edge=2.0)
    result = masked_fsc(half1 + 0.5, half2 + 0.5, mask, generator)
    beyond = slice(12, 22)
    assert result.randomised_from == 8
    assert float(result.masked[beyond].mean()) > 0.2
    assert abs(float(result.corrected[beyond].mean())) < 0.1


def test_equals_the_independent_tool(shared: Path, generator: torch.Generator) -> None:
    path = shared / "tools" / "fsc.py"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    spec = importlib.util.spec_from_file_location("independent_fsc", path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for box_size in (31, 32):
        a = _noise(generator, box_size)
        b = a + 2.0 * _noise(generator, box_size)
        expected = torch.from_numpy(tool.fsc(a.numpy(), b.numpy()))
        difference = (fourier_shell_correlation(a, b) - expected).abs().max()
        assert float(difference) < tolerances.FSC_AGREEMENT
