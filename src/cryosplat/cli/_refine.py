"""``cryosplat refine``: a reconstruction whose poses are refined first."""

from __future__ import annotations

from pathlib import Path

from ..run_folder import RunFolder
from ..settings import ReconstructionSettings, RefinementSettings
from ._particle_files import ParticleFiles
from ._reconstruct import run_reconstruct


def run_refine(
    files: ParticleFiles,
    downsample: int | None,
    out: Path,
    settings: ReconstructionSettings,
    how: tuple[int, float, float],
    threads: int | None,
    overwrite: bool,
    resume: bool,
) -> RunFolder:
    """Refine the poses of ``files`` and reconstruct into ``out``; ``how``: rounds, angle, shift."""
    rounds, angle, shift = how
    refinement = RefinementSettings(rounds, angle, shift)
    return run_reconstruct(
        files, downsample, out, settings, threads, overwrite, resume, False, refinement
    )
