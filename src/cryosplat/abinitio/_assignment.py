"""Soft assignment of images to orientations and shifts: matrix products, and what follows of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import get_num_threads, njit, prange
from torch import Tensor

from ..arrays import Columns

CHUNK = 2**22  # log-likelihoods in memory at a time
NEGLIGIBLE = 2e-3  # of the best pose of an image: less is not summed
SHOWN = 0.5  # prior probability that an image shows the particle
F32 = np.float32


@dataclass(frozen=True, slots=True)
class Observed(Columns):
    """Images (n), each at s shifts, as matrices: ``moved`` (n, s, 2 m) the real, then the imaginary
    parts of their weighted values about each of their centres; ``precisions`` (n, m); ``prior`` (n, s)
    the logarithm of the probability of each shift.
    """

    moved: Tensor
    precisions: Tensor
    prior: Tensor

    def __len__(self) -> int:
        return len(self.moved)


def phases(centres: Tensor, points: Tensor) -> Tensor:
    """``exp(2 pi i k.c)`` (..., m) of centres (..., 2), in box sides, and frequencies (m, 2)."""
    turns = 2.0 * math.pi * (centres.float() @ points.float().T)
    return torch.polar(torch.ones_like(turns), turns)


def observed(
    values: Tensor, precisions: Tensor, points: Tensor, shifts: Tensor, prior: Tensor
) -> Observed:
    """Images ``values`` (n, m) complex with ``shifts`` (n, s, 2): their centres, in box sides.

    A particle at ``c`` is moved to the centre by the phase ``exp(2 pi i k.c)``.
    """
    moved = values[:, None] * phases(shifts, points)
    return Observed(torch.cat([moved.real, moved.imag], -1), precisions, prior.float())


def log_likelihoods(images: Observed, slices: Tensor) -> Tensor:
    """Of every shift and slice, (n, s, o), less that of no signal, with the shifts' prior.

    ``slices`` (o, 2 m). Both members of every Friedel pair count.
    """
    n, s, m2 = images.moved.shape
    m = m2 // 2
    power = slices[:, :m].square() + slices[:, m:].square()
    common = images.precisions @ power.T
    result = (images.moved.reshape(n * s, m2) @ (2.0 * slices).T).reshape(n, s, -1)
    result -= common[:, None]
    result += images.prior[:, :, None]
    return result


def effective(likelihoods: Tensor, temperature: float) -> float:
    """Mean number of effective orientations, ``1 / sum w^2``, of images at a temperature."""
    w = torch.softmax(likelihoods / temperature, -1)
    return float((1.0 / w.square().sum(-1)).mean())


def temperature_for(
    likelihoods: Tensor, poses: float, least: float, guess: float, steps: int = 12
) -> float:
    """The temperature, at least ``least``, that leaves images ``poses`` effective orientations.

    ``likelihoods`` (n, o): the best of each orientation's shifts. By bisection of its logarithm.
    """
    if effective(likelihoods, least) >= poses:
        return least
    low, high = least, max(2.0 * guess, 4.0 * least)
    while effective(likelihoods, high) < poses and high < 1e9:
        low, high = high, 4.0 * high
    for _ in range(steps):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if effective(likelihoods, middle) >= poses else (middle, high)
        if high < 1.03 * low:
            break
    return math.sqrt(low * high)


@njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def _posterior(likelihoods, temperature, negligible, evidence):
    """Turn log-likelihoods (n, s * o) into weights that add up to 1, at their place."""
    n, p = likelihoods.shape
    cutoff = temperature * math.log(negligible)
    for i in prange(n):
        row = likelihoods[i]
        best = row[0]
        for j in range(1, p):
            best = max(best, row[j])
        total, kept = F32(0.0), F32(0.0)
        for j in range(p):
            d = row[j] - best
            w = F32(0.0)
            if d > F32(2.0) * cutoff:
                w = math.exp(d / temperature)
                total += w
                if d < cutoff:
                    w = F32(0.0)
            kept += w
            row[j] = w
        for j in range(p):
            row[j] /= kept
        evidence[i] = best + temperature * math.log(total)


@njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def _gather(weights, moved, precisions, sums, blocks):
    """Add images to the sums (o, 3 m) of orientations, with their weights (n, s, o).

    Each task owns some orientations, and adds images in their order: sums do not depend on threads.
    """
    n, s, o = weights.shape
    m = precisions.shape[1]
    for block in prange(blocks):
        first, last = block * o // blocks, (block + 1) * o // blocks
        for i in range(n):
            for t in range(s):
                for j in range(first, last):
                    w = weights[i, t, j]
                    if w > F32(0.0):
                        for c in range(2 * m):
                            sums[j, c] += w * moved[i, t, c]
                        for c in range(m):
                            sums[j, 2 * m + c] += w * precisions[i, c]


@dataclass(frozen=True, slots=True)
class Assigned:
    """``sums`` (o, 3 m): of each orientation, the weighted values (real, imaginary) and precisions of
    all images; ``centres`` (n, s): the posterior of each image's shifts; ``evidence`` (n,): the
    logarithm of the likelihood's sum over all poses, at the temperature."""

    sums: Tensor
    centres: Tensor
    evidence: Tensor


