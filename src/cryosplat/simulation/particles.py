"""Simulated particle images: the forward model, plus everything that goes wrong in a microscope."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation
from torch import Tensor

from .. import fourier
from ..arrays import members
from ..commands import pasted
from ..errors import OutputError, SettingsError
from ..formation import Projector, VolumeProjector, form_images
from ..grid import Grid
from ..io.mrc import write_map, write_stack
from ..io.staging import begin_folder, own_no_more
from ..io.star import write_star
from ..mixture import GaussianMixture
from ..optics import Optics, processed
from ..poses import Poses, euler_from_rotations, random_poses
from ..signals import held_back
from .background import coloured_gain, draw_noise
from .optics import (
    draw_optics,
    grid_of_particles,
    image_grids,
    on_grid,
    optics_table,
    unprocessed,
)
from .rendering import band_limited_map
from .settings import SimulationSettings

PIXELS_AT_ONCE = 1 << 21
"""Image pixels formed in one batch."""
CALIBRATION_IMAGES = 256
"""Images whose variance sets the noise level; all of them when there are fewer."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The particles ``members`` whose images of ``grid`` go to the file ``stack``, in order."""

    grid: Grid
    stack: str
    members: Tensor


def simulate_particles(
    source: Tensor | GaussianMixture,
    grid: Grid,
    settings: SimulationSettings,
    out_dir: str | os.PathLike[str],
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None = None,
    projector: Projector | None = None,
) -> Path:
    """Simulate particles of a map or a mixture; returns the path of ``particles.star``.

    Writes ``particles.star`` (RELION 3.1), ``particles.mrcs`` (float32; ``particles1.mrcs`` and so
    on, where the images have several boxes or pixel sizes) and ``truth.mrc`` into the new folder
    ``out_dir``, which appears complete or not at all. Background noise has variance 1 (RELION's
    normalisation) and ``truth.mrc`` the images' grey scale: an image is its projection under the
    CTF, plus that noise. Phases are flipped, or the CTF multiplied once more, with the noise in
    place. ``progress`` is called with the images done and their number. ``projector`` makes the
    images; by default the map's slices, by gridding.

    Raises
    ------
    OutputError
        ``out_dir`` exists and is not empty, or cannot be written.
    SettingsError
        The molecule does not fit into the box.
    """
    out_dir = Path(out_dir)
    staging = _staging_folder(out_dir)
    try:
        volume = _volume(source, grid)
        projector = projector or VolumeProjector(volume, grid)
        progress = progress or (lambda done, n: None)
        _simulate(volume, projector, grid, settings, staging, generator, progress)
        with held_back():
            if out_dir.exists():
                out_dir.rmdir()
            own_no_more(staging)
            staging.rename(out_dir)
    except OSError as error:
        raise OutputError(
            f"{out_dir}: cannot be written ({error.strerror}). "
            f"Remedy: choose a folder that you may write to and that has space."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out_dir / "particles.star"


def _staging_folder(out_dir: Path) -> Path:
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise OutputError(
            f"{out_dir}: exists already, expected a new or an empty folder. "
            f"Remedy: choose another name, or remove it: {pasted('rm', '-r', out_dir)}"
        )
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        return begin_folder(out_dir)
    except OSError as error:
        raise OutputError(
            f"{out_dir}: cannot be created ({error.strerror}). "
            f"Remedy: choose a folder that you may write to."
        ) from error


def _simulate(
    volume: Tensor,
    projector: Projector,
    grid: Grid,
    settings: SimulationSettings,
    folder: Path,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> None:
    true, recorded = _poses(settings, generator)
    optics = draw_optics(settings, grid, generator)
    plan = _plan(settings, grid, optics)
    taken = unprocessed(optics)
    scale = 1.0 / _noise_deviation(projector, grid, settings, true, taken)
    sign = 1.0 if settings.contrast == "bright" else -1.0
    done = 0

    def images(part: _Part) -> Iterator[ArrayLike]:
        nonlocal done
        own = part.grid
        gain = coloured_gain(own) if settings.noise == "coloured" else None
        for index in _batches(part.members, own):
            clean = _form(projector, own.box_size, true.select(index), taken.select(index))
            noise = draw_noise(len(index), own.box_size, gain, generator)
            noisy = _processed(scale * clean + noise, optics.select(index))
            yield (sign * noisy).float().numpy()
            done += len(index)
            progress(done, settings.n)

    for part in plan:
        write_stack(folder / part.stack, images(part), part.grid.pixel_size, "simulated particles")
    truth = (scale * volume).numpy()
    write_map(folder / "truth.mrc", truth, grid.pixel_size, "truth of simulated particles")
    half_sets = torch.randint(1, 3, (settings.n,), generator=generator)
    tables = {
        "optics": optics_table(settings, optics),
        "particles": _particle_table(settings, recorded, optics, half_sets, _image_names(plan)),
    }
    write_star(folder / "particles.star", tables)


def _volume(source: Tensor | GaussianMixture, grid: Grid) -> Tensor:
    if isinstance(source, GaussianMixture):
        return band_limited_map(source, grid)
    if source.shape != (grid.box_size,) * 3:
        raise SettingsError(
            f"simulation: the map has shape {tuple(source.shape)}, expected a cube of "
            f"{grid.box_size} voxels."
        )
    return source


def _plan(settings: SimulationSettings, grid: Grid, optics: Optics) -> tuple[_Part, ...]:
    """The stacks: one for each image grid that particles have."""
    grids = image_grids(settings, grid)
    mine = grid_of_particles(settings, grid, optics)
    names = ["particles.mrcs"] if len(grids) == 1 else [
        f"particles{i}.mrcs" for i in range(1, len(grids) + 1)
    ]  # fmt: skip
    return tuple(_Part(grids[i], names[i], own) for i, own in members(mine))


def _batches(members: Tensor, grid: Grid) -> tuple[Tensor, ...]:
    return members.split(max(1, PIXELS_AT_ONCE // grid.box_size**2))


def _form(projector: Projector, box_size: int, poses: Poses, optics: Optics) -> Tensor:
    """Images of any optics groups, all of one box size, in the order of the poses."""
    images = torch.empty(len(poses), box_size, box_size)
    for _, index in members(optics.group):
        formed = form_images(projector, poses.select(index), optics.select(index), box_size)
        images[index] = formed.to(images)
    return images


def _processed(images: Tensor, optics: Optics) -> Tensor:
    """The images as they are stored, of one pixel size: with the CTF's values, not its scale."""
    if optics.groups[0].processing == "none":
        return images
    bare = replace(optics, scale=torch.ones_like(optics.scale))
    return fourier.inverse(processed(fourier.transform(images, 2), bare), images.shape[-1], 2)


def _poses(settings: SimulationSettings, generator: torch.Generator) -> tuple[Poses, Poses]:
    """True and recorded poses: the true rotation is the recorded one, turned by the error."""
    recorded = random_poses(settings.n, generator, settings.shift)

    def normal(width: int) -> Tensor:
        return torch.randn(settings.n, width, generator=generator, dtype=torch.float64)

    turn = Rotation.from_rotvec((settings.angle_error * normal(3)).numpy()).as_matrix()
    shifts = recorded.shifts + settings.shift_error * normal(2)
    return Poses(torch.from_numpy(turn) @ recorded.rotations, shifts), recorded


def _noise_deviation(
    projector: Projector,
    grid: Grid,
    settings: SimulationSettings,
    poses: Poses,
    optics: Optics,
) -> float:
    """Standard deviation of the noise that gives images on the map's grid the wanted SNR.

    Poses and defoci are drawn independently, so the first images are a fair sample of all.
    """
    total, squares, count = 0.0, 0.0, 0
    optics = on_grid(optics, grid)
    for index in _batches(torch.arange(min(settings.n, CALIBRATION_IMAGES)), grid):
        clean = _form(projector, grid.box_size, poses.select(index), optics.select(index))
        total += float(clean.double().sum())
        squares += float(clean.double().square().sum())
        count += clean.numel()
    variance = squares / count - (total / count) ** 2
    if not variance > 0.0:
        raise SettingsError(
            "simulation: the map is empty, its images have no variance. "
            "Remedy: check the map or the model."
        )
    return math.sqrt(variance / settings.snr)


def _image_names(plan: tuple[_Part, ...]) -> list[str]:
    names = [""] * sum(len(part.members) for part in plan)
    for part in plan:
        for section, i in enumerate(part.members.tolist(), 1):
            names[i] = f"{section:06d}@{part.stack}"
    return names


def _particle_table(
    settings: SimulationSettings,
    recorded: Poses,
    optics: Optics,
    half_sets: Tensor,
    names: list[str],
) -> pd.DataFrame:
    """The particles of a RELION 3.1 STAR file, in its units: degree, Angstrom."""
    degrees = 180.0 / math.pi
    angles = (euler_from_rotations(recorded.rotations.numpy()) * degrees).round(6)
    table = pd.DataFrame(
        {
            "rlnImageName": names,
            "rlnMicrographName": [
                f"micrograph{i // settings.particles_per_micrograph + 1:05d}.mrc"
                for i in range(settings.n)
            ],
            "rlnAngleRot": angles[:, 0],
            "rlnAngleTilt": angles[:, 1],
            "rlnAnglePsi": angles[:, 2],
            "rlnOriginXAngst": recorded.shifts[:, 0].numpy().round(6),
            "rlnOriginYAngst": recorded.shifts[:, 1].numpy().round(6),
            "rlnDefocusU": optics.defocus_u.numpy().round(3),
            "rlnDefocusV": optics.defocus_v.numpy().round(3),
            "rlnDefocusAngle": (optics.defocus_angle.numpy() * degrees).round(6),
            "rlnPhaseShift": (optics.phase_shift.numpy() * degrees).round(6),
            "rlnRandomSubset": half_sets.numpy(),
            "rlnOpticsGroup": optics.group.numpy() + 1,
        }
    )
    if bool((optics.scale != 1.0).any()):
        table["rlnCtfScalefactor"] = optics.scale.numpy()
    return table
