"""``cryosplat report``, and the report that other commands draw."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ..run_folder import RunFolder


def run_report(run: Path) -> None:
    """Draw the report of ``run`` again, from the files in its folder."""
    from ..report.run import write_report

    folder = RunFolder(run)
    write_report(folder)
    Console(highlight=False, soft_wrap=True).print(f"Report     {folder.report}", markup=False)


def draw_report(run: RunFolder, warn: Callable[[str], None]) -> None:
    """Draw what a finished run looks like, or ``warn`` of what is in the way.

    The user's matplotlib settings, fonts and LaTeX have a say in it, and none is worth the maps.
    """
    try:
        from ..report.run import write_report

        write_report(run)
    except Exception as error:
        warn(
            f"The run is complete, but its report could not be drawn ({type(error).__name__}: "
            f"{error}). Remedy: cryosplat report {shlex.quote(str(run.path))}"
        )
