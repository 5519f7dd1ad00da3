"""``cryosplat symmetrize``: a map turned to the axes of its point group, and averaged over it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..abinitio import poses_in_axes
from ..errors import InputError, OutputError
from ..grid import Grid
from ..io.mrc import read_map, write_map
from ..maps.point_group import PointGroup, find_point_group, symmetrised
from ..particles import read_particles, write_particles
from ..poses import Poses
from ..run_folder import RunFolder
from ._console import plain_console


def run_symmetrize(source: Path, out: Path, symmetry: str, particles: Path | None) -> None:
    """Find the axes in ``source``, a map or a run, and write the map in RELION's axes to ``out``.

    ``particles``: also write the run's particles with their poses in those axes.
    """
    maps = _maps_of(source)
    volumes = [torch.from_numpy(read_map(path).data) for path in maps]
    grid = Grid(len(volumes[0]), read_map(maps[0]).pixel_size)
    for path, volume in zip(maps, volumes, strict=True):
        grid.check_cube(volume, str(path))
    for path in (out, particles):
        if path is not None and path.exists():
            raise OutputError(f"{path}: exists already.\n  Remedy: choose another name.")
    group = find_point_group(volumes[-2], volumes[-1], None if symmetry == "auto" else symmetry)
    _tell(group, symmetry)
    write_map(out, symmetrised(volumes[0], group).numpy(), grid.pixel_size)
    if particles is not None:
        _write_turned(RunFolder(source), particles, group, grid)


def _maps_of(source: Path) -> list[Path]:
    """The map, and the two that axes are found in: half-maps of a run, or the map itself twice."""
    if not source.is_dir():
        return [source, source, source]
    run = RunFolder(source)
    paths = [run.map, run.half1, run.half2]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InputError(
            f"{source}: has no {missing[0].name}.\n  Remedy: give a map, or the folder of a run."
        )
    return paths


def _tell(group: PointGroup, asked: str) -> None:
    console = plain_console()
    tried = ", ".join(f"{name} {value:.2f}" for name, value in group.tried.items() if value > 0.0)
    if group.name == "C1":
        console.print(f"No symmetry was found. Agreement when turned: {tried or 'none'}.")
    else:
        what = "The best axes for" if asked != "auto" else "Symmetry"
        console.print(f"{what} {group.name}: agreement when turned {group.agreement:.2f}.")
        console.print(f"Tried: {tried}.")


def _write_turned(run: RunFolder, path: Path, group: PointGroup, grid: Grid) -> None:
    if not run.particles.exists():
        raise InputError(
            f"{run.path}: has no {run.particles.name}.\n  Remedy: leave --particles out."
        )
    particles = read_particles(run.particles)
    poses = particles.poses
    rotations, centres = poses_in_axes(poses.rotations, -poses.shifts / grid.side, group, grid)
    turned: Tensor = -centres * grid.side
    write_particles(replace(particles, poses=Poses(rotations, turned)), path)
