"""Mixtures of J states that move: along coordinates, where parts may come and go, and in classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.cluster.vq
import torch
from torch import Tensor
from torch.nn import functional

from ..fitting import Encoding
from ..mixture import GaussianMixture, quaternion_products, quaternions_to_matrices
from .models import BASE_RATES, Classes, Model, smooth_fields

ANCHORS = 12
FAR = 1.0  # anchors' mean distances: how far the influence of an anchor reaches


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

    def on(self, device: torch.device) -> Skeleton:
        """The same on another device."""
        return Skeleton(self.anchors.to(device), self.blend.to(device))


RATES = {"turns": 0.02, "moves": 0.15, "fades": 0.2}


class Motion(Model):
    """Gaussians move along a coordinate z by linear-blend skinning, and may come and go.

    ``mu_g(z) = sum_a w_ga (R(omega_a(z)) (mu_g - c_a) + c_a + t_a(z))``; omega and t are sums of the
    functions ``basis`` (J, P) of z at the J nodes with the numbers ``turns`` and ``moves`` (P, A, 3).
    With the numbers ``fades`` (P, A), amplitudes are multiplied by ``softplus(f_g(z)) / softplus(0)``,
    where ``f_g = sum_a w_ga f_a(z)`` and f_a are sums of the same functions.
    """

    rates: Mapping[str, float] = {**BASE_RATES, **RATES}

    def __init__(
        self, shared: Mapping[str, Tensor], encoding: Encoding, skeleton: Skeleton, basis: Tensor,
        turns: Tensor, moves: Tensor, fades: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(shared, encoding)
        self.skeleton, self.basis = skeleton, basis
        self.values |= {"turns": turns.detach().clone(), "moves": moves.detach().clone()}
        if fades is not None:
            self.values["fades"] = fades.detach().clone()

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

    def on(self, device: torch.device) -> Self:
        """The same on another device; itself where it is there."""
        other = super().on(device)
        if other is not self:
            other.skeleton, other.basis = self.skeleton.on(device), self.basis.to(device)
        return other

    @property
    def n_states(self) -> int:
        """How many nodes."""
        return len(self.basis)

    @property
    def n_anchors(self) -> int:
        """A."""
        return len(self.skeleton.anchors)

    def fading(self) -> Motion:
        """The same, with amplitudes that can be learned to follow the coordinate."""
        other = self.copy()
        other.values["fades"] = torch.zeros(self.values["turns"].shape[:2])
        return other

    def mixtures(self) -> list[GaussianMixture]:
        """One mixture of each node."""
        return self.at(self.basis)

    def at(self, basis: Tensor) -> list[GaussianMixture]:
        """The mixtures where the functions of the coordinates are ``basis`` (m, P)."""
        return self.moved(
            self.shared(), self.encoding.length, self.skeleton.anchors, self.skeleton.blend,
            self.values["turns"], self.values["moves"], basis, self.values.get("fades"),
        )  # fmt: skip

    @staticmethod
    def moved(
        shared: GaussianMixture, length: float, anchors: Tensor, blend: Tensor, turns: Tensor,
        moves: Tensor, basis: Tensor, fades: Tensor | None = None,
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
        amplitudes = shared.amplitudes.expand(len(basis), -1)
        if fades is not None:
            amplitudes = amplitudes * functional.softplus(basis @ fades @ blend.T) / math.log(2.0)
        return [
            GaussianMixture(at * length, shared.scales, q, a)
            for at, q, a in zip(placed, own, amplitudes, strict=True)
        ]

    def prior(self) -> Tensor:
        """Motion costs a little."""
        return super().prior() + _held(self.values)


class Displaced(Classes):
    """Classes in each of which parts lie elsewhere: anchors have ``turns`` and ``moves`` (J, A, 3)."""

    rates: Mapping[str, float] = {**Classes.rates, **RATES}

    def __init__(
        self, shared: Mapping[str, Tensor], encoding: Encoding, differences: Tensor,
        skeleton: Skeleton, turns: Tensor, moves: Tensor,
    ) -> None:  # fmt: skip
        super().__init__(shared, encoding, differences)
        self.skeleton = skeleton
        self.values |= {"turns": turns.detach().clone(), "moves": moves.detach().clone()}

    @staticmethod
    def of(classes: Classes) -> Displaced:
        """``classes``, which can be learned to lie elsewhere."""
        values = classes.values
        amplitudes = classes.encoding.decode(values).amplitudes
        skeleton = Skeleton.of(values["means"], amplitudes, ANCHORS, 0)
        still = torch.zeros(classes.n_states, ANCHORS, 3)
        return Displaced(
            values, classes.encoding, values["differences"], skeleton, still, still
        )  # fmt: skip

    def on(self, device: torch.device) -> Self:
        """The same on another device; itself where it is there."""
        other = super().on(device)
        if other is not self:
            other.skeleton = self.skeleton.on(device)
        return other

    def mixtures(self) -> list[GaussianMixture]:
        """One mixture of each class."""
        turns, moves = self.values["turns"], self.values["moves"]
        placed = Motion.moved(
            self.shared(), self.encoding.length, self.skeleton.anchors, self.skeleton.blend,
            turns, moves, torch.eye(self.n_states, device=turns.device),
        )  # fmt: skip
        return [
            GaussianMixture(there.means, there.scales, there.quaternions, own.amplitudes)
            for there, own in zip(placed, super().mixtures(), strict=True)
        ]

    def prior(self) -> Tensor:
        """Displacements cost a little."""
        return super().prior() + _held(self.values)


def _held(values: Mapping[str, Tensor]) -> Tensor:
    """What anchors that turn, move and fade cost."""
    held = values["turns"].square().sum() / 0.5**2 + values["moves"].square().sum() / 5.0**2
    if "fades" in values:
        held = held + values["fades"].square().sum() / 3.0**2
    return 0.5 * held


def turned(vectors: Tensor) -> Tensor:
    """Unit quaternions (..., 4) of rotation vectors (..., 3), differentiable at zero."""
    squared = vectors.square().sum(-1, keepdim=True)
    angle = (squared + 1e-12).sqrt()
    return torch.cat(
        [torch.cos(0.5 * angle), 0.5 * vectors * torch.sinc(0.5 * angle / math.pi)], -1
    )
