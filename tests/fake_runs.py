"""A recipe that needs no time, for tests of what is around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cryosplat.io.mrc import write_map
from cryosplat.particles import Particles
from cryosplat.progress import Progress
from cryosplat.reconstruction import Reconstruction
from cryosplat.run_folder import RunFolder
from cryosplat.settings import ReconstructionSettings

CURVES = (
    "half-maps, unmasked", "half-maps, masked", "half-maps, corrected", "voxels, unmasked",
    "voxels, masked", "voxels, corrected", "cross, masked", "map with truth, from half-maps",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


def fake_reconstruct(
    particles: Particles, settings: ReconstructionSettings, folder: RunFolder, progress: Progress
) -> Reconstruction:
    """Fills a run folder with noise, in the shape of what the recipe leaves."""
    box, pixel = 16, particles.pixel_size
    maps = np.random.default_rng(1).normal(size=(7, box, box, box)).astype(np.float32)
    paths = (
        folder.map, folder.half1, folder.half2, folder.mask, folder.voxel_map, folder.voxel_half1,
        folder.voxel_half2,
    )  # fmt: skip
    with progress.stage("accumulating statistics", len(particles), "images") as stage:
        stage.advance(len(particles))
    progress.say("Contrast: particles are bright.")
    progress.warn("This is no reconstruction.")
    for path, volume in zip(paths, maps, strict=True):
        write_map(path, volume, pixel)
    half = len(particles) // 2
    summary = {
        "n_particles": len(particles), "n_half": [half, len(particles) - half], "box_size": box,
        "pixel_size": pixel, "contrast": {"used": "bright"}, "gaussians": [100, 90, 95],
        "smallest_scale_allowed": 0.6, "scale_at_floor": 0.25, "resolution": 4.5,
        "resolution_at_nyquist": False, "resolution_from": "half-map FSC",
        "resolutions": {name: {"0.5": math.inf, "0.143": 4.5} for name in CURVES},
        "trials": [[[0, -10.0, -1.0], [5, -2.0, -0.2], [10, -1.0, -0.3]]] * 3,
        "timings": {"accumulate": 1.5, "fit halves": 2.5, "total": 4.5},
        "peak_memory_bytes": 5e8,
    }  # fmt: skip
    curve = np.linspace(1.0, 0.0, box // 2 + 1).tolist()
    frequencies = (np.arange(box // 2 + 1) / (box * pixel)).tolist()
    return Reconstruction(summary, dict.fromkeys(CURVES, curve), frequencies)
