"""Learning states: images weigh the statistics of each, which a few steps of Adam follow."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..splatting import voxelize
from ._expectation import Assumptions, expected, products_with
from ._grids import convolved, statistics_of
from .models import Model
from .observations import CPU, Observations


@dataclass(frozen=True, slots=True)
class Plan:
    """``iterations``, each on a batch of images and followed by ``steps`` of Adam.

    Batches grow from ``first`` images to ``batch``, by equal factors. Statistics of earlier
    iterations count ``forget`` of what they did. The temperature falls from ``hottest`` to 1 in the
    first ``cooling`` of the iterations; frequencies count up to ``radii``, first and last, in parts
    of half the box, reached with the temperature. Rates fall to ``decay``.
    """

    iterations: int = 36
    first: int = 500
    batch: int = 2000
    steps: int = 5
    forget: float = 0.7
    hottest: float = 8.0
    cooling: float = 0.5
    radii: tuple[float, float] = (0.6, 1.0)
    decay: float = 0.2
    learn_shares: bool = True

    def temperature(self, done: float) -> float:
        """At a part 0 to 1 of the way."""
        left = max(0.0, 1.0 - done / self.cooling) if self.cooling > 0.0 else 0.0
        return self.hottest**left

    def size(self, done: float) -> int:
        """How many images."""
        first = min(self.first, self.batch)
        return round(first * (self.batch / first) ** min(1.0, 1.5 * done))

    def radius(self, done: float, box: int) -> float:
        """Of the frequencies that count, in steps."""
        reached = min(1.0, done / self.cooling) if self.cooling > 0.0 else 1.0
        return 0.5 * box * (self.radii[0] + (self.radii[1] - self.radii[0]) * reached)


class Energies(torch.autograd.Function):
    """``sum_j 1/2 <V_j, K_j V_j> - <b_j, V_j>``."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, b: Tensor, transfer: Tensor) -> Tensor:
        v = volumes.detach()
        residual = convolved(v, transfer)
        value = 0.5 * torch.sum(v * residual, dtype=torch.float64) - torch.sum(
            b * v, dtype=torch.float64
        )
        ctx.save_for_backward(residual - b)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (residual,) = ctx.saved_tensors
        return residual * gradients[0].float(), None, None


def volumes_of(model: Model, seen: Observations) -> Tensor:
    """The maps of all states, (J, s, s, s)."""
    return torch.stack([voxelize(mixture, seen.grid) for mixture in model.mixtures()])


def learn(
    model: Model,
    given: Assumptions,
    seen: Observations,
    rows: NDArray[np.int64],
    plan: Plan,
    generator: torch.Generator,
    on_iteration: Callable[[int], None] = lambda n: None,
    only: Collection[str] | None = None,
) -> Assumptions:
    """Fit ``model`` to the images ``rows``, in place, on the device that they are ``seen`` on.

    Returns what was learned beside it.

    ``only``: the numbers that are learned; by default all.
    """
    kept, model = model, model.on(seen.device)
    learned = {n: v for n, v in model.values.items() if only is None or n in only}
    for value in learned.values():
        value.requires_grad_()
    groups = [{"params": [v], "lr": 0.0, "name": n} for n, v in learned.items()]
    adam = torch.optim.Adam(groups, lr=0.0, betas=(0.8, 0.99), fused=True)
    b = transfer = None
    counted = torch.zeros(model.n_states, dtype=torch.float64)
    empty = total = 0.0
    order = np.zeros(0, np.int64)
    for iteration in range(plan.iterations):
        done = iteration / plan.iterations
        size = plan.size(done)
        if len(order) < min(size, len(rows)):
            order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        chosen, order = order[:size], order[size:]
        with torch.no_grad():
            volumes = volumes_of(model, seen)
        radius = plan.radius(done, seen.box)
        found = expected(
            products_with(seen, chosen, volumes, radius), given, plan.temperature(done)
        )
        new_b, new_transfer = statistics_of(
            seen, chosen, found.weights * found.contrast, found.weights * found.contrast_squared
        )
        keep = plan.forget
        b = new_b if b is None else b.mul_(keep).add_(new_b)
        transfer = new_transfer if transfer is None else transfer.mul_(keep).add_(new_transfer)
        counted = keep * counted + found.weights.sum(0)
        total = keep * total + len(chosen)
        empty = keep * empty + float((1.0 - found.weights.sum(1)).sum())
        if plan.learn_shares and done >= 0.5 * plan.cooling:
            shares = (counted + 0.01 * total / len(counted)) / (1.01 * total - empty)
            absent = min(max(empty / total, 1e-3), 0.9)
            given = Assumptions(shares / shares.sum(), absent, given.spread)
        for step in range(plan.steps):
            part = (iteration + step / plan.steps) / plan.iterations
            for group in adam.param_groups:
                group["lr"] = model.rates[group["name"]] * plan.decay**part
            value = Energies.apply(volumes_of(model, seen), b, transfer) + model.prior()
            value.backward()
            adam.step()
            adam.zero_grad(set_to_none=True)
        on_iteration(1)
    for value in learned.values():
        value.requires_grad_(False)
    kept.values = {name: value.to(CPU) for name, value in model.values.items()}
    return given


def evidence(
    model: Model, given: Assumptions, seen: Observations, rows: NDArray[np.int64]
) -> Tensor:
    """Nats (n,) of each of the images ``rows`` over an image of noise alone."""
    with torch.no_grad():
        products = products_with(seen, rows, volumes_of(model, seen))
    return expected(products, given).evidence
