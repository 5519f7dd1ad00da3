"""Noise substitution in the particles: what the whole pipeline makes of data without signal.

Chen et al. 2013 (Ultramicroscopy 135) replace the phases of the raw data beyond a frequency by random
ones and process them again. Whatever correlates there afterwards was invented: by the mask, by the
prior that the half-sets' models share, by any leak between them. Replacing the phases of the maps,
as is usual, sees the mask alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..grid import Grid
from ..maps.fsc import first_below
from ..noise import NoiseModel

BASELINE_BELOW = 0.5
"""Phases are replaced from the shell where the voxel baseline's corrected FSC falls below this."""
LATEST = 0.75
"""But no later than at this share of the Nyquist frequency."""
FIRST = 2
"""And no sooner than in this shell: the others hold the image's mean and the particle's outline."""


def substitution_shell(baseline: Tensor, grid: Grid) -> int:
    """The first shell whose phases are replaced, from the baseline's half-map FSC (n_shells,)."""
    first = first_below(baseline, BASELINE_BELOW)
    return max(FIRST, min(first, round(LATEST * (grid.n_shells - 1))))


def substituted(
    batches: Iterable[Batch], noise: NoiseModel, frequency: float, seed: int
) -> Iterator[Batch]:
    """The batches with random phases at and beyond ``frequency`` (1/Angstrom) in every image.

    Images come normalised as ``noise`` says: accumulate them with `already_normalised`. Each keeps
    its amplitudes; its phases are those of a white-noise image drawn from ``seed`` and its
    position in the particles, so that the result does not depend on the batches.
    """
    for batch in batches:
        box = batch.box_size
        pixel = batch.optics.of_group("pixel_size")
        radius = fourier.squared_radii((box, box)).sqrt() / (box * pixel[:, None, None])
        transforms = fourier.transform(noise.normalised(batch), 2)
        white = torch.empty(len(batch), box, box)
        for image, position in zip(white, batch.index.tolist(), strict=True):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + position) % 2**63)
            torch.randn((box, box), generator=generator, out=image)
        phases = fourier.transform(white, 2).angle()
        replaced = torch.polar(transforms.abs(), phases)
        mixed = torch.where(radius < frequency, transforms, replaced)
        yield replace(batch, images=fourier.inverse(mixed, box, 2))


def already_normalised(noise: NoiseModel) -> NoiseModel:
    """The same noise for images that have been normalised."""
    return replace(noise, normalise=False)


def shell_frequency(shell: int, grid: Grid) -> float:
    """Lower edge of a shell in 1/Angstrom."""
    return (shell - 0.5) / grid.side
