"""Is it true? Images of the other half-set, agreement of both, and what else could explain it."""

from __future__ import annotations

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
TURN, SHIFT = 0.03, 0.3  # radian and pixels: a step aside
WIDTHS = (0.0, 0.3, 0.5, 0.8, 1.2, 1.8, 2.5)  # of the errors of poses, in steps


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

    One map, seen from a little aside: along each of three turns and two shifts the log-evidence of an
    image is taken as a parabola through its own pose and one on either side, and integrated over
    errors of a normal distribution, whose widths are those that explain the images best.
    """
    turned, shifted = [], []
    for own in (0, 1):
        rows = prepared.rows[1 - own]
        rows = rows[:: max(1, len(rows) * 2 // RIVALS)]
        one, seen = prepared.ones[own], prepared.seen.select(rows)
        with torch.no_grad():
            volumes = volumes_of(one.model, seen)
        found = [
            expected(products_with(view, np.arange(len(rows)), volumes), one.given).evidence
            for view in (seen, *_turned(seen, TURN), *_shifted(seen, SHIFT))
        ]
        turned.append(torch.stack(found[:7]))
        shifted.append(torch.stack([found[0], *found[7:]]))
    explained = sum(
        max((_explained(torch.cat(found, 1), wide) for wide in WIDTHS), key=lambda e: e.mean())
        for found in (turned, shifted)
    )
    return Gain.of(explained.numpy())  # pyright: ignore[reportAttributeAccessIssue]


def judged(
    gain: tuple[Gain, Gain], rival: Gain, agreement: float, least_agreement: float, what: str,
    turned: bool = False, more: str = "",
) -> Verdict:  # fmt: skip
    """Whether there are states, of the kind ``what``, and what speaks against them.

    ``turned``: what was found is a turn of everything; ``more``: is added to the advice.
    """
    least = min(g.mean for g in gain)
    cause = ""
    if least < LEAST or min(g.deviations for g in gain) < SURE:
        cause = f"images of the other half-set are not better explained by {what}"
    elif least < rival.mean or turned:
        cause = f"the poses are wrong: turning the whole molecule is as good an account as {what}"
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


def _explained(evidence: Tensor, width: float) -> Tensor:
    """Nats an image (n,) by errors of ``width`` steps; ``evidence`` (1 + 2 c, n): of the own pose, then
    a step down and up along each of c directions."""
    down, up = evidence[1::2] - evidence[0], evidence[2::2] - evidence[0]
    slope, sharpness = 0.5 * (up - down), (-(up + down)).clamp_min(0.0)
    rate = 1.0 + sharpness * width**2
    return (0.5 * slope.square() * width**2 / rate - 0.5 * rate.log()).sum(0)


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
