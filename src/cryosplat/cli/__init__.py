"""The command line. `main` runs it and turns whatever happens into an exit code."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``cryosplat`` with ``arguments`` (default: those of the process); always exits.

    Exit codes: 0 done; 2 something the user can mend; 130 broken off; 143 terminated; 1 a bug.
    """
    from ._app import app
    from ._outcome import exit_codes

    with exit_codes():
        app(None if arguments is None else list(arguments), prog_name="cryosplat")
