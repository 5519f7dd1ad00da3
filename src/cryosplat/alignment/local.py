"""Poses near given ones: likelihoods and their derivatives, ascents, and searches on a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..poses import Poses
from . import _cpu
from ._definition import turned
from ._lines import SUMS
from ._steps import UNKNOWNS
from .images import ReadyImages
from .template import Template

LOOKS = 12  # evaluations of one image in an ascent, at most
HELD = 2  # first steps by the shift alone
TOLERANCE = 0.03  # cells of the padded grid
SPACING = 1.2  # of a grid of rotations, in radian times the shell of the limit
KEPT = 3  # poses of a grid that an ascent begins at


@dataclass(frozen=True, slots=True)
class Prior:
    """How far poses may lie from given ones: standard deviations, in radian about each axis and in
    Angstrom along each axis of the image."""

    angle: float = math.inf
    shift: float = math.inf

    def precisions(self, pixel_sizes: Tensor) -> NDArray[np.float64]:
        """Of rotation vectors and of shifts in pixels, (n, 2)."""
        of_angle = torch.full_like(pixel_sizes, self.angle**-2 if self.angle > 0.0 else 1e16)
        of_shift = pixel_sizes.square() * (self.shift**-2 if self.shift > 0.0 else 1e16)
        return torch.stack([of_angle, of_shift], 1).double().numpy()


@dataclass(frozen=True, slots=True)
class Found:
    """``poses`` of n images and how likely they are.

    ``likelihood`` (n,): log-likelihood above that of noise alone, in nats, without the prior;
    ``gradient`` (n, 5) and ``curvature`` (n, 5, 5) of it, by a rotation vector w in the image's frame
    (``exp([w]_x) A``, radian) and by the shift (Angstrom): Gauss and Newton's matrix, positive.
    """

    poses: Poses
    likelihood: Tensor
    gradient: Tensor
    curvature: Tensor

    @staticmethod
    def concatenate(parts: list[Found]) -> Found:
        """Those of all ``parts`` in turn."""
        columns = ((p.likelihood, p.gradient, p.curvature) for p in parts)
        poses = Poses.concatenate([part.poses for part in parts])
        return Found(poses, *(torch.cat(column) for column in zip(*columns, strict=True)))

    def select(self, index: Tensor) -> Found:
        """Those of the images ``index``."""
        return Found(
            self.poses.select(index), self.likelihood[index], self.gradient[index],
            self.curvature[index],
        )  # fmt: skip


def evaluated(images: ReadyImages, template: Template, poses: Poses | None = None) -> Found:
    """The likelihood of every image at its own pose, or at ``poses``."""
    poses = images.poses if poses is None else poses
    places = _Places.of(images, template)
    rotations, shifts = _array(poses.rotations), places.moves(poses.shifts)
    out = np.zeros((len(images), SUMS))
    _cpu.evaluated(*places.arguments, np.arange(len(images)), rotations, shifts, out)
    return _found(out, poses, places)


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
    places = _Places.of(images, template)
    rotations, shifts = _array(starts.rotations).copy(), places.moves(starts.shifts).copy()
    out = np.zeros((len(images), SUMS))
    _cpu.climb(
        *places.arguments, np.arange(len(images)), rotations, shifts, _array(given.rotations),
        places.moves(given.shifts), prior.precisions(images.pixel_sizes), looks, held, TOLERANCE,
        out,
    )  # fmt: skip
    return _found(out, places.poses(rotations, shifts), places)


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
    places = _Places.of(images, template)
    n = len(images)
    turns = ball(radius, spacing(template.limit, template.grid.side))
    pixel = float(images.pixel_sizes.min())
    moves = _line(reach / pixel, 0.35 / (template.limit * pixel))
    out, where = np.zeros((n, len(turns))), np.zeros((n, len(turns), 2))
    precision = prior.precisions(images.pixel_sizes)
    rotations, centres = _array(given.rotations), places.moves(given.shifts)
    _cpu.scores(*places.arguments, rotations, centres, turns, moves, precision, out, where)
    best = np.argsort(-out, 1, kind="stable")[:, : min(kept, len(turns))]
    results = []
    for at in best.T:
        begin = turned(torch.from_numpy(turns[at]), given.rotations.double())
        chosen = centres + where[np.arange(n), at]
        starts = places.poses(begin.numpy(), chosen)
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


def ball(radius: float, between: float) -> NDArray[np.float64]:
    """Rotation vectors (t, 3) of a cubic lattice within ``radius``, zero first, so far ``between``."""
    n = math.floor(radius / between * (1.0 + 1e-9))
    axis = np.arange(-n, n + 1, dtype=np.float64) * between
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    length = np.linalg.norm(points, axis=1)
    inside = length <= radius * (1.0 + 1e-9)
    return points[inside][np.argsort(length[inside], kind="stable")]


def _line(reach: float, between: float) -> NDArray[np.float64]:
    n = math.ceil(reach / between - 1e-9) if reach > 0.0 else 0
    return np.arange(-n, n + 1, dtype=np.float64) * (reach / n if n else 0.0)


@dataclass(frozen=True, slots=True)
class _Places:
    """A template and images as the kernels take them."""

    arguments: tuple[NDArray, tuple[int, int, int], NDArray, NDArray, NDArray]
    shifts: Tensor
    pixel_sizes: Tensor

    @staticmethod
    def of(images: ReadyImages, template: Template) -> _Places:
        stretch, radii = images.steps(template)
        values = images.values.contiguous().float().numpy()
        arrays = template.cells, template.shape, values, _array(stretch), _array(radii)
        return _Places(arrays, images.poses.shifts.double(), images.pixel_sizes.double())

    def moves(self, shifts: Tensor) -> NDArray[np.float64]:
        """What is added to the images' own shifts, in pixels."""
        return _array((shifts.double() - self.shifts) / self.pixel_sizes[:, None])

    def poses(self, rotations: NDArray, moves: NDArray) -> Poses:
        """The poses with these additions."""
        added = torch.from_numpy(moves).clone() * self.pixel_sizes[:, None]
        return Poses(torch.from_numpy(rotations).clone(), self.shifts + added)


def _found(out: NDArray[np.float64], poses: Poses, places: _Places) -> Found:
    sums = torch.from_numpy(out).clone()  # torch's own memory: sums do not depend on its place
    units = torch.ones(len(out), UNKNOWNS, dtype=torch.float64)
    units[:, 3:] = 1.0 / places.pixel_sizes[:, None]
    i, j = torch.triu_indices(UNKNOWNS, UNKNOWNS)
    matrix = sums.new_zeros(len(out), UNKNOWNS, UNKNOWNS)
    matrix[:, i, j] = matrix[:, j, i] = sums[:, 1 + UNKNOWNS :]
    curvature = matrix * units[:, :, None] * units[:, None, :]
    return Found(poses, sums[:, 0], sums[:, 1 : 1 + UNKNOWNS] * units, curvature)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().contiguous().numpy()
