"""``cryosplat export``: the Gaussians of a run for other programs."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError, OutputError
from ..io.atomic import check_no_input
from ..run_folder import RunFolder
from ._console import plain_console


def run_export(run: Path, out: Path) -> None:
    """Write all Gaussians of ``run`` in the format that the suffix of ``out`` names."""
    from ..report.ellipsoids import WRITERS, Ellipsoids
    from ..report.evidence import Evidence

    folder = RunFolder(run)
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        raise OutputError(
            f"-o {out}: Gaussians are written as {', '.join(WRITERS)}, not as "
            f"{out.suffix or 'a file without suffix'}.\n"
            f"  Remedy: -o {out.with_suffix('.cif')}, for example."
        )
    check_no_input("-o", out, [folder.gaussians, folder.half1_gaussians, folder.half2_gaussians])
    found = Ellipsoids.of(Evidence.read(folder))
    if found is None:
        raise InputError(
            f"{folder.gaussians}: holds no Gaussians.\n  Remedy: give the folder of a finished run."
        )
    write(out, found)
    plain_console().print(f"{out}: {len(found.amplitudes):,} Gaussians")
