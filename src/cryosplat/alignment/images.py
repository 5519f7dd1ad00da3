"""Images made ready to be held against a template."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..noise import NoiseModel
from ..optics import Optics, weigh
from ..poses import Poses
from .template import Template


@dataclass(frozen=True, slots=True)
class ReadyImages:
    """n images of one box and their ``poses``; ``values`` (n, d, d // 2 + 1, 3) as of `optics.Weighed`.

    The values may be on another device, where the images are then held against maps; all else is on
    the CPU. Their shifts are taken back already: the particle lies at the rotation centre. Their means
    are left out, which normalisation has changed. ``pixel_sizes`` (n,) in Angstrom; ``magnification``
    (n, 2, 2): RELION's matrix M.
    """

    values: Tensor
    poses: Poses
    pixel_sizes: Tensor
    magnification: Tensor

    def __len__(self) -> int:
        return len(self.values)

    @property
    def box_size(self) -> int:
        """Side of the images in pixels."""
        return self.values.shape[1]

    @staticmethod
    def of(batch: Batch, noise: NoiseModel, device: torch.device | str = "cpu") -> ReadyImages:
        """The images of a batch at the shifts it gives them."""
        transforms = fourier.transform(noise.normalised(batch.to(device)), 2)
        return ReadyImages.weighed(transforms, batch.poses, batch.optics, noise)

    @staticmethod
    def weighed(transforms: Tensor, poses: Poses, optics: Optics, noise: NoiseModel) -> ReadyImages:
        """Of the ``rfft2`` (n, d, d // 2 + 1) of normalised images, on their device."""
        n, box = transforms.shape[:2]
        there = transforms.device
        radii = torch.full((n,), 0.5 * box, device=there)
        precision = noise.precision(box).to(there)
        values = weigh(
            transforms, poses.shifts.to(there), optics.to(there), precision, radii
        ).values
        values[:, 0, 0] = 0.0
        matrices = torch.tensor([g.magnification for g in optics.groups], dtype=torch.float64)
        magnification = matrices.reshape(-1, 2, 2)[optics.group]
        return ReadyImages(values, poses, optics.of_group("pixel_size"), magnification)

    def select(self, rows: Tensor) -> ReadyImages:
        """The images ``rows``."""
        return ReadyImages(
            self.values[rows], self.poses.select(rows), self.pixel_sizes[rows],
            self.magnification[rows],
        )  # fmt: skip

    def steps(self, template: Template) -> tuple[Tensor, Tensor]:
        """``stretch`` (n, 2, 2), cells of a step of frequency, and ``radii`` (n,) that stay inside."""
        side = self.pixel_sizes * self.box_size
        ratio = template.grid.side / side
        norms = torch.linalg.matrix_norm(self.magnification, 2)
        reach = template.limit * side / norms.clamp_min(1.0) * (1.0 - 1e-9)
        radii = reach.clamp_max(0.5 * self.box_size)
        return 2.0 * ratio[:, None, None] * self.magnification, radii
