"""Commands that tell states apart: names, arguments and options."""

from __future__ import annotations

from typing import Annotated

import typer

from ._options import Out, Overwrite, Resume, Threads
from ._state_options import StateFiles, StateOptions


def classify(
    out: Out,
    files: StateFiles,
    options: StateOptions,
    number: Annotated[
        str, typer.Option("--classes", metavar="K|auto", help="Number of classes.")
    ] = "auto",
    resume: Resume = False,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Classify particles with known poses, each half-set independently, with maps and a report."""
    from ._classify import run_classify

    run_classify(files, out, options.resolved(), number, threads, overwrite, resume)


def motion(
    out: Out,
    files: StateFiles,
    options: StateOptions,
    coordinates: Annotated[
        str, typer.Option(metavar="1|2|3|auto", help="Number of coordinates of the motion.")
    ] = "1",
    resume: Resume = False,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Find how a molecule moves and where each particle is along it, with maps and a report."""
    from ._motion import run_motion

    run_motion(files, out, options.resolved(), coordinates, threads, overwrite, resume)
