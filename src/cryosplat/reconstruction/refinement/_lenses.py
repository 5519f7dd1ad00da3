"""A round's changes of the optics: defocus of every image, beam tilt and magnification of the groups.

Each is found from images under the map of their own half-set, and used where images of the *other*
half-set become likelier under that map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ...alignment import (
    DefocusSums,
    LensSlopes,
    OpenImages,
    Template,
    estimated_width,
    log_evidence_of,
    posterior_of,
    tells_defocus,
)
from ...alignment.lenses import LensEquations
from ...optics import Optics, OpticsGroup
from ...poses import Poses
from ...settings import RefinementSettings
from ._halves import HalfSets, sample
from ._judging import SAMPLE, Judgement, mean_of
from .values import OpticsChanges

CERTAIN = 3.0  # standard errors, of a gain and of a group's number
OPEN_DEFOCUS = 300.0
"""How well defocus is known at least, in Angstrom, where magnification is sought: a wrong one made it
wrong too."""
FEWEST = 50  # images of a half-set that say something of their group
LARGEST_TILT = 1e-3  # radian: what this does to phases must show
TELLING = 0.3  # radian of phase
OnBatch = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Looks:
    """Images of ``halves``, with the given optics, at ``poses``, and what they are held against."""

    halves: HalfSets
    poses: Poses
    judgement: Judgement
    on_batch: OnBatch

    def over(
        self, changes: OpticsChanges, rows: Tensor, half: int,
        work: Callable[[OpenImages, Template], T],
    ) -> list[T]:  # fmt: skip
        """``work`` on blocks of the images ``rows`` and the map of ``half``, with changed optics."""
        template, changed = self.judgement.templates[half], self.halves.through(changes)
        parts = changed.over(
            self.poses, rows, lambda images, _: work(images, template), self.on_batch, OpenImages.of
        )
        return [found for found, _ in parts]

    def each(
        self, changes: OpticsChanges, rows: Tensor, half: int,
        work: Callable[[OpenImages, Template], Tensor],
    ) -> Tensor:  # fmt: skip
        """The same of each of the images ``rows``, in their order."""
        template, changed = self.judgement.templates[half], self.halves.through(changes)
        return changed.each(
            self.poses, rows, lambda images, _: work(images, template), self.on_batch, OpenImages.of
        )

    def known(self, rows: Tensor) -> Tensor:
        """Those of the particles ``rows`` that are no junk and whose CTF is still open."""
        open_ = have_open_ctf(self.halves.particles.optics)[rows]
        return rows[open_ & self.halves.kept(rows)]


def have_open_ctf(optics: Optics) -> Tensor:
    """Which images (n,) have a CTF that was not applied to them when they were stored."""
    of_group = torch.tensor([g.processing == "none" and not _has_none(g) for g in optics.groups])
    return of_group[optics.group]


def _has_none(group: OpticsGroup) -> bool:
    return group.amplitude_contrast == 1.0 and group.spherical_aberration == 0.0


def with_defocus(looks: Looks, before: OpticsChanges, how: RefinementSettings) -> OpticsChanges:
    """The changes of defocus anew, from the given values on: none where unseen images gain nothing."""
    lenses = before.without_defocus()
    bare = replace(lenses, width=0.0)
    limit = looks.judgement.templates[0].limit
    groups = looks.halves.particles.optics.groups
    if not how.defocus or not any(tells_defocus(g.wavelength, limit) for g in groups):
        return bare
    profiles = []
    for half in (0, 1):  # an image's own map holds it, with the defocus that it has, and says: stay
        rows = sample(looks.known(looks.halves.members(1 - half)), SAMPLE)
        if len(rows) < FEWEST:
            return bare
        profiles.append(looks.each(lenses, rows, half, _profile))
    profile = torch.cat(profiles)
    width = estimated_width(profile)
    gain, error = mean_of(log_evidence_of(profile, width) - log_evidence_of(profile, 0.0))
    told = {**before.gains, "defocus": (gain, error)}
    if not gain > CERTAIN * error:
        return replace(bare, gains=told)
    changes = torch.zeros_like(before.defocus)
    for half in (0, 1):
        rows = looks.halves.members(half)
        rows = rows[have_open_ctf(looks.halves.particles.optics)[rows]]
        if not len(rows):
            continue
        changes[rows] = looks.each(lenses, rows, half, partial(_posterior_means, width=width))
    return replace(before, defocus=changes, width=width, gains=told)


def integrated(
    halves: HalfSets, poses: Poses, changes: OpticsChanges, rows: Tensor, template: Template,
    on_batch: OnBatch,
) -> Tensor:  # fmt: skip
    """What the likelihoods of images ``rows`` become where their defocus is only known to be near the
    given one: differences (m,) from those with the changes that were found. 0 where it stays."""
    differences = torch.zeros(len(rows), dtype=torch.float64)
    seen = have_open_ctf(halves.particles.optics)[rows]
    if changes.width <= 0.0 or not bool(seen.any()):
        return differences

    def work(images: OpenImages, index: Tensor) -> Tensor:
        sums = DefocusSums.of(images, template)
        there = sums.at(changes.defocus[index])
        return log_evidence_of(sums.profile(), changes.width) - there

    lenses = halves.through(changes.without_defocus())
    differences[seen] = lenses.each(poses, rows[seen], work, on_batch, OpenImages.of)
    return differences


def with_lenses_refined(
    looks: Looks, before: OpticsChanges, shift_width: float, how: RefinementSettings
) -> OpticsChanges:
    """The numbers of the optics groups anew, from where they are.

    The scale of the map is that of the largest group: the others' magnification is relative to it.
    """
    optics = looks.halves.particles.optics
    unknowns = _unknowns(looks, how)
    if not any(unknowns.values()):
        return before
    widths, n = (shift_width, max(before.width, OPEN_DEFOCUS)), len(optics.groups)
    own: list[LensEquations] = []
    for half in (0, 1):
        rows = looks.known(looks.halves.members(half))
        work = partial(_equations, n_groups=n, widths=widths)
        parts = looks.over(before, rows, half, work)
        if not parts:
            return before
        total = parts[0]
        for part in parts[1:]:
            total = total.plus(part)
        own.append(total)
    step, errors = own[0].plus(own[1]).step()
    present = have_open_ctf(optics) & looks.halves.kept(torch.arange(len(optics)))
    seen = torch.bincount(optics.group[present], minlength=n) > 0
    errors = torch.where(seen[:, None], errors, math.nan)
    lenses, told = before.lenses.clone(), dict(before.gains)
    uncertain = before.errors.clone()
    for name, used in unknowns.items():
        if not used:
            continue
        columns = torch.tensor(_COLUMNS[name])
        uncertain[:, columns] = errors[:, columns]
        wanted = _relative(name, before.lenses[:, columns] + step[:, columns], optics)
        if not bool((wanted.abs() > CERTAIN * errors[:, columns]).any()):
            lenses[:, columns] = 0.0
            continue
        differences, group = _gains(looks, before, own, columns, widths)
        told[name] = mean_of(differences)
        helped = torch.zeros(n, 1, dtype=torch.bool)
        for number in range(n):
            some = differences if name == "magnification" else differences[group == number]
            gain, error = mean_of(some)
            helped[number] = gain > CERTAIN * error
        total = before.lenses[:, columns] + step[:, columns] * helped
        total = _relative(name, total, optics)
        sure = (total.abs() > CERTAIN * errors[:, columns]).any(1, keepdim=True)
        lenses[:, columns] = torch.where(sure, total, 0.0)
    return replace(before, lenses=lenses, errors=uncertain, gains=told)


def _relative(name: str, values: Tensor, optics: Optics) -> Tensor:
    """Magnifications relative to that of the largest group; tilts as they are."""
    return values - values[_largest(optics)] if name == "magnification" else values


_COLUMNS = {"beam tilt": [0, 1], "magnification": [2]}


def _unknowns(looks: Looks, how: RefinementSettings) -> dict[str, bool]:
    """What the groups' images may say anything of."""
    optics = looks.halves.particles.optics
    limit = looks.judgement.templates[0].limit
    turn = max(
        2.0 * math.pi * g.spherical_aberration * g.wavelength**2 * limit**3 * LARGEST_TILT
        for g in optics.groups
    )
    counts = [
        torch.bincount(optics.group[looks.known(looks.halves.members(h))], minlength=1)
        for h in (0, 1)
    ]
    several = all(int((count >= FEWEST).sum()) > 1 for count in counts)
    enough = all(int(count.sum()) >= FEWEST for count in counts)
    return {
        "beam tilt": how.beam_tilt and turn > TELLING and enough,
        "magnification": how.magnification and several,
    }


