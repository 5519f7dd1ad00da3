"""How well two half-sets agree on every Gaussian of the full map.

Gaussians of independent fits start at different places and share the density differently, so that
pairing them one to one would measure the fits' freedom and not the data's noise. What the halves
must agree on is the density each Gaussian stands for. Every Gaussian of the full map is therefore
a window, ``N(r; mu_g, Sigma_g)``, through which both half-maps are looked at:

    mass     m   = sum_r N V               (for a lone Gaussian proportional to its amplitude)
    centroid c   = sum_r N V (r - mu) / m  (for a lone Gaussian moved by d it moves by d / 2)

so that ``d = 2 (c1 - c2)`` is how far apart the halves see it, and ``(m1 - m2) / m`` by how much
their amplitudes differ. The full map is like the mean of two halves of half the data each: its
standard deviation is half the difference of the two, ``|d| / (2 sqrt 3)`` along each axis.

A single difference is one draw from the distribution whose width is wanted. The noise in mass and
in first moment varies little from one Gaussian to the next, while the mass varies much; so the root
mean square over 64 neighbours is taken of these, and then divided by the Gaussian's own mass.
What both halves have in common (wrong poses, the mixture's smoothness) is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..errors import InputError
from ..grid import Grid
from ..mixture import GaussianMixture
from ..splatting import voxelize

NEIGHBOURS = 64
NARROWEST = 0.5  # pixels: a narrower window falls between the voxels
LONE_GAUSSIAN = 2.0  # a window of its own shape sees half of its displacement
LEAST_MASS = 1e-3  # of the median: less counts as nothing there
LARGEST_CHANGE = 0.5  # of a matched Gaussian's mass, between a half and the mean of both


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Standard deviations of k Gaussians, each (k,) float32, finite.

    ``position`` in Angstrom along each axis, at most the Gaussian's own width; ``amplitude``
    relative to the density there, at most 1. ``matched``: both halves hold it, moved by less than
    its own width and changed by less than half.
    """

    position: Tensor
    amplitude: Tensor
    matched: Tensor

    def summary(self) -> dict[str, Any]:
        """Share of matched Gaussians and the medians over all."""
        if not len(self.matched):
            return {"matched": 0.0, "median_position": None, "median_amplitude": None}
        return {
            "matched": float(self.matched.float().mean()),
            "median_position": float(self.position.median()),
            "median_amplitude": float(self.amplitude.median()),
        }


def mixture_uncertainty(
    full: GaussianMixture, half1: Tensor, half2: Tensor, grid: Grid
) -> Uncertainty:
    """Standard deviations of the stored Gaussians of ``full`` from half-maps (d, d, d) on ``grid``.

    The half-maps are those of the half mixtures, or any two maps of independent halves on the scale
    of the full map. Where the map has a symmetry they have it too, and what they say of a stored
    Gaussian holds for its copies.

    Raises
    ------
    InputError
        A half-map is not a cube of the grid's box size.
    """
    for name, volume in (("first", half1), ("second", half2)):
        if volume.shape != (grid.box_size,) * 3:
            raise InputError(
                f"mixture_uncertainty: the {name} half-map has shape {tuple(volume.shape)}, "
                f"expected a cube of {grid.box_size} voxels."
            )
    if not len(full):
        empty = torch.zeros(0)
        return Uncertainty(empty, empty, empty.bool())
    masses, moments = _moments(full, (half1, half2), grid)
    mass = masses.mean(0)
    mass = mass.clamp_min(LEAST_MASS * float(mass.median().clamp_min(1e-30)))
    centroids = LONE_GAUSSIAN * moments / masses.clamp_min(1e-30)[..., None]
    width = full.scales.float().prod(-1).pow(1.0 / 3.0)
    distance = (centroids[0] - centroids[1]).norm(dim=-1)
    change = ((masses[0] - masses[1]).abs() / (2.0 * mass)).clamp_max(1.0)
    held = (masses > 0).all(0)
    spread = torch.where(held, distance / (2.0 * math.sqrt(3.0)), width).minimum(width)
    neighbours = _neighbours(full)
    position = (spread * mass)[neighbours].square().mean(1).sqrt() / mass
    amplitude = (change * mass)[neighbours].square().mean(1).sqrt() / mass
    return Uncertainty(
        position=position.minimum(width),
        amplitude=amplitude.clamp_max(1.0),
        matched=held & (distance < width) & (change < LARGEST_CHANGE),
    )


def _moments(
    mixture: GaussianMixture, maps: tuple[Tensor, ...], grid: Grid
) -> tuple[Tensor, Tensor]:
    """Mass (m, k) and first moment (m, k, 3) in Angstrom of m maps seen through every Gaussian.

    ``L = sum V voxelize(mixture)`` with amplitudes 1 has the masses as its derivatives by the
    amplitudes, and ``Sigma^-1`` times the moments as those by the means.
    """
    with torch.enable_grad():
        window = replace(
            mixture,
            means=mixture.means.detach().float().requires_grad_(),
            scales=mixture.scales.detach().float().clamp_min(NARROWEST * grid.pixel_size),
            quaternions=mixture.quaternions.detach().float(),
            amplitudes=torch.ones(len(mixture), requires_grad=True),
            symmetry="C1",  # one window for each stored Gaussian
        )
        seen = voxelize(window, grid)
        found = [
            torch.autograd.grad(
                (volume.detach().float() * seen).sum(),
                (window.amplitudes, window.means),
                retain_graph=True,
            )
            for volume in maps
        ]
    masses, slopes = (torch.stack(part) for part in zip(*found, strict=True))
    covariances = window.covariances()
    return masses, (covariances @ slopes[..., None]).squeeze(-1)


def _neighbours(mixture: GaussianMixture) -> Tensor:
    """The nearest Gaussians of the map to each stored one, itself among them, (k, 64 or fewer).

    As positions among the stored ones, whose copies they are.
    """
    every = mixture.whole().means.detach().double().numpy()
    k, count = len(mixture), min(NEIGHBOURS, len(every))
    _, index = cKDTree(every).query(every[:k], k=count, workers=torch.get_num_threads())
    return torch.from_numpy(index).reshape(k, count) % k
