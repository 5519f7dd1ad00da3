"""The recipe, read from top to bottom: half-sets, statistics, fits, baseline, FSC, export."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from .errors import InputError
from .fitting import (
    Choice,
    Fit,
    Schedule,
    Selection,
    density,
    effective_voxels,
    fit,
    march,
    start_in_density,
)
from .grid import Grid
from .mixture import GaussianMixture, mean_of
from .noise import NoiseModel, estimate_noise
from .particles import Particles, split_half_sets, write_particles
from .progress import Progress
from .run_folder import RunFolder
from .settings import ReconstructionSettings
from .splatting import voxelize
from .statistics import QuadraticForm, Statistics, accumulate
from .validation.baseline import voxel_maps
from .validation.comparison import Comparison, compare
from .validation.contrast import contrast_score
from .validation.fsc import resolution
from .validation.mask import soft_mask

NOISE_SAMPLE = 1000  # images
CONTRAST_BOX = 40  # pixels are enough to tell bright from dark
CONTRAST_DOUBT = 4.0  # standard deviations
LEAST_NOISE_SAMPLE = 50  # of each optics group
MEMBERS = 2  # independent fits whose mean is the map; see docs/decisions
VOXELS_PER_GAUSSIAN = 4
FEWEST_PARTICLES = 2  # in each half-set: one to fit, one held out


@dataclass(slots=True)
class Reconstruction:
    """What a run found: JSON-able ``summary``, FSC curves per shell, shell ``frequencies``."""

    summary: dict[str, Any] = field(default_factory=dict)
    fsc: dict[str, list[float]] = field(default_factory=dict)
    frequencies: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Set:
    """The statistics of one half-set, in what is fitted and what is held out."""

    train: Statistics
    held_out: Statistics

    def whole(self) -> Statistics:
        return self.train + self.held_out


class _Clock:
    """Wall time of each named stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begin = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def total(self) -> float:
        return time.perf_counter() - self.begin


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
    clock, result = _Clock(), Reconstruction()
    for note in particles.notes:
        progress.say(note)
    generator = torch.Generator().manual_seed(settings.seed)
    particles = _with_half_sets(particles, generator, folder, progress)
    grid = Grid(particles.box_size, particles.pixel_size)
    with clock("noise"):
        noise = _noise(particles, progress)
    with clock("accumulate"):
        halves, held = _accumulated(particles, grid, noise, settings, generator, progress)
    with clock("contrast"):
        halves, contrast = _upright(halves, settings, progress)
    with clock("baseline"), progress.stage("voxel baseline", 5, "maps") as stage:
        voxels = voxel_maps((halves[0].whole(), halves[1].whole()), stage.advance)
    side = _fitted_side(voxels[0], grid)
    choices, fits = [], []
    both = _Set(halves[0].train + halves[1].train, halves[0].held_out + halves[1].held_out)
    for name, part in (("all particles", both), ("half 1", halves[0]), ("half 2", halves[1])):
        with clock(f"selection, {name}"):
            choices.append(_choose(part, side, settings, name, progress))
        with clock(f"fit, {name}"):
            fits.append(_fit(part.whole(), side, choices[-1], settings, name, progress))
    mixtures = [mean_of([f.mixture for f in members]) for members in fits]
    maps = [voxelize(m, grid).detach() for m in mixtures]
    with clock("validation"):
        mask = soft_mask(maps[0], grid)
        generator = torch.Generator().manual_seed(settings.seed)
        _report(result, compare(maps, voxels, mask, grid, generator), grid)
        result.summary["voxels_of_mask"] = float(mask.sum())
    result.summary |= {
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
        "choices": [_described(c, grid) for c in choices],
        "smallest_scale_allowed": Schedule().floor * grid.pixel_size,
        "scale_at_floor": float(
            (mixtures[0].scales < 1.05 * Schedule().floor * grid.pixel_size).float().mean()
        ),
        "trials": [[list(row) for row in choice.history] for choice in choices],
    }
    with clock("writing"):
        _write(folder, grid, maps, voxels, mask, mixtures)
    result.summary["timings"] = clock.seconds | {"total": clock.total()}
    result.summary["peak_memory_bytes"] = _peak_memory()
    return result


