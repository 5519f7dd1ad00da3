"""Starting where an earlier run ended."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import InputError
from ..io.ply import read_ply
from ..mixture import GaussianMixture
from ..progress import Progress
from ..run_folder import RunFolder


def mixtures_of_run(
    start: str, half_sets: str, symmetry: str, progress: Progress
) -> list[GaussianMixture] | None:
    """The mixtures [full, half 1, half 2] of the run in folder ``start``; None without a folder.

    ``half_sets``: digest of the half-sets of this run. Those of the earlier run must be the same:
    a half-set that starts from Gaussians which have seen the other half gives no honest FSC.

    Raises
    ------
    InputError
        The folder holds no run, or one of other half-sets or of another symmetry.
    """
    if start in ("statistics", "random"):
        return None
    run = RunFolder(Path(start))
    if run.read_json().get("half_sets") != half_sets:
        raise InputError(
            f"{start}: the run was made with other particles or half-sets, so the half-maps of a run "
            f"that starts there would not be independent.\n"
            f"  Remedy: give the same particle file; where that run drew the half-sets, give its "
            f"{run.particles.name}."
        )
    progress.say(f"Starting from the Gaussians of {start}.")
    mixtures = []
    for path in (run.gaussians, run.half1_gaussians, run.half2_gaussians):
        found = read_ply(path)
        if found.symmetry != symmetry:
            raise InputError(
                f"{path}: the Gaussians have the symmetry {found.symmetry}, expected {symmetry}, as "
                f"this run.\n"
                f"  Remedy: --symmetry {found.symmetry}, or leave --start out."
            )
        columns = found.means, found.scales, found.quaternions, found.amplitudes
        mixtures.append(GaussianMixture(*map(torch.from_numpy, columns), symmetry=found.symmetry))
    return mixtures
