"""Half-sets that have something in common."""

from __future__ import annotations

import pytest
import torch
from problems import GROUP, blobs, random_batch

from cryosplat.grid import Grid
from cryosplat.splatting import voxelize
from cryosplat.validation.independence import Fingerprints, noise_correlation

GRID = Grid(48, 2.0)


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


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_noise_correlates_by_what_is_shared(share: float) -> None:
    generator = torch.Generator().manual_seed(2)
    molecule = voxelize(blobs(60, 12.0, generator, width=2.0), GRID)

    def noise() -> torch.Tensor:
        return 0.2 * float(molecule.std()) * torch.randn(48, 48, 48, generator=generator)

    common = share**0.5 * noise()
    half1, half2 = (molecule + common + (1 - share) ** 0.5 * noise() for _ in range(2))
    assert noise_correlation(half1, half2, molecule, GRID) == pytest.approx(share, abs=0.03)
