"""How much of a map's slices is in the images of the other half-set, shell by shell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier, gridding
from ..arrays import Columns
from .images import ReadyImages
from .template import Template

MOST = 1.5


@dataclass(frozen=True, slots=True)
class ShellProducts(Columns):
    """``products`` and ``powers`` (n, d // 2 + 1) of images y and slices x per shell of the map:
    ``sum Re conj(x) w`` and ``sum p |x|^2``, with w and p as of `ReadyImages`; float64."""

    products: Tensor
    powers: Tensor

    @staticmethod
    def of(images: ReadyImages, template: Template) -> ShellProducts:
        """Those of images at their own poses; shells beyond the template's limit are empty."""
        box, n_shells = images.box_size, template.grid.box_size // 2 + 1
        stretch, radii = images.steps(template)
        steps = stretch.transpose(1, 2) @ images.poses.rotations[:, :2].double()
        there = images.values.device
        slices = torch.view_as_real(
            gridding.slices(template.transform, steps.to(there), radii.to(there), box)
        )
        counts = fourier.friedel_counts(box, there).float()
        product = (slices * images.values[..., :2]).sum(-1) * counts
        power = slices.square().sum(-1) * images.values[..., 2] * counts
        totals = torch.zeros(2, len(images), n_shells + 1, dtype=torch.float64, device=there)
        steps_out = fourier.squared_radii((box, box), there).sqrt() * template.grid.side / box
        for pixel in images.pixel_sizes.unique():
            rows = (images.pixel_sizes == pixel).to(there)
            shell = (steps_out / float(pixel) + 0.5).long().clamp_max(n_shells).flatten()
            for total, part in zip(totals, (product, power), strict=True):
                sums = total.new_zeros(int(rows.sum()), n_shells + 1)
                total[rows] = sums.index_add(1, shell, part[rows].double().flatten(1))
        products, powers = totals[:, :, :-1].cpu()
        return ShellProducts(products, powers)

    def gains(self) -> Tensor:
        """Least-squares factor of the slices per shell, (d // 2 + 1,), from 0 to `MOST`.

        It makes the map the best prediction of images that it has not seen: it falls with the noise
        of the map and with errors of poses, and takes up any filter between the map and the images.
        """
        least = self.powers.sum(0).clamp_min(1e-30)
        return (self.products.sum(0) / least).clamp(0.0, MOST)

    def scores(self) -> Tensor:
        """By how many standard deviations of the noise the factor of each shell is above 0."""
        return self.products.sum(0) / self.powers.sum(0).clamp_min(1e-30).sqrt()

    def likelihoods(self, gains: Tensor) -> Tensor:
        """The log-likelihood (n,) of every image with slices times ``gains``, above noise alone."""
        return self.products @ gains - 0.5 * (self.powers @ gains.square())
