"""Symmetry that is looked for: the group, its worth for images kept apart, poses turned to its axes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..grid import Grid
from ..maps.point_group import PointGroup, find_point_group
from ..mixture import GaussianMixture, mean_of
from ..notes import Note
from ..splatting import voxelize
from ..symmetry import order_of

Pair = tuple[GaussianMixture, GaussianMixture]
TOLERATED = 0.03  # of the gain: what images kept apart may lose by symmetry


def symmetric(
    mixtures: Pair, grid: Grid, name: str | None = None
) -> tuple[PointGroup, Pair]:  # fmt: skip
    """The point group of two half-maps, and their mixtures in its axes with its symmetry.

    With a ``name``: the best axes for that group.
    """
    first, second = (voxelize(mixture, grid) for mixture in mixtures)
    group = find_point_group(first, second, name)
    if group.name == "C1":
        return group, mixtures
    return group, (_in_axes(mixtures[0], group, grid), _in_axes(mixtures[1], group, grid))


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


def worth_it(gain: float, before: float) -> bool:
    """Whether images kept apart are explained as well with the symmetry as before."""
    return gain >= before - TOLERATED * abs(before)


def note_on(group: PointGroup, kept: bool, gain: float, before: float) -> Note:
    """What was found, or why not."""
    if group.name == "C1":
        return Note(
            "symmetry-none", "note",
            "No symmetry was found: under no rotation does one half-map match the other as well as "
            "without it.",
        )  # fmt: skip
    told = (
        f"{100 * group.agreement:.0f} % of the half-maps' agreement remains when one is rotated; "
        f"held-out images gain {gain:.2f} nats with the symmetry, {before:.2f} without"
    )
    if kept:
        return Note(
            "symmetry-found", "note",
            f"The map has symmetry {group.name}, as far as it is resolved: {told}. Map and poses are "
            f"aligned to RELION's axes.",
            f"Continue with --symmetry {group.name}.",
        )  # fmt: skip
    return Note("symmetry-refused", "note", f"Symmetry {group.name} is only apparent: {told}.")


def both(mixtures: Pair) -> GaussianMixture:
    """The mean of two mixtures."""
    return mean_of(list(mixtures))
