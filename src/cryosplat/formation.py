"""The forward model, and all of it: project, shift, apply the CTF.

An image is ``X(k) = C(k) exp(-2 pi i k.c) V(A^T k)``: a central slice of the map's transform, moved
to the particle's centre ``c = -shift`` and multiplied by the contrast transfer function
(Penczek 2010; RELION's conventions as in `poses` and `optics`).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from .errors import SettingsError
from .grid import Grid
from .optics import Optics, ctf
from .poses import Poses
from .statistics import _gridding as gridding


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
        steps = poses.rotations[:, :2, :].double().numpy() * (2.0 * ratio)
        half_planes = gridding.slices(
            self._transform, np.ascontiguousarray(steps), gridding.POLYNOMIALS, box_size, radius
        )
        return torch.from_numpy(half_planes)


def form_images(projector: VolumeProjector, poses: Poses, optics: Optics, box_size: int) -> Tensor:
    """Noise-free particle images (n, box_size, box_size) float32, [y, x], all of one optics group.

    The rotation centre of an image is pixel ``box_size // 2``; the particle lies at ``-shift``.
    """
    groups = torch.unique(optics.group)
    if len(groups) != 1:
        raise SettingsError(
            f"form_images: the particles belong to {len(groups)} optics groups, expected one. "
            f"Remedy: call it once per group."
        )
    pixel_size = optics.groups[int(groups[0])].pixel_size
    ky = torch.fft.fftfreq(box_size, dtype=torch.float64)[:, None].expand(-1, box_size // 2 + 1)
    kx = torch.fft.rfftfreq(box_size, dtype=torch.float64)[None].expand(box_size, -1)
    contrast = ctf(optics, torch.stack([kx, ky], -1) / pixel_size).float()
    shifts = (poses.shifts / pixel_size - box_size // 2)[:, None, None, :]
    phase = (2.0 * math.pi * (kx * shifts[..., 0] + ky * shifts[..., 1])).float()
    spectrum = projector.slices(poses, pixel_size, box_size) * contrast
    spectrum = spectrum * torch.polar(torch.ones_like(phase), phase)
    images = scipy.fft.irfft2(spectrum.numpy(), s=(box_size, box_size), workers=-1)
    return torch.from_numpy(images)
