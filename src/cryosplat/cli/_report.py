"""``cryosplat report``: the page of a finished run, made anew."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..report.run import write_report
from ..run_folder import RunFolder


def run_report(run: Path) -> None:
    """Make the report of ``run`` anew from the files in its folder."""
    folder = RunFolder(run)
    write_report(folder)
    Console(highlight=False, soft_wrap=True).print(f"Report     {folder.report}")
