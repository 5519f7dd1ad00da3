"""How many classes: two at a time become one, and images that were not used say when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..fitting import inverse_softplus
from ._expectation import Assumptions, Products, expected, products_with
from ._learning import Plan, learn, volumes_of
from .models import Classes
from .observations import Observations

RELEARN = Plan(iterations=8, batch=1500, hottest=1.0, cooling=0.0, decay=0.5, steps=4)
JUDGED = 1500  # images that say which two classes are most alike
EMPTY = 0.01  # share of the images below which a class goes first


@dataclass(frozen=True, slots=True)
class Stage:
    """Classes, and what was learned beside them."""

    model: Classes
    given: Assumptions

    @property
    def n(self) -> int:
        """How many classes."""
        return self.model.n_states


def merged_down(
    begun: Stage, seen: Observations, rows: NDArray[np.int64], generator: torch.Generator
) -> list[Stage]:
    """``begun``, and what is left of it with one class fewer each, down to one."""
    stages = [begun]
    while stages[-1].n > 1:
        now = stages[-1]
        first, second = most_alike(now, seen, rows[:: max(1, len(rows) // JUDGED)])
        model, given = joined(now, first, second)
        given = learn(model, given, seen, rows, RELEARN, generator)
        stages.append(Stage(model, given))
    return stages


def most_alike(now: Stage, seen: Observations, rows: NDArray[np.int64]) -> tuple[int, int]:
    """The two classes whose mean, in the place of both, explains the images best.

    A class that hardly any image shows is joined to the one most like it.
    """
    with torch.no_grad():
        found = products_with(seen, rows, volumes_of(now.model, seen), pairs=True)
    shares = now.given.shares
    smallest = int(shares.argmin())
    pairs = list(combinations(range(now.n), 2))
    if float(shares[smallest]) < EMPTY:
        pairs = [pair for pair in pairs if smallest in pair]
    return max(pairs, key=lambda pair: _evidence_of(found, now.given, pair))


def _evidence_of(found: Products, given: Assumptions, pair: tuple[int, int]) -> float:
    """Of the images, with one class in the place of two: slices are linear in the maps."""
    mixing, shares = _mixing(given.shares, pair)
    linear = found.linear @ mixing
    power = torch.einsum("njl,jm,lm->nm", found.power, mixing, mixing)
    given = Assumptions(shares, given.absent, given.spread)
    return float(expected(Products(linear, power), given).evidence.mean())


def _mixing(shares: Tensor, pair: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What the new classes are made of (J, J - 1), and their shares; the new one comes first."""
    first, second = pair
    both = (shares[first] + shares[second]).clamp_min(1e-12)
    mixing = torch.eye(len(shares), dtype=torch.float64)
    mixing[first, first], mixing[second, first] = shares[first] / both, shares[second] / both
    kept = [j for j in range(len(shares)) if j != second]
    new = shares.clone()
    new[first] = both
    return mixing[:, kept], new[kept]


def joined(now: Stage, first: int, second: int) -> tuple[Classes, Assumptions]:
    """Classes with one in the place of two: its amplitudes are their mean by shares."""
    mixing, shares = _mixing(now.given.shares, (first, second))
    values = now.model.values
    amplitudes = functional.softplus(values["amplitudes"][:, None] + values["differences"])
    mean = (amplitudes.double() @ mixing).float().clamp_min(1e-6)
    differences = inverse_softplus(mean) - values["amplitudes"][:, None]
    model = Classes(values, now.model.encoding, differences)
    return model, Assumptions(shares, now.given.absent, now.given.spread)