def _gains(
    looks: Looks,
    before: OpticsChanges,
    own: list[LensEquations],
    columns: Tensor,
    widths: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """By how much images gain from the numbers that the other half-set gives, and their groups."""
    differences, groups = [], []
    for half in (0, 1):
        rows = sample(looks.known(looks.halves.members(1 - half)), SAMPLE)
        lenses = before.lenses.clone()
        lenses[:, columns] += own[half].step()[0][:, columns]
        work = partial(_evidence, widths=widths)
        old, new = (
            looks.each(changes, rows, half, work)
            for changes in (before, replace(before, lenses=lenses))
        )
        differences.append(new - old)
        groups.append(looks.halves.particles.optics.group[rows])
    return torch.cat(differences), torch.cat(groups)


def _largest(optics: Optics) -> int:
    return int(torch.bincount(optics.group, minlength=len(optics.groups)).argmax())


def _profile(images: OpenImages, template: Template) -> Tensor:
    return DefocusSums.of(images, template).profile()


def _posterior_means(images: OpenImages, template: Template, width: float) -> Tensor:
    return posterior_of(_profile(images, template), width)[0]


def _equations(
    images: OpenImages, template: Template, n_groups: int, widths: tuple[float, float]
) -> LensEquations:
    return LensSlopes.of(images, template).equations(n_groups, widths)


def _evidence(images: OpenImages, template: Template, widths: tuple[float, float]) -> Tensor:
    return LensSlopes.of(images, template).log_evidence(widths)
