"""Uncertainty of every Gaussian of the full map, from two half-maps.

Independent fits start at different positions and share the density differently among their Gaussians,
so pairing Gaussians would measure the freedom of the fits and not the noise of the data. The halves
must agree on density. Each Gaussian of the full map is therefore used as a window
``N(r; mu_g, Sigma_g)`` on both half-maps:

    mass     m   = sum_r N V               (for a lone Gaussian proportional to its amplitude)
    centroid c   = sum_r N V (r - mu) / m  (for a lone Gaussian moved by d it moves by d / 2)

``d = 2 (c1 - c2)`` is then the distance between the halves' positions, and ``(m1 - m2) / m`` the
relative difference of their amplitudes. The full map is like the mean of the two halves, so its
standard deviation is half their difference, ``|d| / (2 sqrt 3)`` along each axis.

A single difference is one draw from the distribution whose width is sought. The noise of mass and
first moment varies little between neighbouring Gaussians, the mass much; so the root mean square of
the former over 64 neighbours is divided by the Gaussian's own mass. Errors that both halves share
(wrong poses, the mixture's smoothness) are not included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..grid import Grid
from ..mixture import GaussianMixture
from ..splatting import voxelize

NEIGHBOURS = 64
NARROWEST = 0.5  # pixels: a narrower window would fall between the voxels
LONE_GAUSSIAN = 2.0  # over its centroid's displacement in a window of its own shape
LEAST_MASS = 1e-3  # of the median; anything less is taken as this
LARGEST_CHANGE = 0.5  # of a matched Gaussian's mass, between a half and the mean of both


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Standard deviations of k Gaussians, each (k,) float32, finite.

    ``position`` in Angstrom along each axis, at most the Gaussian's own width; ``amplitude``
    relative to the local density, at most 1. ``matched``: both halves have density there, displaced
    by less than the Gaussian's width and changed by less than half.
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

    The half-maps come from the half mixtures, or are any two maps of independent halves on the scale
    of the full map. They share the map's symmetry, so the result of a stored Gaussian holds for its
    copies.

    Raises
    ------
    InputError
        A half-map is not a cube of the grid's box size, or not finite.
    """
    for name, volume in (("first", half1), ("second", half2)):
        grid.check_cube(volume, f"mixture_uncertainty: the {name} half-map")
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
    present = (masses > 0).all(0)
    spread = torch.where(present, distance / (2.0 * math.sqrt(3.0)), width).minimum(width)
    neighbours = _neighbours(full)
    position = (spread * mass)[neighbours].square().mean(1).sqrt() / mass
    amplitude = (change * mass)[neighbours].square().mean(1).sqrt() / mass
    return Uncertainty(
        position=position.minimum(width),
        amplitude=amplitude.clamp_max(1.0),
        matched=present & (distance < width) & (change < LARGEST_CHANGE),
    )


def _moments(
    mixture: GaussianMixture, maps: tuple[Tensor, ...], grid: Grid
) -> tuple[Tensor, Tensor]:
    """Mass (m, k) and first moment (m, k, 3) in Angstrom of m maps in the window of every Gaussian.

    The derivatives of ``sum V voxelize(mixture)`` by amplitudes of 1 are the masses, those by the
    means ``Sigma^-1`` times the moments.
    """
    with torch.enable_grad():
        window = replace(
            mixture,
            means=mixture.means.detach().float().requires_grad_(),
            scales=mixture.scales.detach().float().clamp_min(NARROWEST * grid.pixel_size),
            quaternions=mixture.quaternions.detach().float(),
            amplitudes=torch.ones(len(mixture), requires_grad=True),
            symmetry="C1",  # one window per stored Gaussian
        )
        density = voxelize(window, grid)
        gradients = [
            torch.autograd.grad(
                (volume.detach().float() * density).sum(),
                (window.amplitudes, window.means),
                retain_graph=True,
            )
            for volume in maps
        ]
    masses, slopes = (torch.stack(part) for part in zip(*gradients, strict=True))
    covariances = window.covariances()
    return masses, (covariances @ slopes[..., None]).squeeze(-1)


def _neighbours(mixture: GaussianMixture) -> Tensor:
    """The nearest Gaussians of the map to each stored one, itself included, (k, 64 or fewer).

    As indices of the stored Gaussians of which they are copies.
    """
    centres = mixture.whole().means.detach().double().numpy()
    k, count = len(mixture), min(NEIGHBOURS, len(centres))
    _, index = cKDTree(centres).query(centres[:k], k=count, workers=torch.get_num_threads())
    return torch.from_numpy(index).reshape(k, count) % k
