"""The noise of particle images: its variance per shell and optics group, and background levels.

Both come from the corners of the images, outside the circle that holds the particle; where images are
cut to a circle, from a ring inside it. Images whose background is not at zero mean and unit deviation
are normalised, each by its own background, as RELION's ``relion_preprocess --norm`` does.

Images that were stored multiplied by their CTF are judged multiplied by it again, beside white noise
to which the same is done: near the CTF's zeros they no longer say what was recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import fourier
from .batch import Batch
from .errors import ImageError
from .optics import ctf

INNER = 0.9  # the background begins at this fraction of half the box, and is whole at 1
MEAN_LIMIT, SPREAD_LIMIT, LEVEL_LIMIT = 0.2, 0.15, 0.25
FLOOR = 1e-3  # of the images' own power: noise-free images still get a finite weight
CIRCLE_EDGE = 6  # pixels over which images that are cut to a circle fall to nothing
# of the power inside, that just inside the circle: cut images are noise there, a particle without
# noise fades
PLATEAU = 0.35
RING = 0.7  # of the radius inside which they are whole: from there on they are background
# power, in parts of that near the centre, below which pixels are blank: what was done to images that
# were has put something there again
BLANK = 0.1


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """How images become data: background normalisation and noise variance.

    ``variance[g]`` (box // 2 + 1,) float64: ``E |noise transform|^2`` per shell of optics group g,
    for an unnormalised transform (white noise of deviation 1 has ``box^2``); empty for a group that
    has no images. ``normalise``: whether each image is brought to background mean 0, deviation 1.
    ``circles[g]``: radius in pixels where the images of group g fall to half their power, to be blank
    beyond it, 0 for whole ones; () where all are whole.
    """

    variance: tuple[Tensor, ...]
    normalise: bool
    circles: tuple[float, ...] = ()

    @property
    def digest(self) -> str:
        """A hash (SHA-256) of the model; two models are the same if theirs are."""
        content = hashlib.sha256(repr((self.normalise, self.circles)).encode())
        for variance in self.variance:
            content.update(len(variance).to_bytes(8, "little"))
            content.update(variance.double().cpu().numpy().tobytes())
        return content.hexdigest()

    def precision(self, box_size: int) -> NDArray[np.float32]:
        """1 / variance, (g, box_size // 2 + 1); rows of groups with another box are zero."""
        table = np.zeros((len(self.variance), box_size // 2 + 1), np.float32)
        for row, variance in zip(table, self.variance, strict=True):
            if len(variance) == len(row):
                row[:] = 1.0 / variance.numpy()
        return table

    def levels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the background of a batch's images, (n,)."""
        mean, deviation = torch.zeros(len(batch)), torch.ones(len(batch))
        for number in batch.optics.group.unique().tolist():
            rows = (batch.optics.group == number).nonzero().squeeze(1)
            circle = self.circles[number] if self.circles else 0.0
            own = batch if len(rows) == len(batch) else batch.select(rows)
            images, transfer = _as_judged(own)
            mean[rows], deviation[rows] = background_levels(images, circle)
            if transfer is not None:
                # after the CTF little is left of a mean
                mean[rows] = 0.0
                deviation[rows] /= transfer.square().mean((1, 2)).sqrt().clamp_min(1e-6)
        return mean, deviation

    def normalised(self, batch: Batch) -> Tensor:
        """The images of a batch, their background brought to (0, 1) where it was not."""
        images = batch.images
        if self.normalise:
            mean, deviation = self.levels(batch)
            images = (images - mean[:, None, None]) / deviation[:, None, None]
        return images


def background_levels(images: Tensor, circle: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image (n, d, d) outside the inscribed circle, (n,).

    Of images that are cut to a ``circle`` of this radius in pixels: the level outside, and the
    deviation in a ring inside. A constant background has deviation 1 here, so that dividing by it is
    harmless.
    """
    d = images.shape[-1]
    blank = circle + 0.5 * CIRCLE_EDGE + 1.0 if circle > 0.0 else 0.0
    radius = fourier.distances((d, d))
    pixels = images[:, radius >= min(max(0.5 * d, blank), float(radius.max()))]
    deviation, mean = torch.std_mean(pixels, dim=1)
    if circle > 0.0:
        pixels = images[:, background_window(d, circle) > 0.5]
        deviation = pixels.std(dim=1)
    return mean, torch.where(deviation > 1e-6 * pixels.abs().amax(1), deviation, 1.0)


def background_window(d: int, circle: float = 0.0) -> Tensor:
    """Where the background is, 0 to 1: the corners, or a ring inside a circle, (d, d)."""
    radius, half = fourier.distances((d, d)), 0.5 * d
    if circle <= 0.0:
        return 1.0 - fourier.raised_cosine(radius - INNER * half, (1.0 - INNER) * half).float()
    outer = circle - 0.5 * CIRCLE_EDGE
    inner = min(RING * outer, outer - 4.0)
    edge = 0.5 * (outer - inner)
    within = fourier.raised_cosine(radius - inner, edge)
    return (fourier.raised_cosine(radius - inner - edge, edge) * (1.0 - within)).float()


def _as_judged(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Images of one optics group (n, d, d) whose background is measured; their CTF (n, d, d//2 + 1)
    where they were multiplied by it, None where they are as recorded."""
    d = batch.box_size
    group = batch.optics.groups[int(batch.optics.group[0])]
    if group.processing != "premultiplied":
        return batch.images, None
    transfer = ctf(batch.optics, fourier.frequencies((d, d), group.pixel_size)).float()
    return _filtered(batch.images, transfer), transfer


def _filtered(images: Tensor, transfer: Tensor | None) -> Tensor:
    if transfer is None:
        return images
    return torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[-2:])


def blank_corners(images: Tensor) -> Tensor:
    """Whether images (n, d, d) have one value in all four corners, (n,), beside what they vary."""
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    spread = images.std(dim=(1, 2))
    return (spread > 0.0) & (corners.amax(1) - corners.amin(1) <= 1e-3 * spread)


def estimate_noise(batches: Iterable[Batch], cut: bool = False) -> NoiseModel:
    """The noise model of a sample of the particles.

    ``cut``: the stored images are blank outside a circle, of some optics groups at least
    (`Particles.cut_to_circle`).
    """
    sample = list(batches)
    if not sample:
        raise ImageError("estimate_noise: no images to estimate the noise from.")
    groups = sample[0].optics.groups
    of_group = [[_of_group(b, i) for b in sample if b.box_size == group.box_size]
                for i, group in enumerate(groups)]  # fmt: skip
    of_group = [[b for b in own if len(b)] for own in of_group]
    circles = tuple(_circle(own) if own and cut else 0.0 for own in of_group)
    model = NoiseModel((), False, circles if any(circles) else ())
    levels = [model.levels(batch) for batch in sample]
    mean = torch.cat([m for m, _ in levels])
    deviation = torch.cat([s for _, s in levels])
    typical = float(deviation.median())
    normalise = (
        float(mean.abs().median()) > MEAN_LIMIT * typical
        or float((deviation / typical - 1).abs().median()) > SPREAD_LIMIT
        or abs(typical - 1) > LEVEL_LIMIT
    )
    model = replace(model, normalise=normalise)
    variance = tuple(
        _group_variance(model, own, circle) if own else torch.zeros(0)
        for own, circle in zip(of_group, circles, strict=True)
    )
    return replace(model, variance=variance)


def _of_group(batch: Batch, number: int) -> Batch:
    rows = (batch.optics.group == number).nonzero().squeeze(1)
    return batch if len(rows) == len(batch) else batch.select(rows)


def _circle(sample: list[Batch]) -> float:
    """The radius in pixels where images of one optics group end, at half power; 0 if nowhere."""
    d = sample[0].box_size
    rings = fourier.distances((d, d)).round().long().flatten()
    counts = torch.bincount(rings)
    total = torch.zeros(len(counts), dtype=torch.float64)
    for batch in sample:
        images, _ = _as_judged(batch)
        mean, _ = background_levels(images)
        power = (images - mean[:, None, None]).double().square().sum(0).flatten()
        total += torch.bincount(rings, power, len(counts))
    profile = total / counts
    reference = float(profile[: d // 4 + 1].min())
    shown = (profile > BLANK * reference).nonzero()
    last = int(shown[-1]) + 1 if len(shown) else 0
    if not 0 < last < len(profile) - 1:
        return 0.0
    whole = max(last - CIRCLE_EDGE - 2, 0)
    half = 0.5 * profile[whole]
    i = whole + int((profile[whole:] > half).long().cumprod(0).sum()) - 1
    circle = i + float((profile[i] - half) / (profile[i] - profile[i + 1]))
    inside = int(0.85 * circle)
    # a particle without noise ends as well
    return circle if profile[inside] > PLATEAU * profile[:inside].median() else 0.0


def _group_variance(model: NoiseModel, sample: list[Batch], circle: float) -> Tensor:
    """Variance of the background's transform per shell, scaled to all that the images show."""
    d = sample[0].box_size
    window = background_window(d, circle)
    energy = float(window.square().sum())
    generator = torch.Generator().manual_seed(0)
    background, white, whole, passed = (np.zeros(d // 2 + 1) for _ in range(4))
    for batch in sample:
        judged, transfer = _as_judged(replace(batch, images=model.normalised(batch)))
        background += _power(_windowed(judged, window))
        whole += _power(judged)
        if transfer is None:
            white += len(batch) * energy
            passed += len(batch)
        else:
            pixels = torch.randn(judged.shape, generator=generator)
            white += _power(_windowed(_filtered(pixels, transfer), window))
            passed += _shell_means(transfer.double().square().sum(0))
    shown = d * d if circle == 0.0 else float((fourier.distances((d, d)) < circle).sum())
    # the window spreads a frequency over a few shells, and takes the mean away from the first two
    smooth = shown * _smoothed(background) / _smoothed(white)
    smooth[:2] = max(smooth[:2].max(), smooth[2])
    whole /= passed.clip(min=1e-12)
    floor = FLOOR * np.maximum(whole, 1e-6 * whole.max())
    return torch.from_numpy(np.maximum(smooth, floor))


def _windowed(images: Tensor, window: Tensor) -> Tensor:
    """Images without their mean in the window, times the window."""
    mean = (images * window).sum((1, 2), keepdim=True) / window.sum()
    return (images - mean) * window


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _power(images: Tensor) -> NDArray[np.float64]:
    """The squared transforms of images (n, d, d), averaged over each shell, summed over images."""
    total = torch.zeros((), dtype=torch.float64)
    for image in images:
        spectrum = fourier.transform(image, 2)
        total = total + (spectrum.real.square() + spectrum.imag.square())
    return _shell_means(total)


def _shell_means(power: Tensor) -> NDArray[np.float64]:
    """Means over shells of values (d, d // 2 + 1), without the Nyquist frequency of an even box.

    Images that were cropped hold nothing there, and no image is compared there.
    """
    d = len(power)
    weights = fourier.friedel_counts(d) * fourier.below_nyquist((d, d))
    return fourier.shell_means(power, weights=weights).numpy()
