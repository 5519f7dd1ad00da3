"""Parts of the recipe that decide quietly: which particles stand for the noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryosplat.reconstruction._data import (
    LARGEST_NOISE_SAMPLE,
    LEAST_NOISE_SAMPLE,
    NOISE_SAMPLE,
    NOISE_SAMPLE_BYTES,
    _noise_samples,
)


def _sample(group: Tensor, box_size: int = 64) -> Tensor:
    """Positions of the sample, one group after another."""
    parts = list(_noise_samples(group, [box_size] * (int(group.max()) + 1)))
    assert all(len(group[part].unique()) == 1 for part in parts)
    return torch.cat(parts)


@pytest.mark.parametrize("n", [7, 400, 4000, 20_000])
def test_groups_that_take_turns_are_all_sampled(n: int) -> None:
    """Every second, or every fourth particle, could all belong to one group."""
    group = torch.arange(n) % 2
    sample = _sample(group)
    counts = torch.bincount(group[sample], minlength=2)
    assert int(counts.min()) >= min(n // 2, NOISE_SAMPLE // 2)
    assert len(sample) <= 2 * NOISE_SAMPLE and len(sample.unique()) == len(sample)


def test_a_small_group_is_sampled_too() -> None:
    group = torch.zeros(10_000, dtype=torch.int64)
    group[1234], group[4000:4030] = 2, 5
    sample = _sample(group)
    assert torch.bincount(group[sample]).tolist()[1:] == [0, 1, 0, 0, 30]


def test_many_groups_get_enough_images_each() -> None:
    group = torch.arange(40_000) % 200
    counts = torch.bincount(group[_sample(group)])
    assert int(counts.min()) >= LEAST_NOISE_SAMPLE


def test_a_sample_has_a_largest_size_however_many_groups() -> None:
    group = torch.arange(40_000) % 400
    sample = _sample(group)
    assert len(sample) == LARGEST_NOISE_SAMPLE
    assert torch.bincount(group[sample]).tolist() == [LARGEST_NOISE_SAMPLE // 400] * 400


def test_large_images_are_fewer() -> None:
    sample = _sample(torch.zeros(5000, dtype=torch.int64), 1024)
    assert len(sample) == NOISE_SAMPLE_BYTES // (4 * 1024**2)
    assert int(sample[-1]) > 4800
