"""The forward model, and all of it: project, shift, apply the CTF.

An image is ``X(k) = C(k) exp(i odd(k) - 2 pi i k.c) V(A^T M k)``: a central slice of the map's
transform, moved to the particle's centre ``c = -shift`` and multiplied by the contrast transfer
function and the phases of odd aberrations (Penczek 2010; Zivanov et al. 2020; RELION's conventions
as in `poses` and `optics`; M is the magnification's matrix). All but the slice is
`optics.response`; a `Projector` makes the slices, of a voxel map or of a mixture of Gaussians.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from .errors import SettingsError
from .grid import Grid
from .mixture import GaussianMixture
from .optics import Optics, form, seen_rotations
from .poses import Poses
from .splatting import project
from .statistics import _gridding as gridding


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
        return torch.fft.rfft2(torch.fft.ifftshift(images, (1, 2)))


class VolumeProjector:
    """Central slices of a voxel map: the adjoint of the gridding that the statistics use.

    ``volume`` (d, d, d), ``[z, y, x]``, on ``grid``; ``sum(volume)`` is the images' sum.
    """

    def __init__(self, volume: Tensor, grid: Grid) -> None:
        d = grid.box_size
        if tuple(volume.shape) != (d, d, d):
            raise SettingsError(
                f"VolumeProjector: the map has shape {tuple(volume.shape)}, expected {(d, d, d)}."
            )
        self.grid = grid
        self.period = 2 * d
        offsets = np.arange(d) - d // 2
        correction = 1.0 / gridding.kernel_transform(offsets, self.period)
        padded = np.zeros((self.period,) * 3, np.float32)
        inner = slice(d - d // 2, 2 * d - d // 2)
        padded[inner, inner, inner] = (
            volume.detach().double().numpy()
            * correction[:, None, None] * correction[:, None] * correction
        )  # fmt: skip
        self._transform = scipy.fft.rfftn(scipy.fft.ifftshift(padded), workers=-1)

    def slices(self, poses: Poses, pixel_size: float, box_size: int) -> Tensor:
        """Transforms (n, box_size, box_size // 2 + 1) complex64 of the projections.

        ``rfft2`` layout, the phase origin at the rotation centre; zero at the image's and beyond
        the map's Nyquist frequency.
        """
        ratio = self.grid.side / (pixel_size * box_size)
        radius = min(box_size / 2, self.grid.box_size / 2 / ratio)
        seen = poses.rotations[:, :2, :].double()
        stretch = float(torch.linalg.matrix_norm(seen, 2).max()) if len(seen) else 1.0
        radius /= max(stretch - 1e-9, 1.0)
        steps = seen.numpy() * (2.0 * ratio)
        half_planes = gridding.slices(
            self._transform, np.ascontiguousarray(steps), gridding.POLYNOMIALS, box_size, radius
        )
        return torch.from_numpy(half_planes)


def form_spectra(projector: Projector, poses: Poses, optics: Optics, box_size: int) -> Tensor:
    """``rfft2`` of noise-free particle images (n, box_size, box_size // 2 + 1), one optics group.

    Zero at and beyond the Nyquist frequency. Differentiable by ``poses.shifts``, and by what the
    projector's slices are.
    """
    groups = torch.unique(optics.group)
    if len(groups) != 1:
        raise SettingsError(
            f"form_spectra: the particles belong to {len(groups)} optics groups, expected one. "
            f"Remedy: call it once per group."
        )
    slices = projector.slices(
        seen_rotations(poses, optics), optics.groups[int(groups[0])].pixel_size, box_size
    )
    # the slices' phase origin is the rotation centre, the images' is pixel 0
    return form(slices, poses.shifts, optics, box_size // 2)


def form_images(projector: Projector, poses: Poses, optics: Optics, box_size: int) -> Tensor:
    """Noise-free particle images (n, box_size, box_size), [y, x], all of one optics group.

    The rotation centre of an image is pixel ``box_size // 2``; the particle lies at ``-shift``.
    Differentiable as `form_spectra` is. Real numbers of the projector's precision.
    """
    spectra = form_spectra(projector, poses, optics, box_size)
    return torch.fft.irfft2(spectra, s=(box_size, box_size))
