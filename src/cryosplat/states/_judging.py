"""Is it true? Images of the other half-set, agreement of both, and what else could explain it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..notes import Note
from ._expectation import Assumptions, expected, products_with
from ._learning import evidence, volumes_of
from ._preparation import Prepared
from .models import Model
from .observations import Observations
from .values import Gain, Verdict

SURE = 3.0  # standard errors
LEAST = 0.03  # nats an image
RIVALS = 800  # images that are looked at from a little aside
TURNS, SHIFTS = (0.01, 0.02, 0.04), (0.15, 0.3, 0.6)  # radian and pixels: errors of poses

Learned = tuple[Model, Assumptions]


def gains(
    prepared: Prepared, several: Sequence[Learned], ones: Sequence[Learned]
) -> tuple[Gain, Gain]:
    """Of the states of each half-set over its one map, on the images of the other."""
    found = []
    for own in (0, 1):
        rows = prepared.rows[1 - own]
        many, one = (evidence(*each, prepared.seen, rows) for each in (several[own], ones[own]))
        found.append(Gain.of((many - one).numpy()))
    return found[0], found[1]


def shown(prepared: Prepared, ones: Sequence[Learned]) -> Gain:
    """By how much images of the other half-set are better explained by one map than by noise alone."""
    return Gain.of(np.concatenate([
        evidence(*ones[own], prepared.seen, prepared.rows[1 - own]).numpy() for own in (0, 1)
    ]))  # fmt: skip


def rival_gain(prepared: Prepared, ones: Sequence[Learned]) -> Gain:
    """What wrong poses alone would explain, on images of the other half-set.

    One map of each half-set, ``ones``, seen from a little aside: along each of three turns and two
    shifts, an image has errors of a normal distribution, integrated at three points of which two are
    aside (Gauss and Hermite). Their widths are those that explain the images of the other half best.
    """
    explained: list[list[list[Tensor]]] = []
    for own in (0, 1):
        rows = prepared.rows[1 - own]
        rows = rows[:: max(1, len(rows) * 2 // RIVALS)]
        (model, given), seen = ones[own], prepared.seen.select(rows)
        with torch.no_grad():
            volumes = volumes_of(model, seen)
        kinds = [[_turned(seen, math.sqrt(3.0) * wide) for wide in TURNS],
                 [_shifted(seen, math.sqrt(3.0) * wide) for wide in SHIFTS]]  # fmt: skip
        straight = _evidence(seen, volumes, given)
        explained.append([
            [torch.zeros(len(rows), dtype=torch.float64)]
            + [
                _explained(straight, [_evidence(view, volumes, given) for view in views])
                for views in widths
            ]
            for widths in kinds
        ])  # fmt: skip
    total = torch.cat([
        sum((own[i] for own, i in zip(mine, map(_best, theirs), strict=True)), torch.zeros(()))
        for mine, theirs in (explained, explained[::-1])
    ])  # fmt: skip
    return Gain.of(total.numpy())


def _best(explained: list[Tensor]) -> int:
    """Which of several widths explains images best."""
    return max(range(len(explained)), key=lambda i: float(explained[i].mean()))


def _evidence(seen: Observations, volumes: Tensor, given: Assumptions) -> Tensor:
    return expected(products_with(seen, np.arange(len(seen)), volumes), given).evidence


def _explained(straight: Tensor, aside: list[Tensor]) -> Tensor:
    """Nats an image (n,) by errors of poses; ``aside``: evidence a step down and up along each
    direction, in turn."""
    found = torch.zeros_like(straight)
    for down, up in zip(aside[::2], aside[1::2], strict=True):
        ways = torch.stack([straight + math.log(4.0), down, up]) - math.log(6.0)
        found += torch.logsumexp(ways, 0) - straight
    return found


def clear(gain: Sequence[Gain]) -> bool:
    """Whether all gains are more than chance, and more than nothing to speak of."""
    return min(g.mean for g in gain) >= LEAST and min(g.deviations for g in gain) >= SURE


def judged(
    gain: tuple[Gain, Gain], rival: Gain, agreement: float, least_agreement: float, what: str,
    image: Gain, turned: bool = False, more: str = "",
) -> Verdict:  # fmt: skip
    """Whether there are states, of the kind ``what``, and what speaks against them.

    ``image``: gain of one map over noise alone, without which nothing can be said of poses.
    ``turned``: what was found is a turn of everything; ``more``: is added to the advice.
    """
    least = min(g.mean for g in gain)
    cause = ""
    if not clear([image]):
        cause = "one map of the other half-set does not explain the images better than noise does"
    elif (turned or least < rival.mean) if clear(gain) else clear([rival]):
        cause = f"the poses are wrong: turning the whole molecule is as good an account as {what}"
    elif not clear(gain):
        cause = f"images of the other half-set are not better explained by {what}"
    elif agreement < least_agreement:
        cause = f"the half-sets do not find the same {what.removeprefix('several ')}"
    if not cause:
        return Verdict(True, gain, agreement, rival)
    note = Note(
        "states-not-found", "warning",
        f"No states found: {cause} (gain {gain[0]} and {gain[1]} nats per image, poses {rival}, "
        f"agreement of the half-sets {agreement:.2f}).",
        "Use the map of all particles; if you expect states, use more particles or better poses."
        + more,
    )  # fmt: skip
    return Verdict(False, gain, agreement, rival, cause, (note,))


def _turned(seen: Observations, angle: float) -> list[Observations]:
    """The images with their poses turned about each axis, both ways."""
    size = np.linalg.norm(seen.steps, axis=2, keepdims=True)
    rows = seen.steps / size
    frame = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    turns = Rotation.from_rotvec(np.kron(np.eye(3), [[-angle], [angle]])).as_matrix()
    return [seen.at((turn @ frame)[:, :2] * size) for turn in turns]


def _shifted(seen: Observations, pixels: float) -> list[Observations]:
    """The images moved along each axis, both ways."""
    return [seen.shifted(axis, by) for axis in range(2) for by in (-pixels, pixels)]


def matching(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which class of ``second`` (n, J) each of ``first`` (n, J) is, by what they say of each image."""
    overlap = first.T @ second
    weights = np.sqrt(np.maximum(first.sum(0)[:, None] * second.sum(0), 1e-12))
    return linear_sum_assignment(-overlap / weights)[1]


def class_agreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Cohen's kappa of the most probable classes by two models, in the same order."""
    a, b = first.argmax(1), second.argmax(1)
    n = first.shape[1]
    table = np.zeros((n, n))
    np.add.at(table, (a, b), 1.0)
    table /= table.sum()
    chance = float(table.sum(1) @ table.sum(0))
    return float((np.trace(table) - chance) / max(1e-9, 1.0 - chance))
