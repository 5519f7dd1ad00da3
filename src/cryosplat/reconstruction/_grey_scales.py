"""One grey scale for images of several pixel sizes.

Images are normalised to noise of deviation 1 in each pixel, so those of smaller pixels hold less signal
than their projection says, by a factor that the table does not tell. It is measured: images of each
pixel size are held against the map of the half-set they are not in, at frequencies that all of them
have, and the least-squares factors are made equal.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .. import fourier
from ..arrays import members
from ..grid import Grid
from ..noise import NoiseModel
from ..notes import Note
from ..particles import Particles
from ..progress import Progress
from ..validation.agreement import particle_agreement

SAMPLE = 600  # images of each pixel size
WORTH = 0.03  # smaller differences are not worth a second pass over the images
CERTAIN = 4.0  # standard deviations


def matched(
    particles: Particles,
    halves: tuple[Tensor, Tensor],
    grid: Grid,
    noise: NoiseModel,
    progress: Progress,
) -> Particles | None:
    """The particles with the scale of each pixel size in their CTFs; None where nothing is to do.

    ``halves``: voxel maps (d, d, d) of half 1 and 2, in the images' sign. The pixel size of most
    particles keeps its scale.
    """
    pixels = particles.optics.of_group("pixel_size")
    sizes = dict(members(pixels))
    if len(sizes) == 1:
        return None
    box = min(grid.box_size, 2 * int(0.5 * grid.side / max(sizes)))
    shared = Grid(box, grid.side / box)
    scale = (box / grid.box_size) ** 3  # values are kept, not sums
    low, high = (fourier.resample(half, box, 3) * scale for half in halves)
    gains = {}
    for size, own in sizes.items():
        sample = own[:: max(1, len(own) // SAMPLE)][:SAMPLE]
        generator = torch.Generator().manual_seed(0)
        found = particle_agreement(
            particles.batches(sample), particles.half_sets, (low, high), shared, noise, generator
        )
        gains[size] = found.gain, found.gain_deviation
    main, main_error = gains[particles.pixel_size]
    scale = particles.optics.scale.clone()
    told = []
    for size, (gain, error) in gains.items():
        if main <= CERTAIN * main_error or gain <= CERTAIN * error:
            progress.warn(
                Note(
                    "grey-scale-unknown", "warning",
                    f"The grey scale of images with pixels of {size:.4g} Å cannot be compared with "
                    f"that of the others, as there is too little signal. It is assumed to be the same.",
                )
            )  # fmt: skip
            return None
        ratio = gain / main
        doubt = ratio * ((error / gain) ** 2 + (main_error / main) ** 2) ** 0.5
        if abs(ratio - 1.0) > max(WORTH, CERTAIN * doubt):
            scale[pixels == size] *= ratio
            told.append(f"{ratio:.3f} ± {doubt:.3f} for pixels of {size:.4g} Å")
    if not told:
        return None
    progress.say(
        f"Grey scale, relative to images of {particles.pixel_size:.4g} Å per pixel: "
        f"{', '.join(told)}. CTFs are scaled accordingly and the images read again."
    )
    return replace(particles, optics=replace(particles.optics, scale=scale))