def assign(images: Observed, slices: Tensor, temperature: float) -> Assigned:
    """Assign images to orientations and shifts by their posterior ``softmax(L / T)``.

    Images that show nothing, or what contradicts the slices, do not enter the sums.
    """
    n, s, m2 = images.moved.shape
    o = len(slices)
    device = slices.device
    sums = torch.zeros(o, m2 + m2 // 2, device=device)
    centres, evidence = torch.empty(n, s, device=device), torch.empty(n, device=device)
    size = max(1, CHUNK // (s * o))
    for rows in torch.arange(n).split(size):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        chunk = images.select(part)
        weights, evidence[part] = posterior(chunk, slices, temperature)
        centres[part] = weights.sum(-1)
        weights *= shown(evidence[part] / temperature - math.log(o))[:, None, None]
        gather(weights, chunk, sums)
    return Assigned(sums, centres, evidence)


def posterior(images: Observed, slices: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The weights (n, s, o) of shifts and slices, and the evidence (n,), as `Assigned` has it."""
    weights = log_likelihoods(images, slices)
    if weights.device.type != "cpu":
        return posterior_there(weights, temperature)
    evidence = torch.empty(len(images))
    flat = weights.reshape(len(images), -1).numpy()
    _posterior(flat, F32(temperature), NEGLIGIBLE, evidence.numpy())
    return weights, evidence


def posterior_there(likelihoods: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The weights and the evidence of `posterior` by PyTorch, of log-likelihoods (n, s, o)."""
    cutoff = temperature * math.log(NEGLIGIBLE)
    best = likelihoods.amax((1, 2), keepdim=True)
    away = likelihoods - best
    weights = torch.where(away > 2.0 * cutoff, (away / temperature).exp(), 0.0)
    evidence = best[:, 0, 0] + temperature * weights.sum((1, 2)).log()
    weights = torch.where(away < cutoff, 0.0, weights)
    return weights / weights.sum((1, 2), keepdim=True), evidence


def shown(evidence: Tensor) -> Tensor:
    """The probability that an image shows the particle, and not nothing or what contradicts it.

    ``evidence``: the logarithm of the mean likelihood over all poses, less that of no signal.
    """
    return torch.sigmoid(evidence + math.log(SHOWN / (1.0 - SHOWN)))


def explained(evidence: Tensor) -> Tensor:
    """The evidence of each image if it may show nothing too: of particle and nothing together."""
    particle = evidence + math.log(SHOWN)
    return torch.logaddexp(particle, torch.full_like(particle, math.log(1.0 - SHOWN)))


def gather(weights: Tensor, images: Observed, sums: Tensor) -> None:
    """Add images to ``sums`` (o, 3 m) of orientations, with their ``weights`` (n, s, o)."""
    if weights.device.type != "cpu":
        m2 = images.moved.shape[2]
        sums[:, :m2] += weights.flatten(0, 1).T @ images.moved.flatten(0, 1)
        sums[:, m2:] += weights.sum(1).T @ images.precisions
        return
    _gather(
        weights.numpy(), images.moved.numpy(), images.precisions.numpy(), sums.numpy(),
        max(1, min(len(sums), 4 * get_num_threads())),
    )  # fmt: skip