def _with_half_sets(
    particles: Particles, generator: torch.Generator, folder: RunFolder, progress: Progress
) -> Particles:
    if not particles.has_half_sets:
        particles = split_half_sets(particles, generator)
        for note in particles.notes[-1:]:
            progress.say(note)
        write_particles(particles, folder.particles)
    for half in (1, 2):
        n = int((particles.half_sets == half).sum())
        if n < FEWEST_PARTICLES:
            raise InputError(
                f"{particles.source}: half-set {half} holds {n} of {len(particles)} particles, "
                f"expected at least {FEWEST_PARTICLES} in each. Likely cause: a selection that "
                f"kept one half-set. Remedy: use more particles, or remove the column of half-sets "
                f"so that a random split is made."
            )
    return particles


def _noise(particles: Particles, progress: Progress) -> NoiseModel:
    with progress.stage("noise from image corners", None, "images"):
        noise = estimate_noise(particles.batches(_noise_sample(particles.optics.group)))
    if noise.normalise:
        progress.say(
            "The images' backgrounds are not at mean 0 and deviation 1: each image is normalised "
            "by its own background."
        )
    return noise


def _noise_sample(group: Tensor) -> Tensor:
    """Positions of particles that stand for all, some from every optics group there is."""
    present = group.unique()
    share = max(NOISE_SAMPLE // len(present), LEAST_NOISE_SAMPLE)
    positions = []
    for number in present:
        members = (group == number).nonzero().squeeze(1)
        positions.append(members[:: max(1, len(members) // share)])
    return torch.cat(positions)


def _accumulated(
    particles: Particles,
    grid: Grid,
    noise: NoiseModel,
    settings: ReconstructionSettings,
    generator: torch.Generator,
    progress: Progress,
) -> tuple[list[_Set], list[int]]:
    """Statistics of both half-sets, with a random share of each held out."""
    sets = torch.zeros(len(particles), dtype=torch.int64)
    held = []
    for half in (1, 2):
        members = (particles.half_sets == half).nonzero().squeeze(1)
        n_held = max(round(settings.held_out * len(members)), min(len(members) // 3, 50), 1)
        order = torch.randperm(len(members), generator=generator)
        sets[members] = 2 * (half - 1)
        sets[members[order[:n_held]]] += 1
        held.append(n_held)
    with progress.stage("accumulating statistics", len(particles), "images") as stage:
        parts = accumulate(particles.batches(), sets, 4, grid, noise, stage.advance)
    return [_Set(parts[0], parts[1]), _Set(parts[2], parts[3])], held


def _upright(
    halves: list[_Set], settings: ReconstructionSettings, progress: Progress
) -> tuple[list[_Set], dict[str, Any]]:
    """The statistics with protein bright, and how that was decided."""
    whole = halves[0].whole() + halves[1].whole()
    if whole.grid.box_size > CONTRAST_BOX:
        whole = whole.downsampled(CONTRAST_BOX)
    score = contrast_score(QuadraticForm(whole, whole.grid.box_size))
    found = "dark" if score < 0.0 else "bright"
    used = found if settings.contrast == "auto" else settings.contrast
    decided = "from the data" if settings.contrast == "auto" else "as given"
    progress.say(
        f"Contrast: protein is {used} in the images ({decided}; the data say {found}, by "
        f"{abs(score):.1f} standard deviations)."
    )
    if used != found:
        progress.warn(f"The contrast you gave is {used}, but the data say {found}.")
    elif abs(score) < CONTRAST_DOUBT:
        progress.warn(
            "The contrast is in doubt. Remedy: look at the images, and give --invert for dark "
            "protein or --no-invert for bright protein."
        )
    if used == "dark":
        halves = [_Set(h.train.inverted(), h.held_out.inverted()) for h in halves]
    return halves, {"used": used, "preferred": found, "standard_deviations": score}


def _fitted_side(voxel_map: Tensor, grid: Grid) -> int:
    """Side in voxels of the cube around the rotation centre that holds the molecule."""
    inside = (soft_mask(voxel_map, grid) > 0.0).nonzero() - grid.centre
    reach = int(inside.abs().max()) + 2 if len(inside) else grid.centre
    side = scipy.fft.next_fast_len(2 * reach, real=True)
    side += side % 2
    return side if side < 0.95 * grid.box_size else grid.box_size


def _choose(
    half: _Set, side: int, settings: ReconstructionSettings, name: str, progress: Progress
) -> Choice:
    """Scale, number of Gaussians and steps for one half-set, by its own held-out particles."""
    train, held_out = QuadraticForm(half.train, side), QuadraticForm(half.held_out, side)
    positive = density(train)
    wanted = settings.gaussians
    number = round(
        effective_voxels(positive) / VOXELS_PER_GAUSSIAN if wanted is None else wanted / MEMBERS
    )

    def start(k: int, scale: float, generator: torch.Generator) -> GaussianMixture:
        return start_in_density(train, positive, k, scale, generator)

    schedule = _schedule(settings)
    with progress.stage(f"choosing Gaussians, {name}", None, "trials") as stage:
        selection = Selection(
            train, held_out, schedule, start, settings.seed, lambda: stage.advance(1)
        )
        choice = selection.choose(number, vary_number=wanted is None)
    if settings.steps is not None:
        choice = replace(choice, steps=settings.steps)
    progress.say(f"{name}: {_described(choice, half.train.grid)}")
    return choice


def _schedule(settings: ReconstructionSettings) -> Schedule:
    return Schedule() if settings.steps is None else Schedule(steps=settings.steps)


def _fit(
    statistics: Statistics,
    side: int,
    choice: Choice,
    settings: ReconstructionSettings,
    name: str,
    progress: Progress,
) -> list[Fit]:
    """Independent fits with different first positions; their mean is the map."""
    form = QuadraticForm(statistics, side)
    schedule = _schedule(settings)
    positive = density(form) if settings.start == "statistics" else None
    fits = []
    with progress.stage(f"fitting {name}", MEMBERS * choice.steps, "steps") as stage:
        for member in range(MEMBERS):
            seed = settings.seed + 1000 * (member + 1)
            generator = torch.Generator().manual_seed(seed)
            k, scale = choice.gaussians, choice.scale
            if positive is None:
                start = march(statistics, side, k, scale, schedule, generator)
            else:
                start = start_in_density(form, positive, k, scale, generator)
            fits.append(
                fit(form, start, schedule, stop=choice.steps, on_step=lambda: stage.advance(1))
            )
    return fits


def _described(choice: Choice, grid: Grid) -> str:
    return (
        f"{MEMBERS} x {choice.gaussians:,} Gaussians, first {choice.scale * grid.pixel_size:.1f} Å "
        f"wide, {choice.steps} steps"
    )


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


def _write(
    folder: RunFolder,
    grid: Grid,
    maps: list[Tensor],
    voxels: list[Tensor],
    mask: Tensor,
    mixtures: list[GaussianMixture],
) -> None:
    from .io.mrc import write_map
    from .io.ply import write_ply

    paths = [
        (folder.map, maps[0]), (folder.half1, maps[1]), (folder.half2, maps[2]),
        (folder.voxel_map, voxels[0]), (folder.voxel_half1, voxels[1]),
        (folder.voxel_half2, voxels[2]), (folder.mask, mask),
    ]  # fmt: skip
    for path, volume in paths:
        write_map(path, volume.numpy().astype(np.float32), grid.pixel_size)
    for path, mixture in zip(
        (folder.gaussians, folder.half1_gaussians, folder.half2_gaussians), mixtures, strict=True
    ):
        write_ply(
            path, mixture.means.numpy(), mixture.scales.numpy(), mixture.quaternions.numpy(),
            mixture.amplitudes.numpy(),
        )  # fmt: skip


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
