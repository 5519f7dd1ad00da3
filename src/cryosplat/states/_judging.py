"""Is it true? Images of the other half-set, agreement of both, and what else could explain it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ._expectation import Assumptions, expected, products_with
from ._learning import evidence, volumes_of
from ._preparation import Prepared
from .models import Model
from .observations import Observations
from .values import Gain

SURE = 3.0  # standard errors
LEAST = 0.03  # nats an image
RIVALS = 800  # images that are looked at from a little aside
TURNS = (0.02, 0.05)  # radian
SHIFTS = (0.25, 0.5)  # pixels


def gains(
    prepared: Prepared, models: tuple[Model, Model], given: tuple[Assumptions, Assumptions]
) -> tuple[Gain, Gain]:
    """Of the states of each half-set over its one map, on the images of the other."""
    found = []
    for own in (0, 1):
        rows = prepared.rows[1 - own]
        one = prepared.ones[own]
        several = evidence(models[own], given[own], prepared.seen, rows)
        single = evidence(one.model, one.given, prepared.seen, rows)
        found.append(Gain.of((several - single).numpy()))
    return found[0], found[1]


def rival_gain(prepared: Prepared) -> Gain:
    """What wrong poses alone would explain, on images of the other half-set.

    One map, seen from a little aside: each image may choose among its own pose and ten others, turned
    about three axes and shifted along two; the size that explains most counts.
    """
    best: Gain | None = None
    for turn, shift in [(t, 0.0) for t in TURNS] + [(0.0, s) for s in SHIFTS]:
        differences = []
        for own in (0, 1):
            rows = prepared.rows[1 - own]
            rows = rows[:: max(1, len(rows) * 2 // RIVALS)]
            differences.append(_aside(prepared, own, rows, turn, shift))
        gain = Gain.of(np.concatenate(differences))
        if best is None or gain.mean > best.mean:
            best = gain
    assert best is not None
    return best


def _aside(
    prepared: Prepared, own: int, rows: NDArray[np.int64], turn: float, shift: float
) -> NDArray[np.float64]:
    one, seen = prepared.ones[own], prepared.seen.select(rows)
    everyone = np.arange(len(seen))
    with torch.no_grad():
        volumes = volumes_of(one.model, seen)
    single = expected(products_with(seen, everyone, volumes), one.given).evidence
    found = [single]
    for view in _moved(seen, turn, shift):
        found.append(expected(products_with(view, everyone, volumes), one.given).evidence)
    several = torch.logsumexp(torch.stack(found), 0) - math.log(len(found))
    return (several - single).numpy()


def _moved(seen: Observations, turn: float, shift: float) -> list[Observations]:
    """The images with their poses turned about each axis, or shifted along each, both ways."""
    views = []
    if turn > 0.0:
        size = np.linalg.norm(seen.steps, axis=2, keepdims=True)
        rows = seen.steps / size
        frame = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        for axis in range(3):
            for sign in (-turn, turn):
                c, s = math.cos(sign), math.sin(sign)
                matrix = np.eye(3, dtype=np.float32)
                i, j = (axis + 1) % 3, (axis + 2) % 3
                matrix[i, i] = matrix[j, j] = c
                matrix[i, j], matrix[j, i] = -s, s
                views.append(seen.at((matrix @ frame)[:, :2] * size))
    else:
        for axis in range(2):
            for sign in (-shift, shift):
                views.append(seen.shifted(axis, sign))
    return views


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
