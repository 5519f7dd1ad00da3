"""``cryosplat view``: a finished run in the browser."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..errors import InputError
from ..run_folder import RunFolder
from ..viewer.serve import LOOPBACK, serve


def run_view(run: Path, host: str, port: int) -> None:
    """Serve the interactive page of ``run`` until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    folder = RunFolder(run)
    if folder.read_summary().states is not None:
        raise InputError(
            f"{run}: holds several states, which the viewer cannot show.\n"
            f"  Remedy: open {folder.report}, or chimerax {folder.chimerax}"
        )

    def started(url: str) -> None:
        console.print(f"[bold]{url}[/]  Ctrl-C ends it.")
        if host != LOOPBACK:
            console.print("[yellow]Everyone who reaches this machine can see the map there.[/]")

    try:
        serve(run, host, port, started)
    except KeyboardInterrupt:
        console.print("Ended.")
