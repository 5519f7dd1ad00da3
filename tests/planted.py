"""A clean particle set with real signal, and its tables to plant faults in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from problems import blobs

from cryosplat.checking import CheckResult, check_particles
from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, write_stack
from cryosplat.io.star import read_star, write_star
from cryosplat.particles import Particles, read_particles
from cryosplat.progress import SilentProgress
from cryosplat.simulation import SimulationSettings, simulate_particles

BOX, PIXEL_SIZE = 24, 5.0
N = 240


@dataclass
class PlantedSet:
    """Tables of a set in a folder of its own, whose stack is named by its absolute path."""

    folder: Path
    rows: pd.DataFrame
    optics: pd.DataFrame
    stack: Path
    options: dict[str, object] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.rows)

    def images(self) -> np.ndarray:
        """All images of the clean stack."""
        return StackFile(self.stack).read(np.arange(self.n))

    def restack(self, images: np.ndarray, pixel_size: float = PIXEL_SIZE) -> Path:
        """Write other images and name them in the table."""
        path = self.folder / "particles.mrcs"
        write_stack(path, images, pixel_size)
        self.rows["rlnImageName"] = [f"{i + 1:06d}@{path}" for i in range(len(images))]
        return path

    def name(self, stack: str, wanted: slice = slice(None)) -> None:
        """Put another stack's name into some rows."""
        at = self.rows.columns.get_loc("rlnImageName")
        for i in range(self.n)[wanted]:
            number = str(self.rows.iloc[i, at]).partition("@")[0]
            self.rows.iloc[i, at] = f"{number}@{stack}"

    def write(self) -> Path:
        path = self.folder / "particles.star"
        write_star(path, {"optics": self.optics, "particles": self.rows})
        return path

    def check(self, trial: bool = False, all_images: bool = False) -> tuple[Particles, CheckResult]:
        """What the check says of the set as it is now."""
        path = self.write()
        return check_particles(
            lambda faults: read_particles(path, faults=faults, **self.options),  # type: ignore
            SilentProgress(), trial=trial, all_images=all_images,
        )  # fmt: skip


def simulate_clean(folder: Path, n: int = N, **settings: object) -> Path:
    """Simulate ``n`` images of an irregular cluster of Gaussians; returns the star file."""
    generator = torch.Generator().manual_seed(3)
    grid = Grid(BOX, PIXEL_SIZE)
    molecule = blobs(40, 28.0, generator, 5.0)
    given = {"snr": 0.5, "shift": 10.0, "astigmatism": 2400.0, "defocus": (14000.0, 30000.0)}
    chosen = SimulationSettings(n, **{**given, **settings})  # type: ignore[arg-type]
    return simulate_particles(molecule, grid, chosen, folder, generator)


def planted(star: Path, folder: Path) -> PlantedSet:
    """A set of its own in ``folder`` out of a simulated one."""
    blocks = read_star(star)
    rows = blocks["particles"].copy()
    rows["rlnRandomSubset"] = np.arange(len(rows)) % 2 + 1
    found = PlantedSet(folder, rows, blocks["optics"].copy(), star.parent / "particles.mrcs")
    found.name(str(found.stack))
    return found
