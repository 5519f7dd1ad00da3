"""Where a mixture begins: in the voxel solution of its own statistics, or at random."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor

from .. import fourier
from ..mixture import GaussianMixture, quaternions_to_matrices
from ..splatting import voxelize
from ..statistics import QuadraticForm, shell_means, solve
from ..symmetry import order_of, stored
from .images.data import ImageData, grey_level

POSITION_STEPS = 8  # conjugate-gradient steps of the solution that positions are drawn from
SMOOTHING = 1.0  # pixels
SPREAD = 0.075  # CryoSplat: standard deviation of the positions, in boxes
WIDTH = 0.0075  # CryoSplat: of a Gaussian, in boxes


def density(form: QuadraticForm) -> Tensor:
    """Positive part of the smoothed regularised solution, above the noise of the cube's corners.

    Zero outside the sphere that the cube holds; (side, side, side).
    """
    means = shell_means(form)
    penalty = np.full(len(means), 0.05 * float(form.transfer.mean()))
    solution = solve(form, penalty, POSITION_STEPS)
    smooth = torch.from_numpy(scipy.ndimage.gaussian_filter(solution.cpu().numpy(), SMOOTHING))
    smooth = smooth.to(solution.device)
    distance = fourier.distances(tuple(smooth.shape), smooth.device)
    outside = smooth[distance > 0.9 * form.grid.box_size / 2]
    level = 2.0 * outside.std()
    return torch.where(distance < form.grid.box_size / 2, (smooth - level).clamp_min(0.0), 0.0)


def effective_voxels(positive: Tensor) -> float:
    """How many voxels a non-negative density occupies: ``(sum x)^2 / sum x^2``."""
    return float(positive.sum().square() / positive.square().sum().clamp_min(1e-30))


def start_in_density(
    form: QuadraticForm,
    positive: Tensor,
    k: int,
    scale: float,
    generator: torch.Generator,
    symmetry: str = "C1",
) -> GaussianMixture:
    """Equal Gaussians, ``scale`` pixels wide, drawn from a density and brought to scale.

    ``k`` of the whole map: with a ``symmetry``, those of one asymmetric unit are drawn from all of
    the density, which should have it.
    """
    means = _draw(positive.cpu(), stored(k, symmetry), generator) * form.grid.pixel_size
    return _equal(form, means, scale * form.grid.pixel_size, generator, symmetry)


def start_at_random(
    form: QuadraticForm,
    k: int,
    radius: float,
    scale: float,
    generator: torch.Generator,
    symmetry: str = "C1",
) -> GaussianMixture:
    """Equal Gaussians normally distributed around the rotation centre (CryoSplat, section 4).

    ``k`` of the whole map; ``radius``: standard deviation of the positions in Angstrom; ``scale`` in
    pixels.
    """
    means = radius * torch.randn(stored(k, symmetry), 3, generator=generator)
    limit = 0.45 * form.grid.side
    means = means.clamp(-limit, limit)
    return _equal(form, means, scale * form.grid.pixel_size, generator, symmetry)


def paper_start(
    data: ImageData, gaussians: int, generator: torch.Generator, symmetry: str = "C1"
) -> GaussianMixture:
    """CryoSplat's random start (section 4), in the grey scale of the images.

    In a box of [-1/2, 1/2]: positions normal with deviation 0.075, widths 0.0075, amplitudes
    1 / (2 k), where a mixture of amplitude 1 gives an image a mean of the images' grey level.
    ``gaussians``: k, of the whole map.
    """
    side, k = data.grid.side, stored(gaussians, symmetry)
    mass = grey_level(data) * data.grid.box_size**2
    return GaussianMixture(
        SPREAD * side * torch.randn(k, 3, generator=generator),
        torch.full((k, 3), WIDTH * side),
        torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(k, 1),
        torch.full((k,), mass / (2 * k * order_of(symmetry))),
        symmetry,
    )


def redraw(
    form: QuadraticForm, mixture: GaussianMixture, k: int, scale: float, generator: torch.Generator
) -> GaussianMixture:
    """`heirs` of a mixture, ``scale`` pixels wide, brought to the scale of the data."""
    grid = form.grid
    found = heirs(mixture, k, scale * grid.pixel_size, grid.side, generator)
    return _brought_to_scale(form, found.to(form.linear.device))


def heirs(
    mixture: GaussianMixture, k: int, width: float, side: float, generator: torch.Generator
) -> GaussianMixture:
    """``k`` equal Gaussians of the whole map, with positions drawn from a mixture and its mass.

    Splitting, pruning and relocation in one: heavy Gaussians get many heirs, weak ones none.
    ``width`` of each and ``side`` of the box in Angstrom.
    """
    k = stored(k, mixture.symmetry)
    parent = torch.multinomial(mixture.amplitudes.cpu(), k, replacement=True, generator=generator)
    chosen = mixture.select(parent.to(mixture.means.device))
    offsets = chosen.scales * torch.randn(k, 3, generator=generator).to(chosen.scales)
    axes = quaternions_to_matrices(chosen.quaternions)
    limit = 0.45 * side
    means = (chosen.means + torch.einsum("gij,gj->gi", axes, offsets)).clamp(-limit, limit)
    return _alike(means, width, mixture.amplitudes.sum(), generator, mixture.symmetry)


def _equal(
    form: QuadraticForm, means: Tensor, scale: float, generator: torch.Generator, symmetry: str
) -> GaussianMixture:
    means = means.to(form.linear)
    return _brought_to_scale(form, _alike(means, scale, 1.0, generator, symmetry))


def _alike(
    means: Tensor, scale: float, mass: Tensor | float, generator: torch.Generator, symmetry: str
) -> GaussianMixture:
    """Equal Gaussians of ``mass`` in all, each with axes of its own."""
    k = len(means)
    quaternions = torch.randn(k, 4, generator=generator) * 0.01 + torch.tensor([1.0, 0, 0, 0])
    return GaussianMixture(
        means, torch.full_like(means, scale),
        torch.nn.functional.normalize(quaternions, dim=-1).to(means),
        torch.full_like(means[:, 0], 1.0 / k) * mass, symmetry,
    )  # fmt: skip


def _brought_to_scale(form: QuadraticForm, mixture: GaussianMixture) -> GaussianMixture:
    """With the mass that explains the data best."""
    unit = replace(mixture, amplitudes=mixture.amplitudes / mixture.amplitudes.sum())
    mass = form.line_search(voxelize(unit, form.grid))
    if not math.isfinite(mass) or mass <= 0.0:
        mass = 1e-3 * float(form.linear.abs().max() / form.transfer.max())
    return replace(unit, amplitudes=unit.amplitudes * mass)


def _draw(positive: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """``k`` positions (x, y, z) in pixels from the centre, spread evenly inside their voxels."""
    side = positive.shape[0]
    cumulative = torch.cumsum(positive.flatten().double(), 0)
    if float(cumulative[-1]) <= 0.0:
        return torch.randn(k, 3, generator=generator) * (side / 6)
    levels = torch.rand(k, generator=generator, dtype=torch.float64) * cumulative[-1]
    index = torch.searchsorted(cumulative, levels).clamp_max(side**3 - 1)
    z, y, x = index // side**2, index // side % side, index % side
    jitter = torch.rand(k, 3, generator=generator) - 0.5
    return torch.stack([x, y, z], -1).float() - side // 2 + jitter
