"""Were the images multiplied by their CTF? Their background shows it without any pose.

Noise is added after the lens: in the corners of images as recorded it has the same spectrum at every
defocus. If images were multiplied by their CTF, so was the noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..noise import background_window, blank_corners, fitted_background, without_outlying
from ..notes import Note
from ..optics import ISOTROPIC, Optics, ctf
from ..particles import Particles
from ._images import spread_evenly
from .values import Item

MOST, FEWEST = 300, 50  # images
NOISY = 0.3  # share of the images' deviation in their corners, from which those are noise
PLAIN, MULTIPLIED = 0.3, 0.7  # slopes up to and from which images are one or the other
LEAST_SPREAD = 0.1  # relative deviation of CTF^2 over images in a shell that says anything


def processing_items(particles: Particles, usable: NDArray[np.int64]) -> list[Item]:
    """An item where the images of some box contradict the table on premultiplication."""
    slope = background_slope(particles, spread_evenly(usable, MOST))
    kinds = {group.processing == "premultiplied" for group in particles.optics.groups}
    if slope is None or len(kinds) > 1:
        return []
    evidence = (
        f"the noise in their corners follows CTF² with a slope of {slope:.2f} (0: as recorded, 1: "
        f"multiplied by the CTF)"
    )
    remedy = f"cryosplat check {particles.source} --fix OUT.star"
    if slope > MULTIPLIED and kinds == {False}:
        return [Item("processing", "multiplied by the CTF", (Note(
            "ctf-premultiplied", "alarm",
            f"The images are multiplied by their CTF, but not marked as such: {evidence}.", remedy,
        ),))]  # fmt: skip
    if slope < PLAIN and kinds == {True}:
        return [Item("processing", "as recorded", (Note(
            "ctf-not-premultiplied", "alarm",
            f"The images are marked as multiplied by their CTF, but are not: {evidence}.", remedy,
        ),))]  # fmt: skip
    return []


def background_slope(particles: Particles, positions: NDArray[np.int64]) -> float | None:
    """How the noise of stored images follows their CTF squared: 0 not at all, 1 in proportion.

    In each shell the power in the corners is compared over images of different defocus, so that the
    noise may have any colour. None if images are too few, too similar in defocus, cropped as they
    are read, or without noise in their corners.
    """
    images = particles.images
    if images.crops or len(positions) < FEWEST:
        return None
    kinds = np.stack([images.box_sizes, particles.optics.of_group("pixel_size").numpy()], 1)
    unique, kind, counts = np.unique(
        kinds[positions], axis=0, return_inverse=True, return_counts=True
    )
    positions = positions[kind.ravel() == counts.argmax()]
    side = int(unique[counts.argmax()][0])
    places = zip(images.stack[positions], images.section[positions], strict=True)
    stored = torch.cat([torch.from_numpy(images.stacks[s].read([i])) for s, i in places])
    window = background_window(side)
    corners = stored[:, window > 0.5].std(1) / stored.std(dim=(1, 2)).clamp_min(1e-30)
    quiet = bool(blank_corners(stored).any()) or float(corners.median()) < NOISY
    if len(positions) < FEWEST or quiet:
        return None
    even = without_outlying(stored)[0]  # one loud image would speak for all
    power = _shells(_power(fitted_background(even).taken_from(even), window))
    return _slope(
        power, _shells(_windowed_ctf(particles.optics.select(torch.from_numpy(positions)), window))
    )


def _slope(power: Tensor, squared: Tensor) -> float | None:
    """The slope of ``power`` (n, shells) over the CTF squared, both relative to their means."""
    power = power / power.mean(0).clamp_min(1e-30) - 1.0
    squared = squared / squared.mean(0).clamp_min(1e-30) - 1.0
    informative = squared.std(0) > LEAST_SPREAD
    if not bool(informative.any()):
        return None
    power, squared = power[:, informative], squared[:, informative]
    return float((power * squared).sum() / squared.square().sum())


def _power(images: Tensor, window: Tensor) -> Tensor:
    mean = (images * window).sum((1, 2), keepdim=True) / window.sum()
    return fourier.transform((images - mean) * window, 2).abs().square()


def _windowed_ctf(optics: Optics, window: Tensor) -> Tensor:
    """CTF squared as the spectrum of windowed images shows it, (n, d, d // 2 + 1)."""
    d = len(window)
    plain = tuple(replace(group, odd=(), magnification=ISOTROPIC) for group in optics.groups)
    frequencies = fourier.frequencies((d, d), float(optics.of_group("pixel_size")[0]))
    squared = ctf(replace(optics, groups=plain), frequencies).float().square()
    blur = fourier.inverse(fourier.transform(window, 2).abs().square(), d, 2)
    return fourier.transform(fourier.inverse(squared, d, 2) * blur, 2).real


def _shells(power: Tensor) -> Tensor:
    """Averages (n, shells) over the shells that have a ring of their own, from the third on."""
    return fourier.shell_means(power, 2)[:, 2:-1]
