"""Parts of the recipe that decide quietly: which particles stand for the noise."""

from __future__ import annotations

import pytest
import torch

from cryosplat.reconstruction._data import LEAST_NOISE_SAMPLE, NOISE_SAMPLE, _noise_sample


@pytest.mark.parametrize("n", [7, 400, 4000, 20_000])
def test_groups_that_take_turns_are_all_sampled(n: int) -> None:
    """Every second, or every fourth particle, could all belong to one group."""
    group = torch.arange(n) % 2
    sample = _noise_sample(group)
    counts = torch.bincount(group[sample], minlength=2)
    assert int(counts.min()) >= min(n // 2, NOISE_SAMPLE // 2)
    assert len(sample) <= 2 * NOISE_SAMPLE and len(sample.unique()) == len(sample)


def test_a_small_group_is_sampled_too() -> None:
    group = torch.zeros(10_000, dtype=torch.int64)
    group[1234], group[4000:4030] = 2, 5
    sample = _noise_sample(group)
    assert torch.bincount(group[sample]).tolist()[1:] == [0, 1, 0, 0, 30]


def test_many_groups_get_enough_images_each() -> None:
    group = torch.arange(40_000) % 200
    counts = torch.bincount(group[_noise_sample(group)])
    assert int(counts.min()) >= LEAST_NOISE_SAMPLE
