"""The particles of a whole job folder of RELION or cryoSPARC: which of its tables is meant."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError

FINAL = ("run_data.star", "shiny.star", "particles_ctf_refine.star", "particles.star")
"""Tables of RELION's finished jobs, the first that is there: Refine3D, Polish, CtfRefine, Extract or
Select."""
ITERATION = (
    re.compile(r"run(?:_ct\d+)?_it(\d+)_data\.star"),
    re.compile(r"(?:cryosparc_)?\w+_(\d+)_particles\.cs"),
)
"""Tables of an iteration, by its number: of RELION, and of cryoSPARC."""
SINGLE = re.compile(r"(?:cryosparc_)?\w+_particles(?:_selected)?\.cs")


def table_of(folder: Path) -> Path:
    """The newest particle table of a job folder.

    Of RELION: that of the finished job, else of the last iteration. Of cryoSPARC: that of the last
    iteration, else the only one; passthrough files are joined when it is read. Raises `InputError`
    where there is none, or where several are as good.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    for name in FINAL:
        if name in names:
            return folder / name
    for pattern in ITERATION:
        found = [(int(match[1]), name) for name in names if (match := pattern.fullmatch(name))]
        if found:
            return folder / max(found)[1]
    single = [name for name in names if SINGLE.fullmatch(name) and "passthrough" not in name]
    if len(single) == 1:
        return folder / single[0]
    tables = [name for name in names if name.endswith((".star", ".cs", ".csg"))]
    holds = f"several: {', '.join(tables[:6])}" if tables else "none"
    raise InputError(
        f"{folder}: a folder, expected a particle table or the folder of a job with one, such as "
        f"run_data.star; it holds {holds}.\n  Remedy: name the table."
    )
