"""``cryosplat view``: a finished run in the browser."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from ..signals import half_done
from ..viewer.serve import LOOPBACK, serve
from ._console import plain_console
from ._outcome import trusting


def run_view(run: Path, host: str, port: int) -> None:
    """Serve the interactive page of ``run`` until Ctrl-C."""
    console = plain_console()

    def started(url: str) -> None:
        console.print(Text.assemble((url, "bold"), "  Press Ctrl-C to stop."))
        if host != LOOPBACK:
            console.print(
                "Everyone who reaches this machine can see the map there.", style="yellow"
            )

    half_done()
    try:
        with trusting(run):
            serve(run, host, port, started)
    except KeyboardInterrupt:
        console.print("Stopped.")
