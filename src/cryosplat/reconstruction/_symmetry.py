"""The control of a symmetry that was given: a quick look at few particles on few voxels."""

from __future__ import annotations

import torch

from ..grid import Grid
from ..noise import estimate_noise
from ..particles import Particles, downsampled
from ..progress import SYMMETRY, Progress
from ..validation.symmetry_check import SymmetryCheck, check_symmetry

SAMPLE = 4000  # particles
BOX = 48  # pixels


def look_at_symmetry(
    particles: Particles, symmetry: str, seed: int, progress: Progress
) -> SymmetryCheck | None:
    """What a sample of the particles says of ``symmetry``; None where none was given."""
    if symmetry == "C1":
        return None
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(particles), generator=generator)[:SAMPLE].sort().values
    sample = particles[chosen]
    if sample.box_size > BOX:
        sample = downsampled(sample, BOX)
    grid = Grid(sample.box_size, sample.pixel_size)
    with progress.stage(f"{SYMMETRY} {symmetry}", None, "images"):
        batches = list(sample.batches())
        noise = estimate_noise(batches, sample.cut_to_circle())
        found = check_symmetry(batches, sample.half_sets, symmetry, grid, noise)
    rival = found.strongest
    better, worse = (rival.symmetry, symmetry) if rival.nats > 0.0 else (symmetry, rival.symmetry)
    progress.say(
        f"Symmetry {symmetry}: {found.n:,} particles are more likely with {better} than with "
        f"{worse}, by {abs(rival.nats):.0f} nats ({abs(rival.deviations):.1f} standard errors)."
    )
    return found
