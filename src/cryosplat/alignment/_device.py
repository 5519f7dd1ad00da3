"""What `_cpu` does, with tensors on another device: every step of all images together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import gridding
from ..arrays import Columns
from ..kernels import triton_module
from ._steps import UNKNOWNS

LEAST_DAMPING, MOST_DAMPING = 1e-5, 1e6
REACH = 1.5  # cells that one step may move the outermost point by
ROOM = 2**26  # numbers of slices that are held at a time
_UPPER = torch.triu_indices(UNKNOWNS, UNKNOWNS)


@dataclass(frozen=True, slots=True)
class Held:
    """A map's ``transform`` and n images: ``values``, ``stretch`` and ``radii`` as `_cpu.evaluated`."""

    transform: Tensor
    values: Tensor
    stretch: Tensor
    radii: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def evaluated(self, image: Tensor, rotations: Tensor, shifts: Tensor) -> Tensor:
        """As `_cpu.evaluated`, (m, SUMS)."""
        kernels = triton_module(f"{__package__}._cuda")
        return kernels.evaluated(
            self.transform, self.values, self.stretch, self.radii, image, rotations, shifts
        )

    def parts(self, numbers: int) -> Iterator[tuple[slice, Held]]:
        """As many images at a time as have room for ``numbers`` each."""
        size = max(1, ROOM // numbers)
        for first in range(0, len(self), size):
            own = slice(first, first + size)
            yield own, Held(self.transform, self.values[own], self.stretch[own], self.radii[own])


@dataclass(slots=True)
class _Ascents(Columns):
    """Where the ascents of some images are: `_cpu.climb`'s variables, one of each image."""

    rotations: Tensor
    shifts: Tensor
    sums: Tensor
    best: Tensor
    damping: Tensor
    steps: Tensor

    def put(self, rows: Tensor, other: _Ascents) -> None:
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(other, name)


@dataclass(frozen=True, slots=True)
class About(Columns):
    """A normal prior about ``given`` rotations and ``centres``, with ``precision`` (n, 2)."""

    given: Tensor
    centres: Tensor
    precision: Tensor

    def away(self, rotations: Tensor, shifts: Tensor) -> Tensor:
        """Rotation vector and shift from what is given, (n, 5)."""
        m = rotations @ self.given.transpose(1, 2)
        twice = m - m.transpose(1, 2)
        axial = 0.5 * torch.stack([twice[:, 2, 1], twice[:, 0, 2], twice[:, 1, 0]], 1)
        sine = axial.square().sum(1).sqrt()
        cosine = 0.5 * (m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2] - 1.0)
        angle = torch.atan2(sine, cosine)
        factor = torch.where(sine < 1e-9, torch.ones_like(sine), angle / sine.clamp_min(1e-9))
        return torch.cat([axial * factor[:, None], shifts - self.centres], 1)

    def precisions(self) -> Tensor:
        """Of each unknown, (n, 5)."""
        of_turn, of_shift = self.precision[:, :1], self.precision[:, 1:]
        return torch.cat([of_turn.expand(-1, 3), of_shift.expand(-1, 2)], 1)

    def log(self, away: Tensor) -> Tensor:
        """The logarithm of the prior, (n,)."""
        return -0.5 * (self.precisions() * away.square()).sum(1)


