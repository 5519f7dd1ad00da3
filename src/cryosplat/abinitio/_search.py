"""The search for poses of single images: over all orientations, or about the best few."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit, prange
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..arrays import Columns
from ._assignment import CHUNK, Observed, gather, observed, posterior, shown
from ._images import SmallImages
from ._orientations import count_at
from ._slices import slices_at, slices_there, transform_of, value_at

KEPT = 8  # orientations of each image
CHUNKED = 10_000  # images at a time
CROSS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
"""Where centres are looked for, in steps about the present ones."""
WIDE_CROSS = torch.tensor(
    [[x, y] for x in range(-3, 4) for y in range(-3, 4) if abs(x) + abs(y) <= 3],
    dtype=torch.float32,
)
"""The same where they may be far off: an image that is looked at beside its centre fits upside down."""
TURNS = 7  # orientations that are tried about one, itself among them
WIDTH = 3.5  # of these should share its weight
F32 = np.float32


@dataclass(frozen=True, slots=True)
class Candidates(Columns):
    """Poses of n images: ``rotations`` (n, k, 3, 3) float32, their ``weights`` (n, k), which add up
    to 1, and one centre each, ``centres`` (n, 2) in box sides.

    ``scores`` (n, k): the logarithm of the likelihood by which each was drawn, up to a constant of
    its image.
    ``evidence`` (n,): the logarithm of the mean likelihood over all poses that were looked at, less
    that of no signal. ``shared`` (n,): how many of those about a pose share its weight. ``shown`` (n,):
    the probability that the image shows the particle.
    """

    rotations: Tensor
    weights: Tensor
    scores: Tensor
    centres: Tensor
    evidence: Tensor
    shared: Tensor
    shown: Tensor

    def __len__(self) -> int:
        return len(self.weights)

    def put(self, rows: Tensor, found: Candidates) -> Candidates:
        """The same with those of the images ``rows`` replaced."""
        rows = rows.to(self.weights.device)
        parts = (getattr(self, n).index_copy(0, rows, getattr(found, n)) for n in self.__slots__)
        return Candidates(*parts)

    def likeliest(self, count: int) -> Candidates:
        """The ``count`` with most weight, in its order; they are chosen, not drawn: by no score."""
        weights, which = self.weights.topk(min(count, self.weights.shape[1]), 1)
        chosen = self._of(which, weights / weights.sum(1, keepdim=True))
        return replace(chosen, scores=torch.zeros_like(weights))

    def best(self) -> Candidates:
        """The likeliest alone."""
        return self.likeliest(1)

    def drawn(self, count: int, generator: torch.Generator) -> Candidates:
        """``count`` drawn by their weights, which then all weigh the same.

        Together they are as uncertain as the image is; the likeliest few would not be. (Systematic
        resampling: of weight w, ``count * w`` are drawn, rounded up or down.)
        """
        n, device = len(self), self.weights.device
        at = (torch.arange(count) + torch.rand(n, 1, generator=generator)) / count
        at = at.to(device)
        sums = self.weights.cumsum(1)
        which = torch.searchsorted(sums, at * sums[:, -1:], right=True)
        which = which.clamp(max=self.weights.shape[1] - 1)
        return self._of(which, torch.full((n, count), 1.0 / count, device=device))

    def _of(self, which: Tensor, weights: Tensor) -> Candidates:
        rows = torch.arange(len(self), device=which.device)[:, None]
        rotations = self.rotations.expand(len(self), -1, 3, 3)[rows, which]
        return replace(self, rotations=rotations, weights=weights, scores=self.scores[rows, which])


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
class Hypotheses(Columns):
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
        rows = torch.arange(len(order), device=order.device)[:, None]
        rotations = torch.stack([place.rotations[:, 0] for place in places], 1)[rows, order]
        centres = torch.stack([place.centres for place in places], 1)[rows, order]
        evidence = scores.logsumexp(1) - math.log(len(places))
        return Hypotheses(rotations, centres, scores.softmax(1)[rows, order], evidence)

    def candidates(self) -> Candidates:
        """The same poses about the centre of the likeliest; chosen, not drawn: by no score."""
        some = torch.ones_like(self.evidence)
        return Candidates(
            self.rotations, self.weights, torch.zeros_like(self.weights), self.centres[:, 0],
            self.evidence, some, some,
        )  # fmt: skip


def apart(found: Candidates, angle: float, count: int) -> list[Candidates]:
    """``count`` times one of the poses of each image, the likeliest ``angle`` (radian) off the others.

    Where there are no more, one is taken again.
    """
    n, k = found.weights.shape
    device = found.weights.device
    free, places = torch.ones(n, k, dtype=torch.bool, device=device), []
    rows = torch.arange(n, device=device)
    for _ in range(count):
        best = torch.where(free, found.weights, found.weights - 2.0).argmax(1)
        chosen = found.rotations[rows, best]
        traces = torch.einsum("nij,nkij->nk", chosen, found.rotations)
        free &= traces < 1.0 + 2.0 * math.cos(angle)
        places.append(found._of(best[:, None], torch.ones(n, 1, device=device)))
    return places


def searched_everywhere(
    images: SmallImages, template: Template, rotations: Tensor, centres: Tensor, step: float,
    kept: int, cross: Tensor = CROSS,
) -> Candidates:  # fmt: skip
    """The likeliest of ``rotations`` (o, 3, 3) for each image, centres sought about ``centres``."""
    found = _everywhere(images, template, rotations, centres, step, cross)
    return Candidates.concatenate([candidates.likeliest(kept) for _, _, _, candidates in found])


def assigned_everywhere(
    images: SmallImages, template: Template, rotations: Tensor, centres: Tensor, step: float,
    limit: float, generator: torch.Generator, cross: Tensor = CROSS,
) -> tuple[Candidates, Tensor]:  # fmt: skip
    """Some of ``rotations`` (o, 3, 3) for each image, and the sums (o, 3 m) of images at all of them.

    ``limit``: of the frequencies of the sums.
    """
    m = images.columns(limit)
    sums, drawn = torch.zeros(len(rotations), 3 * m, device=images.device), []
    parts = _everywhere(images, template, rotations, centres, step, cross)
    for rows, shifts, weights, found in parts:
        weights *= found.shown[:, None, None]
        gather(weights, _seen(images, rows, m, shifts, template), sums)
        drawn.append(found.drawn(KEPT, generator))
    return Candidates.concatenate(drawn), sums


def _everywhere(
    images: SmallImages, template: Template, rotations: Tensor, centres: Tensor, step: float,
    cross: Tensor = CROSS,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Candidates]]:  # fmt: skip
    """Of images in turn: which, their shifts (n, s, 2), the posterior (n, s, o), and all poses."""
    m = images.columns(template.limit)
    slices = slices_at(template.transform, rotations, images.points[:m], template.padding)
    n, o = len(images), len(rotations)
    turned, cross = rotations.float()[None].to(images.device), cross.to(images.device)
    for rows in torch.arange(n).split(max(1, CHUNK // (len(cross) * o))):
        shifts = centres[rows, None] + step * cross
        weights, total = posterior(_seen(images, rows, m, shifts, template), slices, 1.0)
        centre, shares = (weights.sum(2)[:, :, None] * shifts).sum(1), weights.sum(1)
        shared = torch.full((len(rows),), WIDTH, device=images.device)
        evidence = total - math.log(o)
        yield (
            rows, shifts, weights,
            Candidates(turned, shares, shares.log(), centre, evidence, shared, shown(evidence)),
        )  # fmt: skip


def _seen(
    images: SmallImages, rows: Tensor, m: int, shifts: Tensor, template: Template
) -> Observed:
    points = images.points[:m]
    values, precisions = images.values[rows, :m], images.precisions[rows, :m]
    return observed(values, precisions, points, shifts, template.prior(shifts))


def searched_near(
    images: SmallImages, template: Template, known: Candidates, angle: float, step: float,
    generator: torch.Generator, kept: Callable[[Candidates], Candidates],
) -> Candidates:  # fmt: skip
    """Orientations about those ``known``, ``angle`` (radian) apart, of which some are ``kept``.

    About each of them, and at it, six are tried, turned about three axes that are drawn at random.
    What is tried about a pose that was drawn by its likelihood weighs by the ratio of the two: so
    images that fit in many places do not gather in the few that were drawn (importance sampling).
    """
    if len(images) > CHUNKED:
        parts = torch.arange(len(images)).split(CHUNKED)
        return Candidates.concatenate([
            searched_near(
                images.select(p), template, known.select(p), angle, step, generator, kept
            ) for p in parts
        ])  # fmt: skip
    m = images.columns(template.limit)
    points = images.points[:m].float()
    tried = _around(known.rotations, angle, generator)
    n, c = tried.shape[:2]
    shifts = known.centres[:, None] + step * CROSS.to(images.device)
    axes = tried[:, :, :2].contiguous()
    if images.device.type == "cpu":
        score = torch.empty(n, len(CROSS), c)
        _compare(
            template.transform.numpy(), axes.numpy(), points.numpy(), images.values.numpy(),
            images.precisions.numpy(), shifts.contiguous().numpy(), F32(template.padding),
            score.numpy(),
        )  # fmt: skip
    else:
        score = compared(images, template, axes, shifts)
    score += template.prior(shifts)[:, :, None]
    total = score.logsumexp(1)
    weights = (total - known.scores.repeat(1, TURNS)).softmax(1)
    of_shifts = (score.softmax(1) * weights[:, None]).sum(2)
    centre = (of_shifts[:, :, None] * shifts).sum(1)
    about = total.unflatten(1, (TURNS, -1)).softmax(1)
    shared = (1.0 / about.square().sum(1)).mean(1)
    evidence = total.logsumexp(1) - math.log(c)
    of_all = evidence - math.log(max(count_at(angle) / c, 1.0))
    return kept(Candidates(tried, weights, total, centre, evidence, shared, shown(of_all)))


def _around(rotations: Tensor, angle: float, generator: torch.Generator) -> Tensor:
    """Seven orientations for each of (n, k, 3, 3): (n, 7 k, 3, 3), the given ones first."""
    n = len(rotations)
    quaternions = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    frame = Rotation.from_quat(quaternions.numpy()).as_matrix()[0]
    vectors = np.concatenate([np.zeros((1, 3)), angle * frame, -angle * frame])
    turns = torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()).float()
    turns = turns.to(rotations.device)
    return torch.einsum("tij,nkjl->ntkil", turns, rotations).reshape(n, -1, 3, 3)


def compared(images: SmallImages, template: Template, axes: Tensor, shifts: Tensor) -> Tensor:
    """`_compare` by PyTorch, on the device of its tensors."""
    m, parts = images.columns(template.limit), []
    points, c = images.points[:m], axes.shape[1]
    for rows in torch.arange(len(images)).split(max(1, CHUNK // (c * m))):
        own = slice(int(rows[0]), int(rows[-1]) + 1)
        n = len(rows)
        slices = slices_there(
            template.transform, axes[own].flatten(0, 1), points.float(), template.padding
        ).unflatten(0, (n, c))
        precisions = images.precisions[own, :m]
        seen = observed(
            images.values[own, :m],
            precisions,
            points,
            shifts[own],
            torch.zeros_like(shifts[own, :, 0]),
        )
        power = slices[..., :m].square() + slices[..., m:].square()
        power = power @ precisions[:, :, None]
        parts.append((2.0 * slices @ seen.moved.transpose(1, 2) - power).transpose(1, 2))
    return torch.cat(parts)


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
