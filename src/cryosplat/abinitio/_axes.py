"""Symmetry that is looked for: the group, its worth for images kept apart, poses turned to its axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..grid import Grid
from ..maps.point_group import PointGroup, hinted_group, is_nearly_round, point_groups
from ..mixture import GaussianMixture, mean_of
from ..notes import Note
from ..progress import Progress
from ..splatting import voxelize
from ..symmetry import order_of
from ._search import Hypotheses
from ._work import Branch, Work
from .values import AbinitSettings

Pair = tuple[GaussianMixture, GaussianMixture]
Explain = Callable[[GaussianMixture], Tensor]
CERTAIN = 3.0  # standard errors
ROUND = "the map is nearly round, and half-maps that were refined further have it"
MOST = 3  # groups that images choose among


def with_symmetry(
    work: Work, branch: Branch, poses: Hypotheses, settings: AbinitSettings, progress: Progress
) -> tuple[Branch, Hypotheses, Note]:
    """A branch and its ``poses``, on the CPU, in the axes of the group found or named; and a note.

    An image of a nearly round molecule hardly shows its orientation. Poses found without symmetry do
    not come to rest then, and in half-maps made with them what both have from their common start
    outweighs what they found: they neither show the group nor prove any. Its symmetry helps poses to
    come to rest: so the group is tried that the half-maps come nearest to, by refining both half-sets
    further in it, and it is proven if images kept apart gain by that more than by chance. A wrong group
    gains nothing, as it averages what is different.
    """
    auto = settings.symmetry == "auto"
    grid = work.grid

    def explain(mixture: GaussianMixture, fsc: Tensor = branch.fsc) -> Tensor:
        return work.gains_of(mixture, 2.0 * fsc / (1.0 + fsc))

    first, second = (voxelize(mixture, grid).detach() for mixture in branch.mixtures)
    nearly_round = is_nearly_round(first, second)
    if auto and nearly_round:
        tried, found = hinted_group(first, second), (branch, poses, ROUND_NONE)
    else:
        name = None if auto else settings.symmetry
        tried, pair, note = symmetry_of(branch.mixtures, grid, explain, name)
        found = replace(branch, mixtures=pair), _in_axes_of(tried, poses, grid), note
    if not nearly_round or tried is None:
        return found
    turned = _in_axes_of(tried, poses, grid)
    mixtures = branch.mixtures
    start = _in_axes(mixtures[0], tried, grid), _in_axes(mixtures[1], tried, grid)
    grown = work.grown(branch, start, turned, settings.seed, progress)
    before, gains = (
        explain(mean_of(mixtures)),
        explain(in_place(mean_of(grown.mixtures), tried, grid), grown.fsc),
    )
    if auto and not _refuse(before, gains):
        return found
    there = replace(work, centres=turned.centres[:, 0].to(work.images.device))
    again = there.finish(grown, settings.seed, progress)
    return grown, again, _note_on(tried, gains, before, True, not auto, ROUND)


def _in_axes_of(group: PointGroup, poses: Hypotheses, grid: Grid) -> Hypotheses:
    """Poses for the map in the axes of a group."""
    if group.name == "C1":
        return poses
    n, k = poses.weights.shape
    rotations, centres = poses_in_axes(
        poses.rotations.double().flatten(0, 1), poses.centres.double().flatten(0, 1), group, grid
    )
    return replace(
        poses, rotations=rotations.float().unflatten(0, (n, k)),
        centres=centres.float().unflatten(0, (n, k)),
    )  # fmt: skip


def symmetry_of(
    mixtures: Pair, grid: Grid, explain: Explain, name: str | None = None
) -> tuple[PointGroup, Pair, Note]:
    """The point group of two half-maps, their mixtures in its axes with its symmetry, and a note.

    The half-maps propose groups. Of these the largest is taken that images kept apart do not refuse:
    averaging over a true symmetry takes noise from the map, so that they gain; averaging over a larger
    group takes detail, and they lose against C1 or against a smaller group. ``explain`` says what each
    image gains by a mixture (n,); what counts is the mean difference in its own standard errors, which
    are far smaller than those of the gains. With a ``name``: the best axes for that group.
    """
    first, second = (voxelize(mixture, grid) for mixture in mixtures)
    groups = point_groups(first, second, name)
    if len(groups) == 1:
        return groups[0], mixtures, NO_SYMMETRY
    shown = groups[:-1][:MOST]
    pairs = [(_in_axes(mixtures[0], g, grid), _in_axes(mixtures[1], g, grid)) for g in shown]
    gains = [explain(in_place(mean_of(p), g, grid)) for p, g in zip(pairs, shown, strict=True)]
    gains.append(explain(mean_of(mixtures)))
    for i, (group, pair) in enumerate(zip(shown, pairs, strict=True)):
        if name is not None or not any(_refuse(gains[i], other) for other in gains[i + 1 :]):
            return group, pair, _note_on(group, gains[i], gains[-1], True, name is not None)
    return groups[-1], mixtures, _note_on(shown[0], gains[0], gains[-1], False, False)


def _refuse(gains: Tensor, other: Tensor) -> bool:
    """Whether images are explained worse than by another map."""
    lost = (other - gains).double()
    return float(lost.mean()) > CERTAIN * float(lost.std()) / math.sqrt(len(lost))


def _in_axes(mixture: GaussianMixture, group: PointGroup, grid: Grid) -> GaussianMixture:
    """A mixture turned to the axes of a group, and averaged over it."""
    centre = torch.from_numpy(group.centre * grid.pixel_size).to(mixture.means)
    rotation = torch.from_numpy(group.rotation).to(mixture.means)
    turned = replace(mixture, means=mixture.means - centre).rotated(rotation)
    share = turned.amplitudes / order_of(group.name)
    return replace(turned, amplitudes=share, symmetry=group.name)


def in_place(mixture: GaussianMixture, group: PointGroup, grid: Grid) -> GaussianMixture:
    """A mixture in the axes of a group, put back to where its map was before.

    Images kept apart are centred on that map; about another origin they would be looked at in the
    wrong places, which costs more than any symmetry.
    """
    centre = torch.from_numpy(group.centre * grid.pixel_size).to(mixture.means)
    back = mixture.rotated(torch.from_numpy(group.rotation.T.copy()).to(mixture.means))
    return replace(back, means=back.means + centre)


def poses_in_axes(
    rotations: Tensor, centres: Tensor, group: PointGroup, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Poses (n, 3, 3) and centres (n, 2), in box sides, for the map in the axes of a group.

    A point r of the map is at ``A r + c`` in the image; with ``r = Q^T r' + m`` that is
    ``A Q^T r' + (A m + c)``.
    """
    rotation = torch.from_numpy(group.rotation).to(rotations)
    middle = torch.from_numpy(group.centre / grid.box_size).to(rotations)
    return rotations @ rotation.T, centres + (rotations @ middle)[:, :2].to(centres)


