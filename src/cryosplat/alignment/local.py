"""Poses near given ones: likelihoods and their derivatives, ascents, and searches on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arrays import Columns
from ..poses import Poses
from ._definition import turned
from ._places import Places, places_of
from ._steps import UNKNOWNS
from .images import ReadyImages
from .template import Template

LOOKS = 12  # evaluations of one image in an ascent, at most
HELD = 2  # first steps by the shift alone
TOLERANCE = 0.03  # cells of the padded grid
SPACING = 1.2  # of a grid of rotations, in radian times the shell of the limit
MOVE = 0.35  # of a grid of shifts, over the limit
KEPT = 3  # poses of a grid that an ascent begins at


@dataclass(frozen=True, slots=True)
class Prior:
    """How far poses may lie from given ones: standard deviations, in radian about each axis and in
    Angstrom along each axis of the image."""

    angle: float = math.inf
    shift: float = math.inf

    def precisions(self, pixel_sizes: Tensor) -> Tensor:
        """Of rotation vectors and of shifts in pixels, (n, 2)."""
        of_angle = torch.full_like(pixel_sizes, self.angle**-2 if self.angle > 0.0 else 1e16)
        of_shift = pixel_sizes.square() * (self.shift**-2 if self.shift > 0.0 else 1e16)
        return torch.stack([of_angle, of_shift], 1).double()


@dataclass(frozen=True, slots=True)
class Found(Columns):
    """``poses`` of n images and how likely they are.

    ``likelihood`` (n,): log-likelihood above that of noise alone, in nats, without the prior;
    ``gradient`` (n, 5) and ``curvature`` (n, 5, 5) of it, by a rotation vector w in the image's frame
    (``exp([w]_x) A``, radian) and by the shift (Angstrom): Gauss and Newton's matrix, positive.
    """

    poses: Poses
    likelihood: Tensor
    gradient: Tensor
    curvature: Tensor

    def put(self, rows: Tensor, found: Found) -> Found:
        """The same with those of the images ``rows`` replaced."""
        rotations = self.poses.rotations.double().index_copy(
            0, rows, found.poses.rotations.double()
        )
        shifts = self.poses.shifts.double().index_copy(0, rows, found.poses.shifts.double())
        return Found(
            Poses(rotations, shifts), self.likelihood.index_copy(0, rows, found.likelihood),
            self.gradient.index_copy(0, rows, found.gradient),
            self.curvature.index_copy(0, rows, found.curvature),
        )  # fmt: skip


def evaluated(images: ReadyImages, template: Template, poses: Poses | None = None) -> Found:
    """The likelihood of every image at its own pose, or at ``poses``."""
    poses = images.poses if poses is None else poses
    places = places_of(images, template)
    sums = places.evaluated(poses.rotations.double(), places.moves(poses.shifts))
    return _found(sums, poses, places)


def refined(
    images: ReadyImages,
    template: Template,
    prior: Prior = Prior(),
    *,
    given: Poses | None = None,
    starts: Poses | None = None,
    held: int = HELD,
    looks: int = LOOKS,
) -> Found:
    """The poses of highest posterior near those of ``images``, or near ``starts``.

    Levenberg and Marquardt's ascent with five unknowns an image, the first ``held`` steps by the
    shift alone; rotations are composed, never added. ``prior`` about ``given``, by default the
    images' own poses. What frequencies count is up to the ``template``.
    """
    starts, given = starts or images.poses, given or images.poses
    places = places_of(images, template)
    rotations, shifts, sums = places.climbed(
        starts.rotations.double(), places.moves(starts.shifts), given.rotations.double(),
        places.moves(given.shifts), prior.precisions(images.pixel_sizes), looks, held, TOLERANCE,
    )  # fmt: skip
    return _found(sums, places.poses(rotations, shifts), places)


def searched(
    images: ReadyImages,
    template: Template,
    radius: float,
    prior: Prior = Prior(),
    *,
    reach: float = 0.0,
    given: Poses | None = None,
    kept: int = KEPT,
    looks: int = LOOKS,
) -> Found:
    """As `refined`, from the best ``kept`` poses of a grid of rotations within ``radius`` (radian).

    The grid is as fine as the template's limit asks for, and so is that of shifts, within ``reach``
    Angstrom along each axis.
    """
    given = given or images.poses
    places = places_of(images, template)
    n = len(images)
    turns = ball(radius, spacing(template.limit, template.grid.side))
    pixel = float(images.pixel_sizes.min())
    moves = _line(reach / pixel, MOVE / (template.limit * pixel))
    rotations, centres = given.rotations.double(), places.moves(given.shifts)
    scores, where = places.scores(
        rotations, centres, turns, moves, prior.precisions(images.pixel_sizes)
    )
    best = (-scores).argsort(dim=1, stable=True)[:, : min(kept, len(turns))]
    results = []
    for at in best.T:
        begin = turned(turns[at], rotations)
        starts = places.poses(begin, centres + where[torch.arange(n), at])
        results.append(
            refined(images, template, prior, given=given, starts=starts, held=0, looks=looks)
        )
    return likeliest(results, prior, given)


def ranked(results: list[Found], prior: Prior, given: Poses) -> list[Found]:
    """Several poses of every image in the order of their posterior, the highest first."""
    scores = torch.stack([f.likelihood + log_prior(f.poses, given, prior) for f in results])
    joined, images = Found.concatenate(results), torch.arange(len(given))
    return [joined.select(at * len(given) + images) for at in scores.argsort(0, descending=True)]


def likeliest(results: list[Found], prior: Prior, given: Poses) -> Found:
    """Of several poses of every image the one with the highest posterior."""
    return ranked(results, prior, given)[0]


def differ(a: Poses, b: Poses, template: Template) -> Tensor:
    """Whether ascents from two poses of an image may end in two places, (n,) bool.

    They lie apart by a step of a grid of rotations, or of shifts, as fine as the template asks for.
    """
    angles, shifts = changes(a, b)
    turned_away = angles.norm(dim=1) > spacing(template.limit, template.grid.side)
    return turned_away | (shifts.norm(dim=1) > MOVE / template.limit)


def log_prior(poses: Poses, given: Poses, prior: Prior) -> Tensor:
    """The logarithm of a prior about ``given``, (n,), but for its constant."""
    angles, shifts = changes(poses, given)
    total = torch.zeros(len(poses), dtype=torch.float64)
    for moved, width in ((angles, prior.angle), (shifts, prior.shift)):
        if 0.0 < width < math.inf:
            total -= 0.5 * moved.square().sum(1) / width**2
    return total


def changes(poses: Poses, given: Poses) -> tuple[Tensor, Tensor]:
    """Rotation vectors w (n, 3) of ``A = exp([w]_x) A_given``, and differences of shifts (n, 2)."""
    between = poses.rotations.double() @ given.rotations.double().transpose(1, 2)
    twice = between - between.transpose(1, 2)
    axial = 0.5 * torch.stack([twice[:, 2, 1], twice[:, 0, 2], twice[:, 1, 0]], 1)
    sine = torch.linalg.vector_norm(axial, dim=1)
    cosine = 0.5 * (between.diagonal(dim1=1, dim2=2).sum(1) - 1.0)
    factor = torch.where(sine < 1e-9, 1.0, torch.atan2(sine, cosine) / sine.clamp_min(1e-9))
    return axial * factor[:, None], poses.shifts.double() - given.shifts.double()


def spacing(limit: float, side: float) -> float:
    """Radian between neighbours of a grid of rotations for frequencies below ``limit``."""
    return SPACING / (limit * side)


def ball(radius: float, between: float) -> Tensor:
    """Rotation vectors (t, 3) of a cubic lattice within ``radius``, zero first, so far ``between``."""
    n = math.floor(radius / between * (1.0 + 1e-9))
    axis = torch.arange(-n, n + 1, dtype=torch.float64) * between
    points = torch.cartesian_prod(axis, axis, axis)
    length = points.norm(dim=1)
    inside = length <= radius * (1.0 + 1e-9)
    return points[inside][length[inside].argsort(stable=True)]


def _line(reach: float, between: float) -> Tensor:
    n = math.ceil(reach / between - 1e-9) if reach > 0.0 else 0
    return torch.arange(-n, n + 1, dtype=torch.float64) * (reach / n if n else 0.0)


def _found(sums: Tensor, poses: Poses, places: Places) -> Found:
    units = torch.ones(len(sums), UNKNOWNS, dtype=torch.float64)
    units[:, 3:] = 1.0 / places.pixel_sizes[:, None]
    i, j = torch.triu_indices(UNKNOWNS, UNKNOWNS)
    matrix = sums.new_zeros(len(sums), UNKNOWNS, UNKNOWNS)
    matrix[:, i, j] = matrix[:, j, i] = sums[:, 1 + UNKNOWNS :]
    curvature = matrix * units[:, :, None] * units[:, None, :]
    return Found(poses, sums[:, 0], sums[:, 1 : 1 + UNKNOWNS] * units, curvature)
