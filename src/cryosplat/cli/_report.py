"""``cryosplat report``, and the report that other commands draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..commands import pasted
from ..notes import Note
from ..run_folder import RunFolder
from ._console import plain_console
from ._outcome import trusting


def run_report(run: Path) -> None:
    """Draw the report of ``run`` again, from the files in its folder."""
    from ..report.run import write_report

    folder = RunFolder(run)
    with trusting(run):
        write_report(folder)
    plain_console().print(f"Report     {folder.report}")


def draw_report(run: RunFolder, warn: Callable[[Note], None]) -> None:
    """Draw what a finished run looks like, or ``warn`` of what is in the way.

    The user's matplotlib settings, fonts and LaTeX have a say in it, and none is worth the maps.
    """
    try:
        from ..report.run import write_report

        write_report(run)
    except Exception as error:
        warn(
            Note(
                "report-not-drawn", "warning",
                f"The run is complete, but its report could not be drawn ({type(error).__name__}: "
                f"{error}).",
                pasted("cryosplat", "report", run.path),
            )
        )  # fmt: skip
