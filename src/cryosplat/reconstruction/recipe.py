"""The recipe, read from top to bottom: half-sets, statistics, fits, baseline, FSC, export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ..fitting import Schedule
from ..grid import Grid
from ..particles import Particles
from ..progress import Progress
from ..run_folder import RunFolder
from ..settings import ReconstructionSettings
from ..splatting import voxelize
from ..validation.baseline import voxel_maps
from ..validation.comparison import Comparison, compare
from ..validation.fsc import resolution
from ..validation.mask import soft_mask
from ._clock import Clock, peak_memory
from ._data import accumulated, held_out_sets, measured_noise, upright, with_half_sets
from ._fits import MEMBERS, choose, described, fit_members, fitted_side
from ._writing import write_maps, write_mixtures


@dataclass(slots=True)
class Reconstruction:
    """What a run found: JSON-able ``summary``, FSC curves per shell, shell ``frequencies``."""

    summary: dict[str, Any] = field(default_factory=dict)
    fsc: dict[str, list[float]] = field(default_factory=dict)
    frequencies: list[float] = field(default_factory=list)


def reconstruct(
    particles: Particles,
    settings: ReconstructionSettings,
    folder: RunFolder,
    progress: Progress,
) -> Reconstruction:
    """Fit mixtures to both half-sets and to all particles, compare them, and fill ``folder``.

    The fits of the two half-sets share the noise model, the contrast sign and the side of the
    fitted cube, and nothing else; their voxel baselines also share the Wiener penalty, and all the
    mask in which the FSC is measured.

    Raises
    ------
    InputError
        A half-set is too small; and whatever reading the images raises.
    """
    clock, result = Clock(), Reconstruction()
    for note in particles.notes:
        progress.say(note)
    generator = torch.Generator().manual_seed(settings.seed)
    particles = with_half_sets(particles, generator, folder, progress)
    grid = Grid(particles.box_size, particles.pixel_size)
    with clock("noise"):
        noise = measured_noise(particles, progress)
    with clock("accumulate"):
        sets, held = held_out_sets(particles, settings.held_out, generator)
        halves = accumulated(particles.batches(), sets, grid, noise, progress)
    with clock("contrast"):
        halves, contrast = upright(halves, settings, progress)
    with clock("baseline"), progress.stage("voxel baseline", 5, "maps") as stage:
        voxels = voxel_maps((halves[0].whole(), halves[1].whole()), stage.advance)
    side = fitted_side(voxels[0], grid)
    choices, mixtures = [], []
    parts = halves[0] + halves[1], halves[0], halves[1]
    for name, part in zip(("all particles", "half 1", "half 2"), parts, strict=True):
        with clock(f"selection, {name}"):
            choices.append(choose(part, side, settings, name, progress))
        with clock(f"fit, {name}"):
            whole = part.whole()
            mixtures.append(fit_members(whole, side, choices[-1], settings, name, progress))
    maps = [voxelize(mixture, grid).detach() for mixture in mixtures]
    with clock("validation"):
        mask = soft_mask(maps[0], grid)
        generator = torch.Generator().manual_seed(settings.seed)
        _report(result, compare(maps, voxels, mask, grid, generator), grid)
    floor = Schedule().floor * grid.pixel_size
    result.summary |= {
        "voxels_of_mask": float(mask.sum()),
        "n_particles": len(particles),
        "n_half": [h.train.n_images + h.held_out.n_images for h in halves],
        "n_held_out": held,
        "box_size": grid.box_size,
        "pixel_size": grid.pixel_size,
        "fitted_side": side,
        "contrast": contrast,
        "normalised": noise.normalise,
        "members": MEMBERS,
        "gaussians": [len(m) for m in mixtures],
        "choices": [described(c, grid) for c in choices],
        "smallest_scale_allowed": floor,
        "scale_at_floor": float((mixtures[0].scales < 1.05 * floor).float().mean()),
        "trials": [[list(row) for row in choice.history] for choice in choices],
    }
    with clock("writing"):
        write_maps(folder, grid, maps, voxels, mask)
        write_mixtures(folder, mixtures)
    result.summary["timings"] = clock.seconds | {"total": clock.total()}
    result.summary["peak_memory_bytes"] = peak_memory()
    return result


def _report(result: Reconstruction, comparison: Comparison, grid: Grid) -> None:
    result.fsc = {name: curve.tolist() for name, curve in comparison.curves.items()}
    result.frequencies = grid.shell_frequencies().tolist()
    result.summary |= {
        "resolution": comparison.headline.angstrom,
        "resolution_at_nyquist": comparison.headline.at_nyquist,
        "resolution_from": comparison.taken_from,
        "resolutions": {
            name: {str(t): resolution(curve, grid, t).angstrom for t in (0.5, 0.143)}
            for name, curve in comparison.curves.items()
        },
    }
