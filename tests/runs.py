"""Particles through the whole recipe into a run folder, as the command does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.io.mrc import read_map
from cryosplat.particles import Particles
from cryosplat.progress import Progress, SilentProgress
from cryosplat.reconstruction import Reconstruction, reconstruct
from cryosplat.run_folder import RunFolder, RunSummary, read_start, write_run
from cryosplat.run_folder.curves import curves_of
from cryosplat.settings import ReconstructionSettings


@dataclass(frozen=True)
class Run:
    """A finished run: its values and its folder."""

    folder: RunFolder
    result: Reconstruction

    def map(self, name: str = "map") -> Tensor:
        """A map as it is written."""
        return torch.from_numpy(read_map(getattr(self.folder, name)).data.copy())

    @property
    def summary(self) -> RunSummary:
        """``run.json``."""
        return self.folder.read_summary()

    @property
    def curves(self) -> dict[str, Tensor]:
        """FSC curves by name."""
        return curves_of(self.result)

    def codes(self, *severities: str) -> set[str]:
        """Codes of the run's notes of these severities (default: all)."""
        return {n.code for n in self.result.notes if not severities or n.severity in severities}


def run_into(
    folder: Path,
    particles: Particles,
    settings: ReconstructionSettings,
    progress: Progress = SilentProgress(),
) -> Run:
    """Reconstruct ``particles`` into the new ``folder``."""
    with RunFolder.create(folder) as staged:
        start, checkpoint = read_start(settings), CheckpointFile(staged.checkpoint)
        result = reconstruct(particles, settings, progress, start=start, checkpoint=checkpoint)
        return Run(write_run(staged, result), result)
