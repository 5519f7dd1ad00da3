"""Images as statistics take them: multiplied by their response and divided by the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..errors import SettingsError
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import ISOTROPIC, Optics, weigh
from ._identity import number_of


def transforms_of(batch: Batch, noise: NoiseModel) -> Tensor:
    """``rfft2`` of the images of a batch, normalised as the noise model says."""
    return fourier.transform(noise.normalised(batch), 2)


def radii_of(optics: Optics, box: int, grid: Grid) -> Tensor:
    """The first frequency, in steps of images of ``box``, that image or map cannot hold, (n,)."""
    ratio = grid.side / (optics.of_group("pixel_size") * box)
    matrices = torch.tensor([g.magnification for g in optics.groups], dtype=torch.float64)
    norms = torch.linalg.matrix_norm(matrices.reshape(-1, 2, 2), 2)[optics.group]
    stretch = (norms - 1e-9).clamp_min(1.0)
    return (0.5 * grid.box_size / ratio / stretch).clamp_max(0.5 * box)


def weighted_images(batch: Batch, grid: Grid, noise: NoiseModel) -> WeightedImages:
    """The images of a batch, each moved to the rotation centre, for a map on ``grid``.

    Raises `SettingsError` for images of several pixel sizes or with anisotropic magnification.
    """
    groups = batch.optics.present()[0]
    if len({g.pixel_size for g in groups}) > 1 or any(g.magnification != ISOTROPIC for g in groups):
        raise SettingsError(
            "weighted_images: the images have several pixel sizes or anisotropic magnification, "
            "expected one pixel size for all. Remedy: take one optics group at a time."
        )
    precision = noise.precision(batch.box_size)
    radii = radii_of(batch.optics, batch.box_size, grid)
    ready = weigh(
        transforms_of(batch, noise), batch.poses.shifts, batch.optics, precision, radii
    )  # fmt: skip
    return WeightedImages(
        torch.view_as_complex(ready.values[..., :2].contiguous()),
        ready.values[..., 2].contiguous(),
        groups[0].pixel_size,
        float(radii.min()),
        ready.energy,
        ready.n_frequencies.double(),
        torch.ones(len(batch), dtype=torch.float64),
        len(batch),
    )


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class WeightedImages:
    """n images of one box and pixel size, or sums over images, ready to be spread and compared.

    ``values`` (n, d, d // 2 + 1) complex: ``conj(H) y / s^2`` with the response H, which holds the
    CTF, the shift and odd aberrations, so that the particle lies at the rotation centre;
    ``precisions`` (n, d, d // 2 + 1) real: ``|H|^2 / s^2``; both the ``rfft2`` of real
    images.
    Frequencies of ``radius`` and beyond, in steps of ``1 / (d pixel_size)``, do not count. The
    log-likelihood of image i under a slice S of a map is ``sum_k (Re[values conj(S)] - precisions
    |S|^2 / 2) - energy``, over both members of every Friedel pair.

    ``energy``, ``n_frequencies`` and ``weight`` (n,), and ``n_images``, are what their sum adds to
    the statistics' numbers of these names; left out, they are zero.
    """

    values: Tensor
    precisions: Tensor
    pixel_size: float
    radius: float = math.inf
    energy: Tensor = field(default_factory=_none)
    n_frequencies: Tensor = field(default_factory=_none)
    weight: Tensor = field(default_factory=_none)
    n_images: int = 0

    def __post_init__(self) -> None:
        shape = tuple(self.values.shape)
        d = shape[1] if len(shape) == 3 else 0
        if len(shape) != 3 or shape[2] != d // 2 + 1 or tuple(self.precisions.shape) != shape:
            raise SettingsError(
                f"WeightedImages: values have shape {shape} and precisions "
                f"{tuple(self.precisions.shape)}, expected (n, d, d // 2 + 1) for both."
            )
        if not self.values.is_complex() or self.precisions.is_complex():
            raise SettingsError(
                f"WeightedImages: values are {self.values.dtype} and precisions "
                f"{self.precisions.dtype}, expected complex and real numbers."
            )
        Grid(d, self.pixel_size)  # raises for a pixel size outside its range
        if not self.radius > 0.0:
            raise SettingsError(f"WeightedImages: radius is {self.radius}, expected above 0.")
        object.__setattr__(self, "radius", min(float(self.radius), 0.5 * d))
        for name in ("energy", "n_frequencies", "weight"):
            column = getattr(self, name).double()
            column = column if len(column) else self.precisions.new_zeros(shape[0]).double()
            if tuple(column.shape) != (shape[0],) or not bool(column.isfinite().all()):
                raise SettingsError(
                    f"WeightedImages: {name} is not {shape[0]} finite numbers, one for each image."
                )
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def box_size(self) -> int:
        """Side of the images in pixels."""
        return self.values.shape[1]

    def summed(self, weights: Tensor) -> WeightedImages:
        """One sum of images for each orientation: ``sum_i weights[i, o] image_i``.

        ``weights`` (n, o): the posterior of orientation o for image i, finite and at least 0. The
        sums count as these images, spread at each orientation with its weight.
        """
        if weights.dim() != 2 or len(weights) != len(self):
            raise SettingsError(
                f"WeightedImages.summed: weights have shape {tuple(weights.shape)}, expected "
                f"({len(self)}, o)."
            )
        if not bool((weights.isfinite() & (weights >= 0.0)).all()):
            raise SettingsError(
                "WeightedImages.summed: weights hold numbers that are negative or not finite."
            )
        each = weights.T.to(self.precisions)
        parts = torch.view_as_real(self.values).flatten(1)
        values = (each @ parts).reshape(-1, *self.values.shape[1:], 2)
        precisions = (each @ self.precisions.flatten(1)).reshape(-1, *self.precisions.shape[1:])
        columns = torch.stack([self.energy, self.n_frequencies, self.weight], 1)
        energy, n_frequencies, weight = (weights.T.double() @ columns).unbind(1)
        return WeightedImages(
            torch.view_as_complex(values), precisions, self.pixel_size, self.radius, energy,
            n_frequencies, weight, int((weights > 0.0).any(1).sum()),
        )  # fmt: skip

    def hash_with(self, rotations: Tensor) -> int:
        """A number modulo the prime from all that is in these images and their rotations."""
        scale = torch.tensor([self.pixel_size, self.radius], dtype=torch.float64)
        parts = (scale, torch.view_as_real(self.values), self.precisions, rotations.double())
        return number_of(b"".join(part.contiguous().cpu().numpy().data for part in parts))
