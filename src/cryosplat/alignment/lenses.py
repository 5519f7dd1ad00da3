"""Beam tilt and magnification of optics groups: what images say of them beside shift and defocus.

The unknowns of an image are its shift, its defocus, and, shared with its group, a beam tilt and a
magnification. All are small: one step of Gauss and Newton from where they are, the image's own
unknowns taken out (Schur's complement), as a tilt is mostly a shift, and a magnification a defocus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..arrays import Columns
from ..optics import Optics, added, beam_tilt, image_frequencies
from .contrast import STRETCH, OpenImages, waves
from .template import Template

OWN, SHARED = 3, 3
"""Unknowns of an image, shift (x, y) in Angstrom and defocus in Angstrom; of its group, beam tilt
(x, y) in radian and the logarithm of its magnification: frequency k is sampled at ``exp(m) k``."""
_WIDEST = (3e-3, 3e-3, 0.1)  # of the group's unknowns, a prior that only keeps equations solvable


@dataclass(frozen=True, slots=True)
class LensSlopes(Columns):
    """Of n images ``likelihood`` (n,) above that of noise alone, and its ``gradient`` (n, 6) and
    ``curvature`` (n, 6, 6) by the image's own unknowns and its group's; ``group`` (n,)."""

    likelihood: Tensor
    gradient: Tensor
    curvature: Tensor
    group: Tensor

    @staticmethod
    def of(images: OpenImages, template: Template) -> LensSlopes:
        """Those of images with the map of a template, where the images are."""
        pair = images.counts()
        values = images.ready.values
        weight = values[..., 2] * pair
        model, slopes = _derivatives(images, template)
        matched = torch.view_as_complex(values[..., :2].contiguous()) * pair
        rest = matched - weight * model
        likelihood = _product(model, matched) - 0.5 * _product(model, weight * model)
        gradient = torch.stack([_product(slope, rest) for slope in slopes], 1)
        curvature = gradient.new_zeros(len(images), OWN + SHARED, OWN + SHARED)
        for i, a in enumerate(slopes):
            weighed = weight * a
            for j, b in enumerate(slopes[: i + 1]):
                curvature[:, i, j] = curvature[:, j, i] = _product(b, weighed)
        parts = likelihood, gradient, curvature, images.optics.group
        return LensSlopes(*(part.cpu() for part in parts))

    def equations(self, n_groups: int, widths: tuple[float, float]) -> LensEquations:
        """What all images say of the groups, their own unknowns taken out.

        ``widths`` of the priors on shift and defocus about where they are, in Angstrom; 0 for known.
        """
        own = _within(self.curvature[:, :OWN, :OWN], widths)
        cross = self.curvature[:, OWN:, :OWN]
        solved = torch.linalg.solve(own, cross.transpose(1, 2)).transpose(1, 2)  # (n, 3, 3)
        known = (solved[:, :, None] * cross[:, None]).sum(-1)
        right = self.gradient[:, OWN:] - (solved * self.gradient[:, None, :OWN]).sum(-1)
        matrix = self.curvature[:, OWN:, OWN:] - known
        total = LensEquations(
            matrix.new_zeros(n_groups, SHARED, SHARED), right.new_zeros(n_groups, SHARED)
        )
        total.matrix.index_add_(0, self.group, matrix)
        total.right.index_add_(0, self.group, right)
        return total

    def log_evidence(self, widths: tuple[float, float]) -> Tensor:
        """Log-likelihoods (n,) of images of which shift and defocus are known up to ``widths``."""
        gradient = self.gradient[:, :OWN]
        own = _within(self.curvature[:, :OWN, :OWN], widths)
        reached = (gradient * torch.linalg.solve(own, gradient)).sum(1)
        return self.likelihood + 0.5 * (reached - torch.linalg.slogdet(own)[1])


@dataclass(frozen=True, slots=True)
class LensEquations:
    """``matrix`` (g, 3, 3) and ``right`` (g, 3) of a step of the groups' unknowns."""

    matrix: Tensor
    right: Tensor

    def plus(self, other: LensEquations) -> LensEquations:
        """Of the images of both."""
        return LensEquations(self.matrix + other.matrix, self.right + other.right)

    def step(self) -> tuple[Tensor, Tensor]:
        """The step (g, 3), and the standard errors of what it leads to (g, 3)."""
        matrix = self.matrix + torch.diag(torch.tensor(_WIDEST, dtype=torch.float64) ** -2)
        scale = matrix.diagonal(dim1=1, dim2=2).rsqrt()
        scaled = matrix * scale[:, :, None] * scale[:, None]
        step = torch.linalg.solve(scaled, self.right * scale) * scale
        errors = torch.linalg.inv(scaled).diagonal(dim1=1, dim2=2).sqrt() * scale
        return step, errors


