"""One encoding of a mixture's eleven numbers, and Adam's memory of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import tolerances
import torch
from image_problems import some_blobs

from cryosplat.fitting import Encoding, Schedule
from cryosplat.fitting._parameters import Learner
from cryosplat.mixture import TENSORS, GaussianMixture

ENCODING = Encoding(64.0, 1000.0, 0.0)
RATES = (1e-1, 1e-2, 1e-3, 0.0)


def _learner(mixtures: Sequence[GaussianMixture], schedule: Schedule) -> Learner:
    parameters = [ENCODING.encode(mixture) for mixture in mixtures]
    return Learner(parameters, ["C1"] * len(mixtures), ENCODING, schedule, 0)


@pytest.mark.parametrize(
    "encoding", [ENCODING, Encoding(64.0, 1000.0, 0.01), Encoding(2.0, 10.0, 0.4)]
)
def test_parameters_give_their_mixture_back(encoding: Encoding) -> None:
    mixture = some_blobs(9, 2)
    again = encoding.decode(encoding.encode(mixture))
    for name in TENSORS:
        torch.testing.assert_close(
            getattr(again, name), getattr(mixture, name), **tolerances.PARAMETERS_FLOAT32
        )


def test_parameters_are_in_units() -> None:
    mixture = some_blobs(4, 2)
    found = ENCODING.encode(mixture)
    torch.testing.assert_close(found["means"] * 64.0, mixture.means)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(softplus(found["scales"]) * 64.0, mixture.scales)
    torch.testing.assert_close(softplus(found["amplitudes"]) * 1000.0, mixture.amplitudes)


def test_no_scale_falls_below_the_floor() -> None:
    encoding = Encoding(64.0, 1000.0, 0.1)
    found = encoding.encode(some_blobs(6, 2))
    found["scales"] -= 100.0
    assert float(encoding.decode(found).scales.min()) >= 6.4


def test_isotropic_gaussians_have_one_scale() -> None:
    mixture = some_blobs(5, 2)
    encoding = Encoding(64.0, 1000.0, 0.0, "isotropic")
    found = encoding.encode(mixture)
    assert found["scales"].shape == (5, 1)
    again = encoding.decode(found)
    torch.testing.assert_close(again.scales, again.scales[:, :1].expand(-1, 3))
    torch.testing.assert_close(again.scales.prod(1), mixture.scales.prod(1))


def test_a_step_uses_one_rate_for_each_kind_of_parameter() -> None:
    learner = _learner([some_blobs(5, 1)], Schedule(rates=RATES))
    before = ENCODING.encode(some_blobs(5, 1))
    sum(p.sum() for p in learner.parameters[0].values()).backward()  # type: ignore[union-attr]
    learner.update()
    for name, rate in zip(TENSORS, RATES, strict=True):
        moved = float((learner.parameters[0][name].detach() - before[name]).abs().max())
        assert moved == pytest.approx(rate, rel=1e-3)


def test_a_mixture_that_no_gradient_reaches_stays() -> None:
    learner = _learner([some_blobs(5, 1), some_blobs(5, 2)], Schedule())
    for moved in (0, 1):
        before = [m.means.detach() for m in learner.mixtures()]
        learner.mixtures()[moved].means.square().sum().backward()
        learner.update()
        after = [m.means.detach() for m in learner.mixtures()]
        assert not torch.equal(before[moved], after[moved])
        assert torch.equal(before[1 - moved], after[1 - moved])


def test_rates_fall_smoothly_or_by_stairs() -> None:
    smooth = Schedule(steps=10, rates=(1.0, 2.0, 3.0, 4.0), decay=0.01)
    assert smooth.rates_at(0) == (1.0, 2.0, 3.0, 4.0)
    assert smooth.rates_at(5)[1] == pytest.approx(0.2)
    stairs = Schedule(steps=10, rates=(1.0,) * 4, decay=0.01, stairs=(4, 8))
    assert [stairs.rates_at(s)[0] for s in (0, 3, 4, 7, 8, 9)] == pytest.approx(
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    )
