"""What a finished run gives to another one."""

from __future__ import annotations

from pathlib import Path

from ..mixture import GaussianMixture
from ..reconstruction import Start
from ..settings import ReconstructionSettings
from .folder import RunFolder


def read_start(settings: ReconstructionSettings) -> Start | None:
    """The Gaussians of the run that ``settings`` start from; None where they start from no run.

    Raises
    ------
    InputError
        The folder holds no run, or its files cannot be read.
    """
    if settings.start in ("statistics", "random"):
        return None
    run = RunFolder(Path(settings.start))
    half_sets = run.read_summary().half_sets
    files = run.gaussians, run.half1_gaussians, run.half2_gaussians
    mixtures = [GaussianMixture.load(file) for file in files]
    return Start(mixtures, half_sets, run.path, run.particles.name)
