"""Images as the search for poses takes them: small, flat, masked and whitened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import fourier
from ..arrays import members
from ..batch import Batch
from ..commands import pasted
from ..errors import InputError
from ..noise import estimate_noise
from ..optics import ISOTROPIC, Optics, weigh
from ..particles import Particles
from ..progress import Progress

PREPARE = "preparing the images"
NOISE_SAMPLE = 1500  # images
MASK = 0.46  # of the box: where the soft circle has fallen to nothing
EDGE = 0.06  # of the box: over which it falls


@dataclass(frozen=True, slots=True)
class SmallImages:
    """n images in few Fourier coefficients, those of low frequency first.

    ``values`` (n, m) complex64: ``conj(H) y / s^2`` with the CTF H and the noise's variance s^2, about
    the centre of the image; ``precisions`` (n, m) float32: ``|H|^2 / s^2``; ``points`` (m, 2) int64:
    the frequency (kx, ky) of each column in steps of ``1 / side``, of every Friedel pair one, without
    the origin, in order of their ``radii`` (m,). ``box_size``: of images that hold them all.
    """

    values: Tensor
    precisions: Tensor
    points: Tensor
    side: float
    box_size: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def radii(self) -> Tensor:
        """``|k|`` of each column, (m,) float64."""
        return self.points.double().square().sum(1).sqrt()

    def columns(self, limit: float) -> int:
        """How many columns lie below the frequency ``limit``, in steps."""
        return int((self.radii < limit).sum())

    def select(self, rows: Tensor) -> SmallImages:
        """The images ``rows``."""
        return replace(self, values=self.values[rows], precisions=self.precisions[rows])

    def to(self, device: torch.device | str) -> SmallImages:
        """The same on a device, where poses are then sought."""
        return replace(
            self, values=self.values.to(device), precisions=self.precisions.to(device),
            points=self.points.to(device),
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.values.device

    def inverted(self) -> SmallImages:
        """The same with their contrast inverted."""
        return replace(self, values=-self.values)


def half_plane(limit: float) -> Tensor:
    """One frequency (kx, ky) of every Friedel pair with ``0 < |k| < limit``, by radius, (m, 2)."""
    reach = math.ceil(limit)
    k = torch.arange(-reach, reach + 1)
    ky, kx = torch.meshgrid(k, k, indexing="ij")
    points = torch.stack([kx.flatten(), ky.flatten()], 1)
    squared = points.square().sum(1)
    half = (points[:, 0] > 0) | ((points[:, 0] == 0) & (points[:, 1] > 0))
    points = points[half & (squared < limit**2)]
    return points[points.square().sum(1).sort(stable=True)[1]]


def small_images(
    particles: Particles, box_size: int, generator: torch.Generator, progress: Progress
) -> SmallImages:
    """All particles in boxes of ``box_size``, which show the whole of the stored box.

    Each image is brought to its own background, without slope, masked by a soft circle and whitened
    by the spectrum of the background. Of the table only the optics are read.
    Images of another physical side are cut or padded to that of the optics group with most particles.
    """
    side = particles.box_size * particles.pixel_size
    sample = torch.randperm(len(particles), generator=generator)[:NOISE_SAMPLE].sort()[0]
    cut = particles.cut_to_circle()
    with progress.stage("noise outside the particles", len(sample), "images") as stage:
        batches = []
        for batch in particles.batches(sample):
            batches.append(batch)
            stage.advance(len(batch))
        noise = estimate_noise(batches, cut)
        del batches
    points = half_plane(0.5 * box_size)
    n = len(particles)
    values = torch.zeros(n, len(points), dtype=torch.complex64)
    precisions = torch.zeros(n, len(points))
    with progress.stage(PREPARE, n, "images") as stage:
        for batch in _by_group(particles.batches()):
            d = batch.box_size
            number = int(batch.optics.group[0])
            group = batch.optics.groups[number]
            images = noise.normalised(batch) * _circle(d)
            fitted = _resized(images, 2 * round(0.5 * side / group.pixel_size))
            size = fitted.shape[-1]
            fit = fourier.crop if size >= box_size else fourier.pad
            spectra = fit(fourier.transform(fitted, 2), box_size, 2)
            ratio = size / d  # of the variance of an unnormalised transform
            at = torch.arange(box_size // 2 + 1, dtype=torch.float64) / ratio
            variance = fourier.at_radii(noise.variance[number], at) * ratio**2
            optics = _for_box(batch.optics, number, box_size, side / box_size)
            precision = (1.0 / variance).float()[None]
            radii = torch.full((len(batch),), 0.5 * min(size, box_size), dtype=torch.float64)
            none = torch.zeros(len(batch), 2, dtype=torch.float64)
            weighed = weigh(spectra.contiguous(), none, optics, precision, radii).values
            taken = weighed[:, points[:, 1] % box_size, points[:, 0]]
            values[batch.index] = torch.view_as_complex(taken[..., :2].contiguous())
            precisions[batch.index] = taken[..., 2]
            stage.advance(len(batch))
    if not bool(precisions.sum() > 0.0) or not bool(torch.view_as_real(values).isfinite().all()):
        raise InputError(
            f"{particles.source}: the images hold no usable signal after preparation. "
            f"Remedy: {pasted('cryosplat', 'check', particles.source)}"
        )
    return SmallImages(values, precisions, points, side, box_size)


def _circle(d: int) -> Tensor:
    radius = fourier.distances((d, d))
    return fourier.raised_cosine(radius - (MASK - EDGE) * d, EDGE * d).float()


def _resized(images: Tensor, size: int) -> Tensor:
    """Images cut or padded with zeros to ``size`` pixels about their centre."""
    d = images.shape[-1]
    low = size // 2 - d // 2
    high = size - d - low
    return images if size == d else torch.nn.functional.pad(images, (low, high, low, high))


def _for_box(optics: Optics, number: int, box_size: int, pixel_size: float) -> Optics:
    """The optics of particles of one group, in a smaller box."""
    group = replace(
        optics.groups[number], box_size=box_size, pixel_size=pixel_size, magnification=ISOTROPIC
    )
    return replace(optics, groups=(group,), group=torch.zeros_like(optics.group))


def _by_group(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches in parts of one optics group."""
    for batch in batches:
        for _, rows in members(batch.optics.group):
            yield batch.select(rows)
