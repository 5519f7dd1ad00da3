"""The noise model from a sample of the images: their backgrounds' spectra, and what was done to them.

Images that were stored multiplied by their CTF are judged as they are, beside white noise to which the
same is done: near the CTF's zeros they do not say what was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..errors import ImageError
from ..optics import image_ctf
from .background import (
    LEVEL_LIMIT,
    MEAN_LIMIT,
    SPREAD_LIMIT,
    background_window,
    find_circle,
)
from .model import NoiseModel

FLOOR = 1e-3  # of the images' own power: noise-free images still get a finite weight


def estimate_noise(batches: Iterable[Batch], cut: bool = False) -> NoiseModel:
    """The noise model of a sample of the particles, which is held in memory.

    ``cut``: the stored images are blank outside a circle, of some optics groups at least
    (`Particles.cut_to_circle`). Raises `ImageError` where there are no images.
    """
    sample = list(batches)
    groups = sample[0].optics.groups if sample else ()
    of_groups = [
        [_of_group(batch, i) for batch in sample if batch.box_size == group.box_size]
        for i, group in enumerate(groups)
    ]
    return estimate_noise_of_groups(of_groups, cut)


def estimate_noise_of_groups(samples: Iterable[Sequence[Batch]], cut: bool = False) -> NoiseModel:
    """`estimate_noise` from one sample for each optics group, of which one is held at a time."""
    measured: dict[int, _Measured] = {}
    n_groups = 0
    for sample in samples:
        own = [batch for batch in sample if len(batch)]
        if own:
            n_groups = len(own[0].optics.groups)
            measured[int(own[0].optics.group[0])] = _Measured.of(own, cut)
        del sample, own  # before the next one is read
    if not measured:
        raise ImageError("estimate_noise: no images to estimate the noise from.")
    mean, deviation = (
        torch.cat([getattr(m, name) for m in measured.values()]) for name in ("mean", "deviation")
    )
    typical = float(deviation.median())
    normalise = (
        float(mean.abs().median()) > MEAN_LIMIT * typical
        or float((deviation / typical - 1).abs().median()) > SPREAD_LIMIT
        or abs(typical - 1) > LEVEL_LIMIT
    )
    variance = [torch.zeros(0, dtype=torch.float64)] * n_groups
    circles = [0.0] * n_groups
    for number, own in measured.items():
        variance[number], circles[number] = own.variance(normalise), own.circle
    return NoiseModel(tuple(variance), normalise, tuple(circles) if any(circles) else ())


def _of_group(batch: Batch, number: int) -> Batch:
    rows = (batch.optics.group == number).nonzero().squeeze(1)
    return batch if len(rows) == len(batch) else batch.select(rows)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What images of one optics group show.

    ``circle`` as in `NoiseModel`; ``mean`` and ``deviation`` of each background (n,). Summed over
    images, per shell, float64: the power of their ``background`` and of the ``whole`` image, of those
    as they are and of normalised ones (2, shells); that of the background of ``white`` noise, and the
    square of the CTF that was ``passed`` (shells,). ``shown``: pixels of an image that are not blank.
    """

    circle: float
    mean: Tensor
    deviation: Tensor
    background: Tensor
    whole: Tensor
    white: Tensor
    passed: Tensor
    shown: float

    @staticmethod
    def of(sample: Sequence[Batch], cut: bool) -> _Measured:
        """Measure the images of ``sample``, none of them empty."""
        d, device = sample[0].box_size, sample[0].images.device
        circle = find_circle([batch.images for batch in sample]) if cut else 0.0
        groups = sample[0].optics.groups
        levels = NoiseModel((), False, (circle,) * len(groups)).levels
        window = background_window(d, circle, device)
        generator = torch.Generator().manual_seed(0)
        sums = torch.zeros(6, d // 2 + 1, dtype=torch.float64, device=device)
        means, deviations = [], []
        for batch in sample:
            mean, deviation = levels(batch)
            weights = torch.stack([torch.ones_like(deviation), deviation**-2])
            background = _power(_windowed(batch.images, window), weights)
            whole = _power(batch.images, weights)
            total = batch.images.sum((1, 2), dtype=torch.float64) - d**2 * mean
            whole[1, 0] = (total / deviation).square().sum()
            if groups[int(batch.optics.group[0])].processing == "premultiplied":
                ctf = image_ctf(batch.optics, d)
                pixels = torch.randn(batch.images.shape, generator=generator).to(device)
                noise = fourier.filter(pixels, ctf, 2)
                white = _power(_windowed(noise, window), weights[:1])
                passed = _means(ctf.square().sum(0, keepdim=True))
            else:
                white = torch.full_like(whole[:1], len(batch) * float(window.square().sum()))
                passed = torch.full_like(white, len(batch))
            sums += torch.cat([background, whole, white, passed])
            means.append(mean)
            deviations.append(deviation)
        shown = d * d if circle == 0.0 else float((fourier.distances((d, d)) < circle).sum())
        return _Measured(
            circle, torch.cat(means), torch.cat(deviations), sums[:2], sums[2:4], sums[4], sums[5],
            shown,
        )  # fmt: skip

    def variance(self, normalise: bool) -> Tensor:
        """Variance of the background's transform per shell, scaled to all that the images show."""
        # the window spreads a frequency over a few shells, and takes the mean away from the first two
        smooth = self.shown * _smoothed(self.background[int(normalise)]) / _smoothed(self.white)
        smooth[:2] = torch.maximum(smooth[:2].max(), smooth[2])
        whole = self.whole[int(normalise)] / self.passed.clamp_min(1e-12)
        return torch.maximum(smooth, FLOOR * torch.maximum(whole, 1e-6 * whole.max()))


def _windowed(images: Tensor, window: Tensor) -> Tensor:
    """Images without their mean in the window, times the window."""
    mean = (images * window).sum((1, 2), keepdim=True) / window.sum()
    return (images - mean) * window


def _smoothed(values: Tensor) -> Tensor:
    padded = torch.cat([values[:1], values, values[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _power(images: Tensor, weights: Tensor) -> Tensor:
    """Squared transforms of images (n, d, d), summed with ``weights`` (m, n), per shell."""
    return _means(torch.tensordot(weights, fourier.transform(images, 2).abs().square(), 1))


def _means(power: Tensor) -> Tensor:
    """Averages over shells without the Nyquist frequency of an even box.

    Images that were cropped hold nothing there, and no image is compared there.
    """
    shape, device = (power.shape[1],) * 2, power.device
    counts = fourier.friedel_counts(shape[0], device) * fourier.below_nyquist(shape, device)
    return fourier.shell_means(power, 2, counts)
