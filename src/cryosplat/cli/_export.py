"""``cryosplat export``: the Gaussians of a run for other programs."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..io.atomic import check_no_input, check_suffix
from ..run_folder import RunFolder
from ._console import plain_console


def run_export(run: Path, out: Path) -> None:
    """Write all Gaussians of ``run`` in the format that the suffix of ``out`` names."""
    from ..report.ellipsoids import WRITERS, Ellipsoids
    from ..report.evidence import Evidence

    folder = RunFolder(run)
    check_suffix("-o", out, "Gaussians", tuple(WRITERS))
    check_no_input("-o", out, [folder.gaussians, folder.half1_gaussians, folder.half2_gaussians])
    found = Ellipsoids.of(Evidence.read(folder))
    if found is None:
        raise InputError(
            f"{folder.gaussians}: holds no Gaussians.\n  Remedy: give the folder of a finished run."
        )
    WRITERS[out.suffix.lower()](out, found)
    plain_console().print(f"{out}: {len(found.amplitudes):,} Gaussians")
