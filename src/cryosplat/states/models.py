"""Mixtures of J states that share their Gaussians: one state, and classes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from ..fitting import Encoding
from ..mixture import TENSORS, GaussianMixture

SCALE_SPREAD = 0.2  # of the logarithms of all scales about their mean, as in every fit
SMOOTH = 0.7  # of the molecule's radius: over what the first random differences change


class Model(ABC):
    """Learnable numbers of J states, by name, and the mixtures that they stand for."""

    rates: Mapping[str, float]
    """Adam's step sizes by name; lengths are in pixels."""
    values: dict[str, Tensor]
    """The numbers, by name."""

    def __init__(self, shared: Mapping[str, Tensor], encoding: Encoding) -> None:
        self.encoding = encoding
        self.values = {name: shared[name].detach().clone() for name in TENSORS}

    @property
    @abstractmethod
    def n_states(self) -> int:
        """J."""

    @abstractmethod
    def mixtures(self) -> list[GaussianMixture]:
        """The J mixtures, differentiable by the numbers."""

    def copy(self) -> Self:
        """The same, to be learned on."""
        other = copy(self)
        other.values = {name: value.clone() for name, value in self.values.items()}
        return other

    def on(self, device: torch.device) -> Self:
        """The same on another device; itself where it is there."""
        if all(value.device == device for value in self.values.values()):
            return self
        other = copy(self)
        other.values = {name: value.to(device) for name, value in self.values.items()}
        return other

    def shared(self) -> GaussianMixture:
        """The mixture before any difference between states."""
        return self.encoding.decode(self.values)

    def prior(self) -> Tensor:
        """What is added to the energy: holds the scales together."""
        logarithms = torch.log(self.shared().scales)
        return 0.5 * ((logarithms - logarithms.mean()) / SCALE_SPREAD).square().sum()


BASE_RATES = {"means": 0.1, "scales": 0.05, "quaternions": 0.05, "amplitudes": 0.1}


class Single(Model):
    """One state: what is to be beaten."""

    rates = BASE_RATES

    @property
    def n_states(self) -> int:
        """One."""
        return 1

    def mixtures(self) -> list[GaussianMixture]:
        """The mixture."""
        return [self.shared()]


class Classes(Model):
    """Means and shapes are shared; Gaussian g has the amplitude ``softplus(a_g + d_gj)`` in class j."""

    rates = BASE_RATES | {"differences": 0.2}

    def __init__(
        self, shared: Mapping[str, Tensor], encoding: Encoding, differences: Tensor
    ) -> None:
        super().__init__(shared, encoding)
        self.values["differences"] = differences.detach().clone()

    @staticmethod
    def begun(
        shared: Mapping[str, Tensor], encoding: Encoding, n: int, generator: torch.Generator,
        size: float = 0.7,
    ) -> Classes:  # fmt: skip
        """``n`` classes that differ smoothly and at random."""
        fields = smooth_fields(shared["means"], n, generator)
        return Classes(shared, encoding, size * (fields - fields.mean(1, keepdim=True)))

    @property
    def n_states(self) -> int:
        """How many classes."""
        return self.values["differences"].shape[1]

    def mixtures(self) -> list[GaussianMixture]:
        """One mixture of each class."""
        base = self.shared()
        raw = self.values["amplitudes"][:, None] + self.values["differences"]
        amplitudes = functional.softplus(raw) * self.encoding.mass
        return [GaussianMixture(base.means, base.scales, base.quaternions, a) for a in amplitudes.T]

    def prior(self) -> Tensor:
        """Differences cost a little: none is kept that the images do not ask for."""
        return super().prior() + 0.5 * (self.values["differences"] / 3.0).square().sum()


def smooth_fields(means: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """``n`` random functions of position at ``means`` (k, 3), of deviation about 1, (k, n)."""
    radius = float((means - means.mean(0)).square().sum(1).mean().sqrt())
    waves = torch.randn(64, 3, n, generator=generator) / (SMOOTH * radius)
    phases = 2.0 * math.pi * torch.rand(64, n, generator=generator)
    angles = torch.einsum("kc,wcn->kwn", means - means.mean(0), waves) + phases
    return math.sqrt(2.0 / 64) * torch.cos(angles).sum(1)
