"""Mixtures of J states that share their Gaussians: classes and motion."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.cluster.vq
import torch
from torch import Tensor
from torch.nn import functional

from ..fitting import Encoding
from ..mixture import (
    TENSORS,
    GaussianMixture,
    quaternion_products,
    quaternions_to_matrices,
)

SCALE_SPREAD = 0.2  # of the logarithms of all scales about their mean, as in every fit
SMOOTH = 0.7  # of the molecule's radius: over what the first random differences change
FAR = 1.0  # anchors' mean distances: how far the influence of an anchor reaches


class Model(ABC):
    """Learnable numbers of J states, by name, and the mixtures that they stand for."""

    rates: Mapping[str, float]
    """Adam's step sizes by name; lengths are in pixels."""

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


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Where a molecule may bend: ``anchors`` (A, 3) in pixels, and each Gaussian's ``blend`` (k, A)."""

    anchors: Tensor
    blend: Tensor

    @staticmethod
    def of(means: Tensor, amplitudes: Tensor, n: int, seed: int) -> Skeleton:
        """``n`` anchors by k-means of the mass; ``means`` (k, 3) in pixels."""
        draw = torch.Generator().manual_seed(seed)
        points = means[torch.multinomial(amplitudes.clamp_min(1e-12), 4000, True, generator=draw)]
        found, _ = scipy.cluster.vq.kmeans2(
            points.numpy().astype(float), n, minit="++", seed=np.random.default_rng(seed)
        )
        anchors = torch.from_numpy(found).float()
        return Skeleton(anchors, Skeleton.blended(means, anchors))

    @staticmethod
    def blended(means: Tensor, anchors: Tensor) -> Tensor:
        """How much each anchor moves each Gaussian, (k, A), rows adding up to 1."""
        near = torch.cdist(anchors, anchors)
        spacing = near.masked_fill(torch.eye(len(anchors), dtype=torch.bool), math.inf)
        width = FAR * float(spacing.min(1).values.mean()) if len(anchors) > 1 else 1.0
        return torch.softmax(-0.5 * (torch.cdist(means, anchors) / (0.5 * width)).square(), 1)


class Motion(Model):
    """Gaussians move along a coordinate z by linear-blend skinning.

    ``mu_g(z) = sum_a w_ga (R(omega_a(z)) (mu_g - c_a) + c_a + t_a(z))``; omega and t are sums of the
    functions ``basis`` (J, P) of z at the J nodes with the numbers ``turns`` and ``moves`` (P, A, 3).
    """

    rates = BASE_RATES | {"turns": 0.02, "moves": 0.15}

    def __init__(
        self, shared: Mapping[str, Tensor], encoding: Encoding, skeleton: Skeleton, basis: Tensor,
        turns: Tensor, moves: Tensor,
    ) -> None:  # fmt: skip
        super().__init__(shared, encoding)
        self.skeleton, self.basis = skeleton, basis
        self.values |= {"turns": turns.detach().clone(), "moves": moves.detach().clone()}

    @staticmethod
    def begun(
        shared: Mapping[str, Tensor], encoding: Encoding, basis: Tensor, n_anchors: int,
        generator: torch.Generator, linear: int = 1, size: float = 1.0,
    ) -> Motion:  # fmt: skip
        """A smooth random shift of ``size`` pixels along each of the ``linear`` first functions."""
        amplitudes = encoding.decode(shared).amplitudes
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        skeleton = Skeleton.of(shared["means"], amplitudes, n_anchors, seed)
        shape = (basis.shape[1], n_anchors, 3)
        moves = torch.zeros(shape)
        for p in range(linear):
            moves[p] = size * smooth_fields(skeleton.anchors, 3, generator)
        return Motion(shared, encoding, skeleton, basis, torch.zeros(shape), moves)

    @property
    def n_states(self) -> int:
        """How many nodes."""
        return len(self.basis)

    @property
    def n_anchors(self) -> int:
        """A."""
        return len(self.skeleton.anchors)

    def mixtures(self) -> list[GaussianMixture]:
        """One mixture of each node."""
        return self.at(self.basis)

    def at(self, basis: Tensor) -> list[GaussianMixture]:
        """The mixtures where the functions of the coordinates are ``basis`` (m, P)."""
        return self.moved(
            self.shared(), self.encoding.length, self.skeleton.anchors, self.skeleton.blend,
            self.values["turns"], self.values["moves"], basis,
        )  # fmt: skip

    @staticmethod
    def moved(
        shared: GaussianMixture, length: float, anchors: Tensor, blend: Tensor, turns: Tensor,
        moves: Tensor, basis: Tensor,
    ) -> list[GaussianMixture]:  # fmt: skip
        """A mixture moved by anchors; ``length``: of the pixel that anchors and moves are in."""
        turned_by = torch.einsum("jp,pac->jac", basis, turns)
        moved_by = torch.einsum("jp,pac->jac", basis, moves)
        rotations = quaternions_to_matrices(turned(turned_by.reshape(-1, 3)))
        arms = shared.means[:, None] / length - anchors
        placed = torch.einsum(
            "ka,jaxy,kay->jkx", blend, rotations.reshape(*turned_by.shape, 3), arms
        )
        placed = placed + blend @ (anchors + moved_by)
        own = quaternion_products(turned(blend @ turned_by), shared.quaternions)
        return [
            GaussianMixture(at * length, shared.scales, q, shared.amplitudes)
            for at, q in zip(placed, own, strict=True)
        ]

    def prior(self) -> Tensor:
        """Motion costs a little."""
        held = self.values["turns"].square().sum() / 0.5**2
        held = held + self.values["moves"].square().sum() / 5.0**2
        return super().prior() + 0.5 * held


def turned(vectors: Tensor) -> Tensor:
    """Unit quaternions (..., 4) of rotation vectors (..., 3), differentiable at zero."""
    squared = vectors.square().sum(-1, keepdim=True)
    angle = (squared + 1e-12).sqrt()
    return torch.cat(
        [torch.cos(0.5 * angle), 0.5 * vectors * torch.sinc(0.5 * angle / math.pi)], -1
    )


def smooth_fields(means: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """``n`` random functions of position at ``means`` (k, 3), of deviation about 1, (k, n)."""
    radius = float((means - means.mean(0)).square().sum(1).mean().sqrt())
    waves = torch.randn(64, 3, n, generator=generator) / (SMOOTH * radius)
    phases = 2.0 * math.pi * torch.rand(64, n, generator=generator)
    angles = torch.einsum("kc,wcn->kwn", means - means.mean(0), waves) + phases
    return math.sqrt(2.0 / 64) * torch.cos(angles).sum(1)
