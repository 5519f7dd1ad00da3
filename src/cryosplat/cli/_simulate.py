"""``cryosplat simulate``: particles from an atomic model or a map."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from ..errors import SettingsError
from ..grid import Grid
from ..io.mrc import read_map
from ..mixture import GaussianMixture
from ..simulation import (
    SimulationSettings,
    anisotropic_magnification,
    mixture_from_atoms,
    simulate_particles,
    tetrafoil,
    trefoil,
)
from ._console import console_progress

MAPS = (".mrc", ".map", ".ccp4")
BOX, PIXEL_SIZE = 128, 1.5


@dataclass(frozen=True, slots=True)
class Imperfections:
    """What is wrong with the optics, as options say it: numbers between commas, in their units."""

    beam_tilt: str | None = None
    trefoil: str | None = None
    tetrafoil: str | None = None
    magnification_anisotropy: str | None = None
    pixel_sizes: str | None = None
    boxes: str | None = None

    def added_to(self, settings: SimulationSettings, grid: Grid) -> SimulationSettings:
        """The settings with these in Angstrom and radian; phases are those at ``grid``'s Nyquist."""
        changes: dict[str, object] = {}
        if self.beam_tilt:
            x, y = _numbers("--beam-tilt", self.beam_tilt, 2)
            changes["beam_tilt"] = (1e-3 * x, 1e-3 * y)
        for option, text, field, aberration in (
            ("--trefoil", self.trefoil, "odd", trefoil),
            ("--tetrafoil", self.tetrafoil, "even", tetrafoil),
        ):
            if text:
                phase, angle = map(math.radians, _numbers(option, text, 2))
                changes[field] = aberration(phase, angle, grid.pixel_size)
        if self.magnification_anisotropy:
            given = _numbers("--magnification-anisotropy", self.magnification_anisotropy, 2)
            percent, degrees = given
            changes["magnification"] = anisotropic_magnification(
                0.01 * percent, math.radians(degrees)
            )
        return replace(settings, **changes, image_grids=self._image_grids(grid))

    def _image_grids(self, grid: Grid) -> tuple[Grid, ...]:
        if not self.pixel_sizes:
            if self.boxes:
                raise SettingsError(
                    f"--boxes {self.boxes}: boxes of images go with their pixel sizes. "
                    f"Remedy: add --pixel-sizes, or use --box."
                )
            return ()
        sizes = _numbers("--pixel-sizes", self.pixel_sizes, None)
        boxes = [2.0 * round(0.5 * grid.side / max(size, 1e-3)) for size in sizes]
        if self.boxes:
            boxes = _numbers("--boxes", self.boxes, len(sizes))
        return tuple(Grid(round(box), size) for box, size in zip(boxes, sizes, strict=True))


def _numbers(option: str, text: str, count: int | None) -> list[float]:
    expected = f"{count} numbers" if count else "numbers"
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if (
        not numbers
        or not all(map(math.isfinite, numbers))
        or len(numbers) != (count or len(numbers))
    ):
        raise SettingsError(f"{option} {text}: expected {expected} with commas between them.")
    return numbers


def run_simulate(
    model: Path,
    out: Path,
    settings: SimulationSettings,
    imperfections: Imperfections,
    box: int | None,
    pixel_size: float | None,
    b_factor: float,
    seed: int,
) -> None:
    """Simulate particles of ``model`` into the new folder ``out``."""
    source, grid = _source(model, box, pixel_size, b_factor)
    settings = imperfections.added_to(settings, grid)
    generator = torch.Generator().manual_seed(seed)
    star = simulate_with_progress(source, grid, settings, out, generator)
    console = Console(highlight=False, soft_wrap=True)
    grids = settings.image_grids or (grid,)
    sizes = " and ".join(f"{g.box_size} px, {g.pixel_size:g} Å" for g in grids)
    console.print(f"{settings.n:,} particles of {sizes}: {star}")
    console.print(f"Next: cryosplat reconstruct {star} -o {out.parent / (out.name + '-run')}")


def simulate_with_progress(
    source: Tensor | GaussianMixture,
    grid: Grid,
    settings: SimulationSettings,
    out: Path,
    generator: torch.Generator,
) -> Path:
    """`simulate_particles` with a bar on the terminal."""
    with tempfile.TemporaryDirectory() as scratch, \
            console_progress(Path(scratch) / "log.txt") as progress, \
            progress.stage("simulating particles", settings.n, "images") as stage:  # fmt: skip
        return simulate_particles(
            source, grid, settings, out, generator,
            lambda done, n: stage.advance(done - stage.done),
        )  # fmt: skip


def _source(
    model: Path, box: int | None, pixel_size: float | None, b_factor: float
) -> tuple[Tensor | GaussianMixture, Grid]:
    if model.suffix.lower() not in MAPS:
        grid = Grid(box or BOX, pixel_size or PIXEL_SIZE)
        return mixture_from_atoms(model, b_factor), grid
    found = read_map(model)
    for option, given in (("--box", box), ("--pixel-size", pixel_size)):
        if given is not None:
            raise SettingsError(
                f"{option} {given:g}: {model} is a map and has its own box and pixel size "
                f"({found.data.shape[0]} px, {found.pixel_size:g} Å).\n  Remedy: leave it out."
            )
    return torch.from_numpy(found.data), Grid(found.data.shape[0], found.pixel_size)
