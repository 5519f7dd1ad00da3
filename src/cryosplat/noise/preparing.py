"""Images as data: each brought to its own background, without the pixels that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arrays import members
from ..batch import Batch
from ..optics import image_ctf
from ._outlying import without_outlying
from .background import Background, fitted_background


@dataclass(frozen=True, slots=True)
class Prepared:
    """n images as data: their own ``background`` at mean 0, without slope, at deviation 1.

    ``images`` (n, d, d); ``outlying`` (n,): how many pixels were replaced by their surroundings.
    """

    images: Tensor
    background: Background
    outlying: Tensor

    @property
    def powers(self) -> Tensor:
        """Logarithm of the mean square of each image, (n,) float64.

        It is 0 for an image that holds its background's noise alone.
        """
        squares = self.images.square().mean((1, 2), dtype=torch.float64)
        return squares.clamp_min(1e-30).log()


def prepare(batch: Batch, circles: Sequence[float] = ()) -> Prepared:
    """The images of a batch as data, and what had to be done to them.

    ``circles``: radius in pixels where the stored images of each optics group end, 0 for whole ones
    (`NoiseModel.circles`). Of images that are stored multiplied by their CTF no plane is taken away,
    of which the CTF leaves little, and their deviation is that before.
    """
    images, outlying = without_outlying(batch.images)
    n, device = len(batch), images.device
    mean, deviation = torch.zeros(n, device=device), torch.ones(n, device=device)
    slope = torch.zeros(n, 2, device=device)
    for number, rows in members(batch.optics.group):
        own = images if len(rows) == n else images[rows]
        found = fitted_background(own, circles[number] if circles else 0.0)
        deviation[rows] = found.deviation
        if batch.optics.groups[number].processing == "premultiplied":
            ctf = image_ctf(batch.optics.select(rows), batch.box_size)
            deviation[rows] /= ctf.square().mean((1, 2)).sqrt().clamp_min(1e-6)
        else:
            mean[rows], slope[rows] = found.mean, found.slope
    background = Background(mean, slope, deviation)
    return Prepared(background.taken_from(images), background, outlying)
