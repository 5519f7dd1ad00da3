"""The forward model, and all of it: project, shift, apply the CTF.

An image is ``X(k) = C(k) exp(i odd(k) - 2 pi i k.c) V(A^T M k)``: a central slice of the map's
transform, moved to the particle's centre ``c = -shift`` and multiplied by the contrast transfer
function and the phases of odd aberrations (Penczek 2010; Zivanov et al. 2020; RELION's conventions
as in `poses` and `optics`; M is the magnification's matrix). All but the slice is
`optics.response`; a `Projector` makes the slices, of a voxel map or of a mixture of Gaussians, and
a `SolvatedProjector` those of a molecule in water.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from . import fourier, gridding
from .errors import SettingsError
from .grid import Grid
from .mixture import GaussianMixture
from .optics import Optics, form, seen_rotations
from .poses import Poses
from .solvent import Response, image_frequencies
from .splatting import project


class Projector(Protocol):
    """Anything that has central slices."""

    def slices(self, poses: Poses, pixel_size: float, box_size: int) -> Tensor:
        """Transforms (n, box_size, box_size // 2 + 1), complex, of the projections.

        ``rfft2`` layout, the phase origin at the rotation centre; shifts are not applied. The first
        two rows of ``poses.rotations`` may be stretched (`seen_rotations`). What lies at and beyond
        the image's Nyquist frequency is not read.
        """
        ...


class MixtureProjector:
    """Transforms of the splatted projections of a mixture, differentiable.

    The gradient reaches all parameters of the mixture and ``poses.rotations``. Slices are in the
    dtype of the mixture, complex.
    """

    def __init__(self, mixture: GaussianMixture) -> None:
        self.mixture = mixture

    def slices(self, poses: Poses, pixel_size: float, box_size: int) -> Tensor:
        """Transforms of the projections, as `Projector.slices`."""
        images = project(self.mixture, poses, Grid(box_size, pixel_size))
        return fourier.transform(torch.fft.ifftshift(images, (1, 2)), 2)


class VolumeProjector:
    """Central slices of a voxel map, differentiable: the adjoint of what statistics are summed by.

    ``volume`` (d, d, d), ``[z, y, x]``, on ``grid``; ``sum(volume)`` is the images' sum. Slices are on
    the device and in the dtype of the map, complex. The gradient reaches the map and
    ``poses.rotations``.
    """

    def __init__(self, volume: Tensor, grid: Grid) -> None:
        d = grid.box_size
        if tuple(volume.shape) != (d, d, d):
            raise SettingsError(
                f"VolumeProjector: the map has shape {tuple(volume.shape)}, expected {(d, d, d)}."
            )
        self.grid = grid
        self._transform = gridding.padded_transform(volume)

    def slices(self, poses: Poses, pixel_size: float, box_size: int) -> Tensor:
        """Transforms of the projections, as `Projector.slices`.

        Zero at the image's and beyond the map's Nyquist frequency.
        """
        d, device = self.grid.box_size, self._transform.device
        ratio = self.grid.side / (pixel_size * box_size)
        steps = 2.0 * ratio * poses.rotations[:, :2].to(device, torch.float64)
        radii = gridding.band(steps, box_size, 2 * d).clamp_max(0.5 * d / ratio)
        return gridding.slices(self._transform, steps, radii, box_size)


class SolvatedProjector:
    """The slices of a molecule in solvent: those of ``projector`` times the solvent's H(s)."""

    def __init__(self, projector: Projector, solvent: Response) -> None:
        self._projector, self._solvent = projector, solvent

    def slices(self, poses: Poses, pixel_size: float, box_size: int) -> Tensor:
        """Transforms of the projections, as `Projector.slices`."""
        slices = self._projector.slices(poses, pixel_size, box_size)
        frequencies = image_frequencies(Grid(box_size, pixel_size), slices.device)
        return slices * self._solvent(frequencies)


def form_images(projector: Projector, poses: Poses, optics: Optics, box_size: int) -> Tensor:
    """Noise-free particle images (n, box_size, box_size), [y, x], all of one optics group.

    As the detector records them, whatever is done to the stored ones by their CTF. The rotation
    centre of an image is pixel ``box_size // 2``; the particle lies at ``-shift``. Nothing lies at
    and beyond the Nyquist frequency. Differentiable by ``poses.shifts``, the columns of ``optics``
    and what the projector's slices are. Real numbers of the projector's precision.
    """
    groups = torch.unique(optics.group)
    if len(groups) != 1:
        raise SettingsError(
            f"form_images: the particles belong to {len(groups)} optics groups, expected one. "
            f"Remedy: call it once per group."
        )
    pixel_size = optics.groups[int(groups[0])].pixel_size
    slices = projector.slices(seen_rotations(poses, optics), pixel_size, box_size)
    # the slices' phase origin is the rotation centre, the images' is pixel 0
    spectra = form(slices, poses.shifts, optics, box_size // 2)
    return fourier.inverse(spectra, box_size, 2)
