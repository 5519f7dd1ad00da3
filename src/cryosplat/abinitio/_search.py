"""The search for poses of single images: over all orientations, or about the best few."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit, prange
from scipy.spatial.transform import Rotation
from torch import Tensor

from ._assignment import CHUNK, log_likelihoods, observed
from ._images import SmallImages
from ._slices import slices_at, transform_of, value_at

KEPT = 8  # orientations of each image
CHUNKED = 10_000  # images at a time
CROSS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
"""Where centres are looked for, in steps about the present ones."""
F32 = np.float32


@dataclass(frozen=True, slots=True)
class Candidates:
    """The likeliest poses of n images: ``rotations`` (n, 8, 3, 3) float32, likeliest first, their
    ``weights`` (n, 8), which add up to 1, and one centre each, ``centres`` (n, 2) in box sides.

    ``evidence`` (n,): the logarithm of the mean likelihood over all poses that were looked at, less
    that of no signal.
    """

    rotations: Tensor
    weights: Tensor
    centres: Tensor
    evidence: Tensor

    def __len__(self) -> int:
        return len(self.weights)

    def select(self, rows: Tensor) -> Candidates:
        """Those of the images ``rows``."""
        parts = (self.rotations, self.weights, self.centres, self.evidence)
        return Candidates(*(part[rows] for part in parts))

    def best(self) -> Candidates:
        """The likeliest alone."""
        return replace(self, rotations=self.rotations[:, :1], weights=self.weights[:, :1])

    def put(self, rows: Tensor, found: Candidates) -> Candidates:
        """The same with those of the images ``rows`` replaced."""
        names = ("rotations", "weights", "centres", "evidence")
        return replace(
            self, **{k: getattr(self, k).index_copy(0, rows, getattr(found, k)) for k in names}
        )


@dataclass(frozen=True, slots=True)
class Template:
    """The padded ``transform`` of a map, to be compared below the frequency ``limit``.

    ``deviation``: of the normal prior of each coordinate of a centre, in box sides.
    """

    transform: Tensor
    padding: int
    limit: float
    deviation: float

    @staticmethod
    def of(volume: Tensor, padding: int, limit: float, deviation: float) -> Template:
        """Of a map (d, d, d)."""
        return Template(transform_of(volume, padding), padding, limit, deviation)

    def prior(self, shifts: Tensor) -> Tensor:
        """The logarithm of the prior of ``shifts`` (..., s, 2), which adds up to 1 over s."""
        return torch.log_softmax(-0.5 * shifts.square().sum(-1) / self.deviation**2, -1)


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Poses of n images in k places that lie apart, the likeliest first: ``rotations`` (n, k, 3, 3),
    ``centres`` (n, k, 2) in box sides, ``weights`` (n, k), which add up to 1, and ``evidence`` (n,),
    as of `Candidates`.
    """

    rotations: Tensor
    centres: Tensor
    weights: Tensor
    evidence: Tensor

    @staticmethod
    def of(places: list[Candidates]) -> Hypotheses:
        """Of the likeliest pose in each of the ``places``."""
        scores = torch.stack([place.evidence for place in places], 1)
        order = scores.argsort(1, descending=True)
        rows = torch.arange(len(order))[:, None]
        rotations = torch.stack([place.rotations[:, 0] for place in places], 1)[rows, order]
        centres = torch.stack([place.centres for place in places], 1)[rows, order]
        evidence = scores.logsumexp(1) - math.log(len(places))
        return Hypotheses(rotations, centres, scores.softmax(1)[rows, order], evidence)

    def select(self, rows: Tensor) -> Hypotheses:
        """Those of the images ``rows``."""
        parts = (self.rotations, self.centres, self.weights, self.evidence)
        return Hypotheses(*(part[rows] for part in parts))

    @staticmethod
    def concatenate(parts: list[Hypotheses]) -> Hypotheses:
        """Those of the images of all ``parts`` in turn."""
        names = ("rotations", "centres", "weights", "evidence")
        return Hypotheses(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def apart(found: Candidates, angle: float, count: int) -> list[Candidates]:
    """``count`` times one of the poses of each image, the likeliest ``angle`` (radian) off the others.

    Where there are no more, one is taken again.
    """
    n, k = found.weights.shape
    free, places, rows = torch.ones(n, k, dtype=torch.bool), [], torch.arange(n)
    for _ in range(count):
        best = torch.where(free, found.weights, found.weights - 2.0).argmax(1)
        chosen = found.rotations[rows, best]
        traces = torch.einsum("nij,nkij->nk", chosen, found.rotations)
        free &= traces < 1.0 + 2.0 * math.cos(angle)
        places.append(
            replace(found, rotations=chosen[:, None], weights=torch.ones(n, 1))
        )  # fmt: skip
    return places


def searched_everywhere(
    images: SmallImages, template: Template, rotations: Tensor, centres: Tensor, step: float,
    kept: int = KEPT,
) -> Candidates:  # fmt: skip
    """The likeliest of ``rotations`` (o, 3, 3) for each image, centres sought about ``centres``."""
    m = images.columns(template.limit)
    points = images.points[:m]
    slices = slices_at(template.transform, rotations, points, template.padding)
    turned = rotations.float()
    n, o = len(images), len(rotations)
    found = []
    for rows in torch.arange(n).split(max(1, CHUNK // (len(CROSS) * o))):
        shifts = centres[rows, None] + step * CROSS
        seen = observed(
            images.values[rows, :m], images.precisions[rows, :m], points, shifts,
            template.prior(shifts),
        )  # fmt: skip
        score = log_likelihoods(seen, slices)
        best = score.amax((1, 2), keepdim=True)
        weights = (score - best).exp_()
        total = weights.sum((1, 2))
        evidence = best[:, 0, 0] + total.log() - math.log(o)
        centre = (weights.sum(2)[:, :, None] * shifts).sum(1) / total[:, None]
        shares, which = weights.sum(1).topk(min(kept, o), 1)
        found.append(
            Candidates(turned[which], shares / shares.sum(1, keepdim=True), centre, evidence)
        )
    return _joined(found)


def searched_near(
    images: SmallImages, template: Template, known: Candidates, angle: float, step: float,
    generator: torch.Generator,
) -> Candidates:  # fmt: skip
    """The likeliest orientations about those ``known``, ``angle`` (radian) apart.

    About each of them, and at it, six are tried, turned about three axes that are drawn at random.
    """
    if len(images) > CHUNKED:
        parts = torch.arange(len(images)).split(CHUNKED)
        return _joined([
            searched_near(images.select(p), template, known.select(p), angle, step, generator)
            for p in parts
        ])  # fmt: skip
    m = images.columns(template.limit)
    points = images.points[:m].float()
    tried = _around(known.rotations, angle, generator)
    n, c = tried.shape[:2]
    shifts = known.centres[:, None] + step * CROSS
    score = torch.empty(n, len(CROSS), c)
    _compare(
        template.transform.numpy(), tried[:, :, :2].contiguous().numpy(), points.numpy(),
        images.values.numpy(), images.precisions.numpy(), shifts.contiguous().numpy(),
        F32(template.padding), score.numpy(),
    )  # fmt: skip
    score += template.prior(shifts)[:, :, None]
    best = score.amax((1, 2), keepdim=True)
    weights = (score - best).exp_()
    total = weights.sum((1, 2))
    centre = (weights.sum(2)[:, :, None] * shifts).sum(1) / total[:, None]
    kept, which = weights.sum(1).topk(min(KEPT, c), 1)
    rotations = tried[torch.arange(n)[:, None], which]
    evidence = best[:, 0, 0] + total.log() - math.log(c)
    return Candidates(rotations, kept / kept.sum(1, keepdim=True), centre, evidence)


def _around(rotations: Tensor, angle: float, generator: torch.Generator) -> Tensor:
    """Seven orientations for each of (n, k, 3, 3): (n, 7 k, 3, 3), the given ones first."""
    n = len(rotations)
    quaternions = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    frame = Rotation.from_quat(quaternions.numpy()).as_matrix()[0]
    vectors = np.concatenate([np.zeros((1, 3)), angle * frame, -angle * frame])
    turns = torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()).float()
    return torch.einsum("tij,nkjl->ntkil", turns, rotations).reshape(n, -1, 3, 3)


@njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def _compare(grid, axes, points, values, precisions, shifts, padding, score):
    """Log-likelihoods (n, s, c) of the images' candidates ``axes`` (n, c, 2, 3) and shifts."""
    n, c = axes.shape[0], axes.shape[1]
    m, s = points.shape[0], shifts.shape[1]
    for i in prange(n):
        moved = np.empty((s, 2, m), F32)
        for t in range(s):
            for j in range(m):
                angle = F32(2.0 * math.pi) * (
                    shifts[i, t, 0] * points[j, 0] + shifts[i, t, 1] * points[j, 1]
                )
                a, b = math.cos(angle), math.sin(angle)
                v = values[i, j]
                moved[t, 0, j] = v.real * a - v.imag * b
                moved[t, 1, j] = v.real * b + v.imag * a
        re, im = np.empty(m, F32), np.empty(m, F32)
        for k in range(c):
            u, v = axes[i, k, 0], axes[i, k, 1]
            ux, uy, uz = padding * u[0], padding * u[1], padding * u[2]
            vx, vy, vz = padding * v[0], padding * v[1], padding * v[2]
            power = F32(0.0)
            for j in range(m):
                kx, ky = points[j, 0], points[j, 1]
                a, b = value_at(grid, kx * ux + ky * vx, kx * uy + ky * vy, kx * uz + ky * vz)
                re[j], im[j] = a, b
                power += precisions[i, j] * (a * a + b * b)
            for t in range(s):
                product = F32(0.0)
                for j in range(m):
                    product += re[j] * moved[t, 0, j] + im[j] * moved[t, 1, j]
                score[i, t, k] = F32(2.0) * product - power


def _joined(parts: list[Candidates]) -> Candidates:
    names = ("rotations", "weights", "centres", "evidence")
    return Candidates(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
