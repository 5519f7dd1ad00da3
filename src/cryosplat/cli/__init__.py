"""The command line. `main` runs it and turns whatever happens into an exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence

# Threads of OpenMP that wait for each other must sleep, not spin: on a machine that is shared,
# spinning made a fit ten times slower. Read when torch loads the library, so before any import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``cryosplat`` with ``arguments`` (default: those of the process); always exits.

    Exit codes: 0 done; 1 done, with an alarm; 2 an error that the user can fix; 70 a bug;
    130 interrupted; 143 terminated.
    """
    if arguments is None:
        from ..signals import listen

        listen()
    from ._app import app
    from ._outcome import exit_codes

    with exit_codes():
        app(None if arguments is None else list(arguments), prog_name="cryosplat")
