"""The noise of particle images: its variance per shell and optics group, and background levels.

Both come from the corners of the images, outside the circle that holds the particle. Images whose
background is not at zero mean and unit deviation are normalised, each by its own background, as
RELION's ``relion_preprocess --norm`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batch import Batch
from .errors import ImageError
from .grid import radial_shells

INNER = 0.9  # the background begins at this fraction of half the box, and is whole at 1
MEAN_LIMIT, SPREAD_LIMIT, LEVEL_LIMIT = 0.2, 0.15, 0.25
FLOOR = 1e-3  # of the images' own power: noise-free images still get a finite weight


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """How images become data: background normalisation and noise variance.

    ``variance[g]`` (box // 2 + 1,) float64: ``E |noise transform|^2`` per shell of optics group g,
    for an unnormalised transform (white noise of deviation 1 has ``box^2``); empty for a group that
    has no images. ``normalise``: whether each image is brought to background mean 0, deviation 1.
    """

    variance: tuple[Tensor, ...]
    normalise: bool

    def precision(self, box_size: int) -> NDArray[np.float32]:
        """1 / variance, (g, box_size // 2 + 1); rows of groups with another box are zero."""
        table = np.zeros((len(self.variance), box_size // 2 + 1), np.float32)
        for row, variance in zip(table, self.variance, strict=True):
            if len(variance) == len(row):
                row[:] = 1.0 / variance.numpy()
        return table

    def normalised(self, batch: Batch) -> Tensor:
        """The images of a batch, their background brought to (0, 1) where it was not."""
        images = batch.images
        if self.normalise:
            mean, deviation = background_levels(images)
            images = (images - mean[:, None, None]) / deviation[:, None, None]
        return images


def _radius(box_size: int) -> Tensor:
    axis = torch.arange(box_size) - box_size // 2
    return torch.hypot(axis[:, None].float(), axis[None, :].float()) / (box_size / 2)


def background_levels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image (n, d, d) outside the inscribed circle, (n,).

    A constant background has deviation 1 here, so that dividing by it is harmless.
    """
    outside = _radius(images.shape[-1]) >= 1.0
    pixels = images[:, outside]
    deviation, mean = torch.std_mean(pixels, dim=1)
    return mean, torch.where(deviation > 1e-6 * pixels.abs().amax(1), deviation, 1.0)


def estimate_noise(batches: Iterable[Batch]) -> NoiseModel:
    """The noise model of a sample of the particles."""
    sample = list(batches)
    if not sample:
        raise ImageError("estimate_noise: no images to estimate the noise from.")
    levels = [background_levels(batch.images) for batch in sample]
    mean = torch.cat([m for m, _ in levels])
    deviation = torch.cat([s for _, s in levels])
    typical = float(deviation.median())
    normalise = (
        float(mean.abs().median()) > MEAN_LIMIT * typical
        or float((deviation / typical - 1).abs().median()) > SPREAD_LIMIT
        or abs(typical - 1) > LEVEL_LIMIT
    )
    model = NoiseModel(tuple(torch.zeros(0) for _ in sample[0].optics.groups), normalise)
    variance = list(model.variance)
    for group, properties in enumerate(sample[0].optics.groups):
        images = [model.normalised(b)[b.optics.group == group] for b in sample]
        images = [i for i in images if len(i) and i.shape[-1] == properties.box_size]
        if images:
            variance[group] = _shell_variance(torch.cat(images))
    return replace(model, variance=tuple(variance))


def _shell_variance(images: Tensor) -> Tensor:
    """Variance of the background's transform per shell, scaled to the whole image."""
    d = images.shape[-1]
    edge = ((_radius(d) - INNER) / (1.0 - INNER)).clamp(0.0, 1.0)
    window = 0.5 - 0.5 * torch.cos(torch.pi * edge)
    mean = (images * window).sum((1, 2), keepdim=True) / window.sum()
    background = _shell_means((images - mean) * window) * (d * d / float(window.square().sum()))
    whole = _shell_means(images)
    # the window spreads a frequency over a few shells, and takes the mean away from the first two
    padded = np.pad(background, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    smooth[:2] = max(smooth[:2].max(), smooth[2])
    floor = FLOOR * np.maximum(whole, 1e-6 * whole.max())
    return torch.from_numpy(np.maximum(smooth, floor))


def _shell_means(images: Tensor) -> NDArray[np.float64]:
    d = images.shape[-1]
    shells = radial_shells((d, d)).numpy()
    pairs = np.full(shells.shape, 2.0)
    pairs[:, 0] = 1.0
    total = np.zeros((d, d // 2 + 1))
    for image in images.numpy():
        transform = scipy.fft.rfft2(image)
        total += transform.real**2 + transform.imag**2
    inside = shells <= d // 2
    sums = np.bincount(shells[inside], (total * pairs)[inside], d // 2 + 1)
    return sums / np.bincount(shells[inside], pairs[inside], d // 2 + 1) / len(images)
