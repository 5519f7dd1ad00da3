"""Random phases in particles: what stays, what goes, and that nothing depends on batches."""

from __future__ import annotations

import pytest
import torch
from problems import GROUP, random_batch, white

from cryosplat import fourier
from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.validation.noise_substitution import (
    FIRST,
    shell_frequency,
    substituted,
    substitution_shell,
)

GRID = Grid(24, 2.0)
SHELL = 5


def _batch(n: int = 6) -> Batch:
    return random_batch(n, (GROUP,), torch.Generator().manual_seed(3))


def _substituted(batch: Batch, seed: int = 0) -> torch.Tensor:
    frequency = shell_frequency(SHELL, GRID)
    return torch.cat([b.images for b in substituted([batch], white(GRID), frequency, seed)])


def test_frequencies_below_are_kept_and_amplitudes_everywhere() -> None:
    batch = _batch()
    before, after = (torch.fft.rfft2(i.double()) for i in (batch.images, _substituted(batch)))
    shells = fourier.shells((GRID.box_size,) * 2)
    kept = shells < SHELL
    assert torch.allclose(before[:, kept], after[:, kept], atol=1e-4)
    inner = shells < 12  # on the Nyquist row a real image has fewer freedoms
    assert torch.allclose(before.abs()[:, inner], after.abs()[:, inner], rtol=1e-3, atol=1e-3)


def test_beyond_it_nothing_is_left_of_the_image() -> None:
    batch = _batch(40)
    after = _substituted(batch)
    rings = torch.stack(
        [fourier_shell_correlation(a, b) for a, b in zip(batch.images, after, strict=True)]
    ).mean(0)
    assert float(rings[:SHELL].min()) > 0.999
    assert float(rings[SHELL:].abs().max()) < 0.12


def test_the_result_does_not_depend_on_the_batches_but_on_the_seed() -> None:
    batch = _batch()
    parts = [batch.select(torch.tensor([i])) for i in range(6)]
    frequency = shell_frequency(SHELL, GRID)
    one = torch.cat([b.images for b in substituted(parts, white(GRID), frequency, 0)])
    assert torch.allclose(one, _substituted(batch), atol=1e-5)
    assert not torch.allclose(_substituted(batch, seed=1), one, atol=1e-2)


@pytest.mark.parametrize(
    ("curve", "shell"),
    [([1, 0.9, 0.8, 0.7, 0.4, 0.2] + [0.0] * 7, 4), ([1.0] * 13, 9), ([1.0] + [0.0] * 12, FIRST)],
)
def test_phases_go_where_the_baseline_falls_below_a_half(curve: list[float], shell: int) -> None:
    """At three quarters of Nyquist where it never does, and never before the second shell."""
    assert substitution_shell(torch.tensor(curve), GRID) == shell