def with_lenses(optics: Optics, changes: Tensor) -> Optics:
    """Optics whose groups have ``changes`` (g, 3) of beam tilt and of magnification's logarithm."""
    groups = []
    for group, (x, y, stretch) in zip(optics.groups, changes.tolist(), strict=True):
        odd = added(group.odd, beam_tilt(group, x, y)) if x or y else group.odd
        a, b, c, d = (m * math.exp(stretch) for m in group.magnification)
        groups.append(replace(group, odd=odd, magnification=(a, b, c, d)))
    return replace(optics, groups=tuple(groups))


def _derivatives(images: OpenImages, template: Template) -> tuple[Tensor, list[Tensor]]:
    """The images' model (n, d, d // 2 + 1), its derivatives by shift, defocus, tilt, and stretch."""
    box, optics = images.ready.box_size, images.optics
    slices = images.slices(template)
    model, by_defocus = torch.zeros_like(slices), torch.zeros_like(slices)
    sides = [torch.zeros_like(slices) for _ in range(2)]
    turns = torch.zeros(4, *slices.shape, device=slices.device)
    stretched = [images.slices(template, s) for s in (STRETCH, 1.0 / STRETCH)]
    moved = [
        with_lenses(optics, torch.tensor([[0.0, 0.0, sign * math.log(STRETCH)]] * len(optics.groups)))
        for sign in (1.0, -1.0)
    ]  # fmt: skip
    for rows, own, places in images.by_group():
        group = own.groups[int(own.group[0])]
        squared = places.square().sum(-1)
        c, s = waves(own, box)
        model[rows] = slices[rows] * c
        by_defocus[rows] = slices[rows] * s * (math.pi * group.wavelength * squared).float()
        for side, there, lens in zip(sides, stretched, moved, strict=True):
            side[rows] = there[rows] * waves(lens.select(rows), box)[0]
        coma = -2.0 * math.pi * group.spherical_aberration * group.wavelength**2 * squared
        phases = 2.0 * math.pi * image_frequencies(own, box), coma[..., None] * places
        turns[:2, rows], turns[2:, rows] = (
            phase.permute(2, 0, 1)[:, None].float().expand(2, len(rows), *squared.shape)
            for phase in phases
        )
    by_shift_x, by_shift_y, by_tilt_x, by_tilt_y = (1j * model * turn for turn in turns)
    by_stretch = (sides[0] - sides[1]) / (2.0 * math.log(STRETCH))
    return model, [by_shift_x, by_shift_y, by_defocus, by_tilt_x, by_tilt_y, by_stretch]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``sum Re conj(a) b`` of every image, (n,) float64."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).sum((1, 2, 3), dtype=torch.float64)


def _within(curvature: Tensor, widths: tuple[float, float]) -> Tensor:
    """With the precisions of the priors on shift and defocus."""
    shift, defocus = (max(w, 1e-6) ** -2 for w in widths)
    return curvature + torch.diag(torch.tensor([shift, shift, defocus], dtype=torch.float64))