NO_SYMMETRY = Note(
    "symmetry-none", "note",
    "No symmetry was found: under no rotation does one half-map match the other as well as without it.",
)  # fmt: skip


ROUND_NONE = Note(
    "symmetry-none", "note",
    "No symmetry was found: the map is nearly round, and by no group do held-out images gain.",
    "More images, or better ones, may show it.",
)  # fmt: skip


def _note_on(
    group: PointGroup, gains: Tensor, before: Tensor, kept: bool, named: bool, half_maps: str = ""
) -> Note:
    """What was found, or only ``named``, or why not."""
    half_maps = half_maps or (
        f"when one half-map is rotated, the agreement is {group.agreement:.2f} (1 as before, 0 as "
        f"after any rotation about the same axis)"
    )
    told = (
        f"{half_maps}; held-out images gain {float(gains.mean()):.2f} nats with the symmetry, "
        f"{float(before.mean()):.2f} without"
    )
    opening = f"The map has symmetry {group.name}, as far as it is resolved"
    if named:
        opening = f"The map was given symmetry {group.name}, about the axes that fit best"
    if kept:
        return Note(
            "symmetry-found", "note",
            f"{opening}: {told}. Map and poses are aligned to RELION's axes.",
            f"Continue with --symmetry {group.name}.",
        )  # fmt: skip
    return Note("symmetry-refused", "note", f"Symmetry {group.name} is only apparent: {told}.")
