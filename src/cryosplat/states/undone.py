"""Motion undone: the molecule at one coordinate from all particles, each half-set by its own motion.

About each anchor the molecule moves almost as a rigid body. What the moving mixture leaves of the
images is back-projected once for each anchor, at the poses that the molecule has there, and the maps
are blended as anchors are; the mixture itself, which is sharp everywhere, is added. Other parts, which
are smeared in the frame of an anchor, have thus been taken away (compare the bodies of Nakane et al.
2018, and the back-projection of Schwab et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..formation import MixtureProjector, form_images
from ..grid import Grid
from ..maps.fsc import fourier_shell_correlation
from ..maps.mask import soft_mask
from ..mixture import GaussianMixture, quaternions_to_matrices
from ..noise import NoiseModel
from ..optics import seen_rotations
from ..particles import Particles
from ..poses import Poses
from ..progress import UNDONE, Progress
from ..splatting import voxelize
from ..statistics import Assignments, QuadraticForm, accumulate, shell_means, solve
from .coordinates import functions_at
from .maps import StateMap, at_once, map_of
from .moving import Motion, Skeleton, turned

STEPS = 64  # of a coordinate of 1: nearer ones are one mixture
SHARP = 4.0  # power of the anchors' influence: what one moves by a little is no part of its body
OWN_TURN = 0.05  # of the spread of an anchor's Gaussians: by how much its own turn counts
DAMPING, CG_STEPS = 0.1, 5
SCALED = 500  # images that tell the grey scale
MOVING = 0.5  # of the longest way: Gaussians that go that far are the moving part


@dataclass(frozen=True, slots=True)
class Traced:
    """The motion that a half-set found, the ``rows`` (n,) of its particles, and the ``coordinate``
    (n, c) that its model gives each of them; ``at`` (c,): that of the state that is wanted."""

    model: Motion
    rows: NDArray[np.int64]
    coordinate: NDArray[np.float64]
    at: NDArray[np.float64]

    def mixture(self) -> GaussianMixture:
        """The state that is wanted."""
        return self.model.at(_functions(self.at[None]))[0]


def motion_undone(
    particles: Particles, halves: tuple[Traced, Traced], noise: NoiseModel, progress: Progress
) -> StateMap:
    """Maps of the state that ``halves`` name, of all particles and of the half-sets, in their box."""
    grid = Grid(particles.box_size, particles.pixel_size)
    drawn, left = [], []
    total = sum(half.model.n_anchors for half in halves)
    with progress.stage(UNDONE, total, "anchors") as stage:
        for half in halves:
            mixture, rest = _half(particles, half, grid, noise, stage.advance)
            drawn.append(mixture)
            left.append(rest)
    whole = [a + b for a, b in zip(drawn, left, strict=True)]
    mask = soft_mask(0.5 * (whole[0] + whole[1]), grid)
    fsc = fourier_shell_correlation(whole[0] * mask, whole[1] * mask).clamp_min(0.0)
    # as far as the halves agree, data have the word; beyond, what the mixture says
    maps = [a + _filtered(b, fsc) for a, b in zip(drawn, left, strict=True)]
    both = _filtered(0.5 * (left[0] + left[1]), 2.0 * fsc / (1.0 + fsc))
    full = 0.5 * (drawn[0] + drawn[1]) + both
    n = sum(len(half.rows) for half in halves)
    return map_of(full, maps[0], maps[1], mask, grid, float(n))


def moving_mask(model: Motion, at: Tensor, ends: Tensor, grid: Grid) -> Tensor:
    """A soft mask about what moves far between the coordinates ``ends`` (2, c), in the state ``at``."""
    here, *there = model.at(torch.cat([functions_at(at[None]), functions_at(ends)]))
    way = torch.stack([(m.means - here.means).norm(dim=1) for m in there]).amax(0)
    far = way > MOVING * way[torch.argsort(way)[int(0.95 * (len(way) - 1))]]
    return soft_mask(voxelize(here.select(far.nonzero().squeeze(1)), grid), grid)


def matched(
    wanted: NDArray[np.float64], coordinate: NDArray[np.float64], theirs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where a coordinate ``wanted`` (c,) lies for a model that gives particles the coordinates
    ``theirs`` (n, c), where they have ``coordinate`` (n, c): the mean of the nearest twentieth."""
    away = np.square(coordinate - wanted).sum(1)
    near = np.argsort(away, kind="stable")[: max(20, len(away) // 20)]
    return theirs[near].mean(0)


def local_motions(model: Motion, start: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """How the molecule about each anchor has gone from the functions ``start`` (1, P) of a coordinate
    to ``basis`` (m, P): ``x -> R x + t``, R (m, A, 3, 3) and t (m, A, 3) in Angstrom, float64.

    Least squares over the Gaussians that the anchor moves; its own turn breaks ties.
    """
    weights = _bodies(model)
    before = model.at(start)[0].means.double()
    after = torch.stack([m.means for m in model.at(basis)]).double()
    from_, to = weights.T @ before, weights.T @ after
    crossed = torch.einsum("ka,kx,mky->maxy", weights, before, after)
    crossed = crossed - from_[:, :, None] * to[:, :, None, :]
    spread = weights.T @ before.square().sum(1) - from_.square().sum(1)
    turns = torch.cat([start, basis]) @ model.values["turns"].flatten(1)
    own = quaternions_to_matrices(turned(turns.reshape(-1, 3))).double()
    own = own.reshape(len(turns), -1, 3, 3)
    tie = own[1:] @ own[:1].transpose(2, 3)
    crossed = crossed + (OWN_TURN / 3.0) * spread[:, None, None] * tie.transpose(2, 3)
    u, _, v = torch.linalg.svd(crossed)
    sign = torch.linalg.det(u @ v).sign()
    u = torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1)
    rotations = (u @ v).transpose(2, 3)
    return rotations, to - torch.einsum("maxy,ay->max", rotations, from_)


def _bodies(model: Motion) -> Tensor:
    """How much each Gaussian counts for the body about each anchor (k, A), columns adding up to 1."""
    weights = (model.skeleton.blend**SHARP * model.shared().amplitudes[:, None]).double()
    return weights / weights.sum(0).clamp_min(1e-30)


def _half(
    particles: Particles, half: Traced, grid: Grid, noise: NoiseModel,
    advance: Callable[[int], None],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The mixture's map of a half-set, and what its images add to that."""
    model, rows = half.model, torch.from_numpy(half.rows)
    own, basis = half.coordinate, _functions(half.coordinate)
    start = _functions(half.at[None])
    places = np.round(own * STEPS).astype(np.int64)
    distinct, inverse = np.unique(places, axis=0, return_inverse=True)
    label = np.zeros(len(particles), np.int64)
    label[half.rows] = inverse.reshape(-1)
    projectors = [MixtureProjector(m) for m in model.at(_functions(distinct / STEPS))]
    sample = rows[:: max(1, len(rows) // SCALED)]
    scale = _grey_scale(particles.batches(sample), label, projectors, noise)
    parts = [local_motions(model, start, some) for some in basis.split(500)]
    rotations, moves = (torch.cat(p) for p in zip(*parts, strict=True))
    given = Poses(particles.poses.rotations[rows], particles.poses.shifts[rows])
    seen = seen_rotations(given, particles.optics.select(rows)).rotations[:, :2].double()
    n, prepared = model.n_anchors, replace(noise, normalise=False)
    step, found = at_once(grid.box_size), []
    for first in range(0, n, step):
        some = range(first, min(n, first + step))
        poses = [
            Poses(
                given.rotations.double() @ rotations[:, a],
                given.shifts.double() - torch.einsum("nxy,ny->nx", seen, moves[:, a]),
            )
            for a in some
        ]
        entries = Assignments(
            rows.repeat(len(some)), Poses.concatenate(poses),
            torch.ones(len(some) * len(rows), dtype=torch.float64),
        )  # fmt: skip
        sets = torch.arange(len(some)).repeat_interleave(len(rows))
        batches = _left_over(particles.batches(rows), label, projectors, scale, noise)
        for statistics in accumulate(batches, sets, len(some), grid, prepared, weights=entries):
            form = QuadraticForm(statistics, grid.box_size)
            found.append(solve(form, DAMPING * shell_means(form), CG_STEPS))
            advance(1)
    mixture = half.mixture()
    anchors = (_bodies(model).T @ mixture.means.double()).float()
    return scale * voxelize(mixture, grid), _blended(found, anchors, grid)


def _predictions(batch: Batch, label: NDArray, projectors: list[MixtureProjector]) -> Tensor:
    """The images of a batch as the mixture has them that is each particle's by ``label`` (n,)."""
    images = torch.zeros_like(batch.images)
    kinds = torch.stack([torch.from_numpy(label)[batch.index], batch.optics.group], 1)
    for kind in kinds.unique(dim=0):
        here = (kinds == kind).all(1).nonzero().squeeze(1)
        optics = batch.optics.select(here)
        projector = projectors[int(kind[0])]
        images[here] = form_images(projector, batch.poses.select(here), optics, batch.box_size)
    return images


def _grey_scale(
    batches: Iterator[Batch], label: NDArray, projectors: list[MixtureProjector],
    noise: NoiseModel,
) -> float:  # fmt: skip
    """What mixtures are multiplied by to be in the units of the images, and their sign."""
    above = below = 0.0
    for batch in batches:
        predicted = _predictions(batch, label, projectors)
        above += float((predicted * noise.normalised(batch)).sum())
        below += float(predicted.square().sum())
    return above / max(below, 1e-30)


def _left_over(
    batches: Iterator[Batch], label: NDArray, projectors: list[MixtureProjector], scale: float,
    noise: NoiseModel,
) -> Iterator[Batch]:  # fmt: skip
    for batch in batches:
        images = noise.normalised(batch) - scale * _predictions(batch, label, projectors)
        yield replace(batch, images=images)


def _blended(volumes: list[Tensor], anchors: Tensor, grid: Grid) -> Tensor:
    """One map of the maps of all anchors (A, 3), each counting where its anchor moves things."""
    axis = grid.coordinates().float()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    result = torch.zeros_like(volumes[0])
    for plane, z in enumerate(axis.tolist()):
        points = torch.stack([x, y, torch.full_like(x, z)], -1).reshape(-1, 3)
        share = Skeleton.blended(points, anchors) ** SHARP
        share = (share / share.sum(1, keepdim=True)).T.reshape(-1, *x.shape)
        result[plane] = sum(s * v[plane] for s, v in zip(share, volumes, strict=True))
    return result


def _filtered(volume: Tensor, gain: Tensor) -> Tensor:
    radii = fourier.squared_radii(tuple(volume.shape)).sqrt()
    return fourier.filter(volume, fourier.at_radii(gain, radii), 3)


def _functions(z: NDArray) -> Tensor:
    return functions_at(torch.from_numpy(np.asarray(z)).float())
