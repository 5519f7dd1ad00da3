"""The recipe, read from top to bottom: half-sets, statistics, fits, baseline, FSC, export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..fitting import Schedule
from ..grid import Grid
from ..io.checkpoint import CheckpointFile
from ..maps.fsc import masked_fscs, resolution
from ..maps.mask import named_masks
from ..maps.mask_checks import read_mask, resolutions_by_mask
from ..particles import Particles
from ..progress import Progress
from ..run_folder import RunFolder
from ..settings import ReconstructionSettings
from ..splatting import voxelize
from ..validation.baseline import voxel_maps
from ..validation.comparison import HALF_MAPS, Comparison, compare
from ..validation.independence import Fingerprints
from ._checkpoint import journal_in
from ._clock import Clock, peak_memory
from ._controls import Subject, control, remarks_on
from ._data import HalfSet, accumulated, measured_noise, upright, with_half_sets
from ._fits import Parts, fitted_side, fitted_to_statistics
from ._grey_scales import matched
from ._identity import digest_of_half_sets, held_out_sets
from ._image_fits import fitted_to_images, image_data
from ._quality import (
    against_model,
    directions,
    write_gaussians,
    write_local_resolution,
    write_sharpened,
)
from ._starting import mixtures_of_run
from ._writing import write_maps


@dataclass(slots=True)
class Reconstruction:
    """What a run found: JSON-able ``summary``, FSC curves per shell, shell ``frequencies``."""

    summary: dict[str, Any] = field(default_factory=dict)
    fsc: dict[str, list[float]] = field(default_factory=dict)
    frequencies: list[float] = field(default_factory=list)

    def add_curves(self, curves: Mapping[str, Tensor]) -> None:
        """Add FSC curves that are not there yet."""
        for name, curve in curves.items():
            self.fsc.setdefault(name, curve.tolist())


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
        progress.say(str(note))
    generator = torch.Generator().manual_seed(settings.seed)
    particles = with_half_sets(particles, generator, folder, progress)
    grid = Grid(particles.box_size, particles.pixel_size)
    digest = digest_of_half_sets(particles)
    journal = journal_in(CheckpointFile(folder.checkpoint), particles, settings, progress)
    earlier = mixtures_of_run(settings.start, digest, settings.symmetry, progress)
    user_mask = None if settings.mask is None else read_mask(settings.mask, grid)
    with clock("noise"):
        noise = measured_noise(particles, progress)
    with clock("accumulate"):
        sets, held = held_out_sets(particles, settings.held_out, generator)
        fingerprints = Fingerprints()
        batches = fingerprints.watch(particles.batches())
        halves = accumulated(batches, sets, grid, noise, progress, settings.symmetry)
    with clock("contrast"):
        halves, contrast = upright(halves, settings, progress)
    with clock("baseline"):
        voxels = _baseline(halves, progress)
    with clock("grey scale"):
        sign = -1.0 if contrast["used"] == "dark" else 1.0
        seen = sign * voxels[1], sign * voxels[2]
        rescaled = matched(particles, seen, grid, noise, progress)
        if rescaled is not None:
            particles = rescaled
            again = particles.batches()
            halves = accumulated(again, sets, grid, noise, progress, settings.symmetry)
            halves = [half.inverted() for half in halves] if sign < 0.0 else halves
            voxels = _baseline(halves, progress)
    side = fitted_side(voxels[0], grid)
    parts = Parts((halves[0] + halves[1], halves[0], halves[1]), side, earlier, clock)
    if settings.solver == "images":
        data = image_data(particles, grid, noise, sign)
        fitted = fitted_to_images(parts, data, settings, progress, journal)
    else:
        fitted = fitted_to_statistics(parts, settings, progress, journal)
    mixtures = fitted.mixtures
    maps = [voxelize(mixture, grid).detach() for mixture in mixtures]
    with clock("validation"):
        generator = torch.Generator().manual_seed(settings.seed)
        masks = named_masks(maps[0], grid, user_mask)
        mask = masks["auto" if user_mask is None else "user"]
        comparison = compare(maps, voxels, mask, grid, generator)
        found = masked_fscs(maps[1], maps[2], masks, generator)
        result.summary["masks"] = resolutions_by_mask(found, grid)
    with clock("controls"):
        subject = Subject(
            particles, noise, contrast["used"], grid, settings, maps, voxels, mask, fingerprints
        )
        remarks = [] if user_mask is None else remarks_on(mask, found["user"], maps[0], grid)
        controlled = control(subject, comparison, parts, fitted, remarks, progress)
        comparison = controlled.comparison
        result.summary |= controlled.summary
        _report(result, comparison, grid)
        result.add_curves({f"half-maps, {n} mask": f.corrected for n, f in found.items()})
    with clock("local resolution, directions, errors"):
        corrected, headline = comparison.curves[HALF_MAPS], comparison.headline
        halves_of = maps[1:], voxels[1:]
        result.summary |= {
            "guinier": write_sharpened(folder, maps[0], corrected, headline, grid),
            "local_resolution": write_local_resolution(folder, *halves_of, mask, grid),
            "uncertainty": write_gaussians(folder, mixtures, maps[1:], grid),
            **directions(maps[1:], mask, particles.poses, grid, settings.symmetry),
        }
        if settings.model is not None:
            model = against_model(folder, maps[0], mask, grid, Path(settings.model))
            result.summary["model"] = model[0]
            result.add_curves({"map with model": model[1]})
    floor = Schedule().floor * grid.pixel_size
    result.summary |= {
        "voxels_of_mask": float(mask.sum()),
        "n_particles": len(particles),
        "n_half": [h.train.n_images + h.held_out.n_images for h in halves],
        "n_held_out": held,
        "half_sets": digest,
        "box_size": grid.box_size,
        "pixel_size": grid.pixel_size,
        "fitted_side": side,
        "contrast": contrast,
        "normalised": noise.normalise,
        "symmetry": settings.symmetry,
        "gaussians": [m.copies * len(m) for m in mixtures],
        "gaussians_stored": [len(m) for m in mixtures],
        "smallest_scale_allowed": floor,
        "scale_at_floor": float((mixtures[0].scales < 1.05 * floor).float().mean()),
        **fitted.summary,
    }
    with clock("writing"):
        write_maps(folder, grid, maps, voxels, mask)
    result.summary["timings"] = clock.seconds | {"total": clock.total()}
    result.summary["peak_memory_bytes"] = peak_memory()
    return result


def _baseline(halves: list[HalfSet], progress: Progress) -> list[Tensor]:
    with progress.stage("voxel baseline", 5, "maps") as stage:
        return voxel_maps((halves[0].whole(), halves[1].whole()), stage.advance)


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
