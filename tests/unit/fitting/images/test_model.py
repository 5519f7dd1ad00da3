"""The paper's parameters, splitting and Adam's memory."""

from __future__ import annotations

import pytest
import tolerances
import torch
from image_problems import some_blobs

from cryosplat.errors import InputError
from cryosplat.fitting.images._model import NAMES, Learner, Units, decoded, encoded, split

UNITS = Units(64.0, 1000.0, 0.0)
BETAS = (0.9, 0.999)


def test_parameters_give_their_mixture_back() -> None:
    mixture = some_blobs(9, 2)
    for units in (UNITS, Units(64.0, 1000.0, 0.01)):
        again = decoded(encoded(mixture, units, False), units)
        for name in NAMES:
            torch.testing.assert_close(
                getattr(again, name), getattr(mixture, name), **tolerances.PARAMETERS_FLOAT32
            )


def test_parameters_are_in_the_papers_units() -> None:
    mixture = some_blobs(4, 2)
    found = encoded(mixture, UNITS, False)
    torch.testing.assert_close(found["means"] * 64.0, mixture.means)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(softplus(found["scales"]) * 64.0, mixture.scales)
    torch.testing.assert_close(softplus(found["amplitudes"]) * 1000.0, mixture.amplitudes)


def test_no_scale_falls_below_the_floor() -> None:
    units = Units(64.0, 1000.0, 0.1)
    found = encoded(some_blobs(6, 2), units, False)
    found["scales"] -= 100.0
    assert float(decoded(found, units).scales.min()) >= 6.4


def test_isotropic_gaussians_have_one_scale() -> None:
    mixture = some_blobs(5, 2)
    found = encoded(mixture, UNITS, True)
    assert found["scales"].shape == (5, 1)
    again = decoded(found, UNITS)
    torch.testing.assert_close(again.scales, again.scales[:, :1].expand(-1, 3))
    torch.testing.assert_close(again.scales.prod(1), mixture.scales.prod(1))


def test_splitting_keeps_mass_mean_and_covariance() -> None:
    mixture = some_blobs(7, 4)
    halves = split(mixture)
    assert len(halves) == 14
    a, b = halves.select(torch.arange(7)), halves.select(torch.arange(7, 14))
    torch.testing.assert_close(a.amplitudes + b.amplitudes, mixture.amplitudes)
    torch.testing.assert_close(0.5 * (a.means + b.means), mixture.means)
    offsets = a.means - mixture.means
    covariances = a.covariances() + offsets[:, :, None] * offsets[:, None, :]
    torch.testing.assert_close(covariances, mixture.covariances(), rtol=1e-4, atol=1e-4)
    assert bool((a.scales.amax(1) < mixture.scales.amax(1)).all())


def test_a_learner_comes_back_from_its_tensors() -> None:
    one = Learner(encoded(some_blobs(5, 1), UNITS, False), BETAS)

    def step(learner: Learner) -> None:
        decoded(learner.parameters, UNITS).means.square().sum().backward()
        learner.step((1e-2, 1e-2, 1e-2, 1e-2))

    step(one)
    two = Learner.of(one.tensors(), BETAS)
    step(one)
    step(two)
    for name, value in one.tensors().items():
        assert torch.equal(value, two.tensors()[name]), name


def test_a_step_uses_one_rate_for_each_kind_of_parameter() -> None:
    learner = Learner(encoded(some_blobs(5, 1), UNITS, False), BETAS)
    before = learner.tensors()
    sum(p.sum() for p in learner.parameters.values()).backward()
    learner.step((1e-1, 1e-2, 1e-3, 0.0))
    moved = {name: float((learner.tensors()[name] - before[name]).abs().max()) for name in NAMES}
    for name, rate in zip(NAMES, (1e-1, 1e-2, 1e-3, 0.0), strict=True):
        assert moved[name] == pytest.approx(rate, rel=1e-3)


def test_tensors_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="checkpoint: it has no scales of the Gaussians"):
        Learner.of({"means": torch.zeros(2, 3)}, BETAS)
