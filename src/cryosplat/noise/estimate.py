"""The noise model from a sample of the images: their backgrounds' spectra, and what was done to them.

Images that were stored multiplied by their CTF are judged as they are, beside white noise to which the
same is done: near the CTF's zeros they do not say what was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..errors import ImageError
from ..optics import image_ctf
from .background import background_window, find_circle, plane_weights
from .levels import Levels, usual
from .model import NoiseModel
from .preparing import prepare

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
    variance = [torch.zeros(0, dtype=torch.float64)] * n_groups
    circles = [0.0] * n_groups
    powers = [(0.0, math.inf)] * n_groups
    for number, own in measured.items():
        variance[number], circles[number], powers[number] = own.variance(), own.circle, own.powers
    return NoiseModel(tuple(variance), True, tuple(circles) if any(circles) else (), tuple(powers))


def _of_group(batch: Batch, number: int) -> Batch:
    rows = (batch.optics.group == number).nonzero().squeeze(1)
    return batch if len(rows) == len(batch) else batch.select(rows)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What images of one optics group show.

    ``circle`` and ``powers`` as in `NoiseModel`. Summed over the images that are like the others, per
    shell, (shells,) float64: the power of their ``background`` and of the ``whole`` image; that of the
    background of ``white`` noise, and the square of the CTF that was ``passed``. ``shown``: pixels of
    an image that are not blank; ``error`` (shells,): what white noise becomes, in parts of itself, when
    a plane that was measured in it is taken away.
    """

    circle: float
    powers: tuple[float, float]
    background: Tensor
    whole: Tensor
    white: Tensor
    passed: Tensor
    shown: float
    error: Tensor

    @staticmethod
    def of(sample: Sequence[Batch], cut: bool) -> _Measured:
        """Measure the images of ``sample``, none of them empty."""
        d, device = sample[0].box_size, sample[0].images.device
        circle = find_circle([batch.images for batch in sample]) if cut else 0.0
        circles = (circle,) * len(sample[0].optics.groups)
        window = background_window(d, circle, device)
        generator = torch.Generator().manual_seed(0)
        sums = torch.zeros(4, d // 2 + 1, dtype=torch.float64, device=device)
        powers = usual(torch.cat([prepare(batch, circles).powers for batch in sample]))
        for batch in sample:
            found = prepare(batch, circles)
            levels = Levels.of(batch.index, batch.optics.group, found)
            like = (~levels.unlike((powers,) * len(circles))).nonzero().squeeze(1)
            sums += _sums(batch.select(like), found.images[like], window, circle, generator)
        shown = d * d if circle == 0.0 else float((fourier.distances((d, d)) < circle).sum())
        taken = _taken(sample[0], circle)
        error = _expected(torch.ones_like(window).double(), *taken) / d**2
        background, whole, white, passed = sums
        return _Measured(circle, powers, background, whole, white, passed, shown, error)

    def variance(self) -> Tensor:
        """Variance of the background's transform per shell, scaled to all that the images show."""
        # the window spreads a frequency over a few shells
        smooth = self.shown * _smoothed(self.background) / _smoothed(self.white)
        smooth[:2] = torch.maximum(smooth[:2].max(), smooth[2])
        smooth *= self.error
        whole = self.whole / self.passed.clamp_min(1e-12)
        return torch.maximum(smooth, FLOOR * torch.maximum(whole, 1e-6 * whole.max()))


def _sums(
    batch: Batch, images: Tensor, window: Tensor, circle: float, generator: torch.Generator
) -> Tensor:
    """What `_Measured` sums, (4, shells), of a batch's ``images`` as data."""
    d, n = batch.box_size, len(batch)
    background, whole = _power(_windowed(images, window)), _power(images)
    if _premultiplied(batch):
        ctf = image_ctf(batch.optics, d)
        pixels = torch.randn(images.shape, generator=generator).to(images.device)
        white = _power(_windowed(fourier.filter(pixels, ctf, 2), window))
        passed = _means(ctf.square().sum(0))
    else:
        planes, weights = _taken(batch, circle)
        mean = (window / window.sum()).double()
        planes = planes - (planes * mean).sum((1, 2), keepdim=True)
        planes = torch.cat([planes, torch.ones_like(mean)[None]])
        weights = torch.cat([weights, mean[None]])
        white = n * _expected(window.double(), planes, weights)
        passed = torch.full_like(whole, n)
    return torch.stack([background, whole, white, passed])


def _premultiplied(batch: Batch) -> bool:
    return bool(len(batch)) and (
        batch.optics.groups[int(batch.optics.group[0])].processing == "premultiplied"
    )


def _taken(batch: Batch, circle: float) -> tuple[Tensor, Tensor]:
    """The planes that are taken away from images of this kind, as `plane_weights` has them."""
    planes, weights = plane_weights(batch.box_size, batch.images.device)
    n = 0 if circle > 0.0 or _premultiplied(batch) else len(planes)
    return planes[:n], weights[:n]


def _expected(window: Tensor, planes: Tensor, weights: Tensor) -> Tensor:
    """Power of white noise in a ``window`` (d, d) when ``planes`` with ``weights`` are taken away.

    That of ``window (x - sum_j planes_j (weights_j . x))`` for one image x of unit variance in each
    pixel, (shells,).
    """
    power = torch.full((len(window), len(window) // 2 + 1), float(window.square().sum()))
    power = power.to(window)
    if len(planes):
        left, right = (fourier.transform(window * part, 2) for part in (planes, weights))
        gram = weights.flatten(1) @ weights.flatten(1).T
        power = power - 2.0 * (left.conj() * right).real.sum(0)
        power = power + (torch.tensordot(gram.to(left), left, 1) * left.conj()).real.sum(0)
    return _means(power)


def _windowed(images: Tensor, window: Tensor) -> Tensor:
    """Images without their mean in the window, times the window."""
    mean = (images * window).sum((1, 2), keepdim=True) / window.sum()
    return (images - mean) * window


def _smoothed(values: Tensor) -> Tensor:
    padded = torch.cat([values[:1], values, values[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _power(images: Tensor) -> Tensor:
    """Squared transforms of images (n, d, d), summed over the images, per shell, (shells,)."""
    return _means(fourier.transform(images, 2).abs().square().sum(0, dtype=torch.float64))


def _means(power: Tensor) -> Tensor:
    """Averages over shells of (d, d // 2 + 1), without the Nyquist frequency of an even box.

    Images that were cropped hold nothing there, and no image is compared there.
    """
    shape, device = (power.shape[0],) * 2, power.device
    counts = fourier.friedel_counts(shape[0], device) * fourier.below_nyquist(shape, device)
    return fourier.shell_means(power[None], 2, counts)[0]
