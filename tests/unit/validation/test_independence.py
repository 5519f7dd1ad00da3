"""Half-sets that have something in common."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import GROUP, blobs, random_batch

from cryosplat import fourier
from cryosplat.grid import Grid
from cryosplat.splatting import voxelize
from cryosplat.validation.independence import Fingerprints, noise_correlation

GRID = Grid(48, 2.0)
MOLECULE = voxelize(blobs(60, 12.0, torch.Generator().manual_seed(2), width=2.0), GRID).float()


def test_repeated_images_on_both_sides_are_found() -> None:
    batch = random_batch(10, (GROUP,), torch.Generator().manual_seed(1))
    again = random_batch(2, (GROUP,), torch.Generator().manual_seed(1), first=10)
    again.images.copy_(batch.images[:2])
    fingerprints = Fingerprints()
    seen = list(fingerprints.watch([batch, again]))
    assert seen == [batch, again]
    halves = torch.tensor([1] * 5 + [2] * 5 + [2, 2])
    assert fingerprints.share_in_both(halves) == pytest.approx(2 / 5)
    halves[10:] = 1  # both copies on one side
    assert fingerprints.share_in_both(halves) == 0.0


def _noise(d: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(d, d, d, generator=generator)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_noise_correlates_by_what_is_shared(share: float) -> None:
    generator = torch.Generator().manual_seed(2)
    common = share**0.5 * _noise(48, generator)
    left = [common + (1 - share) ** 0.5 * _noise(48, generator) for _ in range(2)]
    found = noise_correlation(left[0], left[1], MOLECULE, GRID)
    assert found.value == pytest.approx(share, abs=4 * found.deviation)
    assert found.deviation < 0.02


@pytest.mark.parametrize("box", [12, 24])
def test_its_standard_deviation_is_that_of_independent_noise(box: int) -> None:
    """Coloured noise, in boxes so small that chance alone correlates it."""
    generator = torch.Generator().manual_seed(3)
    grid, molecule = Grid(box, 96.0 / box), fourier.resample(MOLECULE, box, 3)
    gain = 1.0 / (1.0 + fourier.squared_radii((box,) * 3) / 9.0)
    scores = []
    for _ in range(60):
        left = [fourier.filter(_noise(box, generator), gain, 3) for _ in range(2)]
        found = noise_correlation(left[0], left[1], molecule, grid)
        scores.append(found.value / found.deviation)
    assert abs(float(np.mean(scores))) < 0.5
    assert float(np.std(scores)) == pytest.approx(1.0, abs=0.3)