def climb(
    held: Held, rotations: Tensor, shifts: Tensor, about: About, looks: int, first: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Rotations, shifts and sums at the top of every image's ascent: see `_cpu.climb`.

    The ``first`` steps are by the shift alone.
    """
    image = torch.arange(len(held), device=held.values.device)
    sums = held.evaluated(image, rotations, shifts)
    best = sums[:, 0] + about.log(about.away(rotations, shifts))
    now = _Ascents(
        rotations.clone(), shifts.clone(), sums, best, torch.full_like(best, 1e-2),
        torch.zeros_like(image),
    )  # fmt: skip
    b = held.stretch
    edge = held.radii * (b[:, 0, 0] * b[:, 1, 1] - b[:, 0, 1] * b[:, 1, 0]).abs().sqrt()
    push = 2.0 * math.pi / held.values.shape[1] * held.radii  # a pixel's phase, as a turn's cells
    live = image
    for _ in range(1, looks):
        if not len(live):
            break
        there, prior = now.select(live), about.select(live)
        hold = there.steps < first
        step, solved = _step(there, prior, hold)
        lengths = torch.stack(
            [edge[live] * step[:, :3].norm(dim=1), push[live] * step[:, 3:].norm(dim=1)], 1
        )
        step = step * (REACH / lengths[:, :1].clamp_min(REACH))
        trial_rotations = turned(step[:, :3], there.rotations)
        trial_shifts = there.shifts + step[:, 3:]
        trial = held.evaluated(live, trial_rotations, trial_shifts)
        reached = trial[:, 0] + prior.log(prior.away(trial_rotations, trial_shifts))
        better = solved & (reached > there.best)
        harder = torch.where(solved, 10.0 * there.damping, (10.0 * there.damping).clamp_min(1e-3))
        easier = (0.1 * there.damping).clamp_min(LEAST_DAMPING)
        small = solved & (lengths.amax(1) < tolerance)
        steps = there.steps + better.long()
        after = _Ascents(
            torch.where(better[:, None, None], trial_rotations, there.rotations),
            torch.where(better[:, None], trial_shifts, there.shifts),
            torch.where(better[:, None], trial, there.sums),
            torch.where(better, reached, there.best),
            torch.where(better, easier, harder),
            torch.where(small & hold, torch.full_like(steps, first), steps),
        )
        now.put(live, after)
        ended = solved & (after.damping > MOST_DAMPING) | small & ~hold
        live = live[~ended]
    return now.rotations, now.shifts, now.sums


def turned(vectors: Tensor, rotations: Tensor) -> Tensor:
    """``exp([w]_x) A``, by Rodrigues' formula: as `_definition.turned`, which takes much longer."""
    squared = vectors.square().sum(-1)
    angle = squared.sqrt().clamp_min(1e-12)
    small = squared < 1e-8
    first = torch.where(small, 1.0 - squared / 6.0, angle.sin() / angle)[..., None, None]
    half = (0.5 * angle).sin() / angle
    second = torch.where(small, 0.5 - squared / 24.0, 2.0 * half.square())[..., None, None]
    crossed = torch.linalg.cross(vectors[..., None].expand_as(rotations), rotations, dim=-2)
    twice = torch.linalg.cross(vectors[..., None].expand_as(rotations), crossed, dim=-2)
    return rotations + first * crossed + second * twice


def _step(there: _Ascents, prior: About, hold: Tensor) -> tuple[Tensor, Tensor]:
    """The damped step (n, 5) of each ascent, whether there is one; with ``hold`` it does not turn."""
    n = len(hold)
    precisions, away = prior.precisions(), prior.away(there.rotations, there.shifts)
    i, j = _UPPER.to(hold.device)
    matrix = there.sums.new_zeros(n, UNKNOWNS, UNKNOWNS)
    matrix[:, i, j] = there.sums[:, 1 + UNKNOWNS :]
    matrix[:, j, i] = there.sums[:, 1 + UNKNOWNS :]
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    damped = precisions + there.damping[:, None] * (diagonal + precisions) + 1e-12
    matrix = matrix + torch.diag_embed(damped)
    right = there.sums[:, 1 : 1 + UNKNOWNS] - precisions * away
    still = hold[:, None] & (torch.arange(UNKNOWNS, device=hold.device) < 3)
    right = right.masked_fill(still, 0.0)
    matrix = matrix.masked_fill(still[:, :, None] | still[:, None, :], 0.0)
    matrix = matrix + torch.diag_embed(still.to(matrix))
    lower, failed = torch.linalg.cholesky_ex(matrix)
    solved = failed == 0
    lower = torch.where(solved[:, None, None], lower, torch.eye(UNKNOWNS).to(lower))
    step = torch.cholesky_solve(right[..., None], lower)[..., 0]
    return torch.where(solved[:, None], step, torch.zeros_like(step)), solved


def scores(
    held: Held, given: Tensor, centres: Tensor, turns: Tensor, moves: Tensor, precision: Tensor
) -> tuple[Tensor, Tensor]:
    """The best log-posteriors (n, t) and where they are (n, t, 2): see `_cpu.scores`."""
    n, t, a = len(held), len(turns), len(moves)
    box = 2 * min(math.ceil(float(held.radii.max())), held.values.shape[1] // 2)
    half = box // 2 + 1
    where = torch.empty(n, t, 2, dtype=torch.float64, device=given.device)
    out = torch.empty(n, t, dtype=torch.float64, device=given.device)
    low = torch.cat([torch.arange(half), torch.arange(half - box, 0)]).to(given.device)
    k = 2.0 * math.pi / held.values.shape[1] * low.double()  # of the rows of the larger images
    pair = torch.full((half,), 2.0, device=given.device)
    pair[0] = 1.0
    axes = turned(turns, torch.eye(3).to(turns).expand(t, 3, 3))
    away = turns.square().sum(1)
    pairs = moves.square()[:, None] + moves.square()
    for own, part in held.parts(t * (box * half * 2 + a * a)):
        m = len(part)
        rotations = (axes[None] @ given[own, None]).reshape(m * t, 3, 3)
        steps = part.stretch.transpose(1, 2).repeat_interleave(t, 0) @ rotations[:, :2]
        inside = part.radii.repeat_interleave(t)
        slices = gridding.slices(part.transform, steps, inside, box).reshape(m, t, box, half)
        values = part.values[:, low, :half]
        power = slices.abs().square() * (pair * values[..., 2])[:, None]
        images = torch.view_as_complex(values[..., :2].contiguous()) * pair
        products = slices.conj() * images[:, None]
        at_x = -(centres[own, :1] + moves)[:, None] * k[:half, None]
        at_y = -(centres[own, 1:] + moves)[..., None] * k
        by_x = torch.polar(torch.ones_like(at_x), at_x).to(products.dtype)
        by_y = torch.polar(torch.ones_like(at_y), at_y).to(products.dtype)
        rows = (products.reshape(m, t * box, half) @ by_x).reshape(m, t, box, a)
        moved = by_y @ rows.permute(0, 2, 1, 3).reshape(m, box, t * a)
        moved = moved.reshape(m, a, t, a).permute(0, 2, 3, 1)  # image, turn, move along x, along y
        prior = precision[own, :1] * away
        total = moved.real.double() - 0.5 * precision[own, 1][:, None, None, None] * pairs
        best, which = total.flatten(2).max(2)
        out[own] = best - 0.5 * power.sum((2, 3), dtype=torch.float64) - 0.5 * prior
        where[own] = torch.stack([moves[which // a], moves[which % a]], -1)
    return out, where
