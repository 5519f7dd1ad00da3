"""The application and its commands; what they do is imported when one is called."""

from __future__ import annotations

from typing import Annotated

import typer

from . import _commands_particles as particles
from . import _commands_results as results
from . import _commands_runs as runs
from . import _commands_states as states
from ._grouped import Command, Group, grouped

EPILOG = """Exit codes: 0 success; 1 finished, but with an alarm; 2 an error you can fix; 70 a bug;
130 interrupted; 143 terminated."""

app = typer.Typer(
    cls=Group,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Cryo-EM maps as mixtures of Gaussians, from particles with or without poses.",
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Show the version and exit.")
    ] = False,
) -> None:
    if version:
        from .. import __version__

        typer.echo(f"cryosplat {__version__}")
        raise typer.Exit


for command in (
    runs.reconstruct, runs.abinit, runs.refine, runs.demo, states.classify,
    states.motion, particles.check, particles.convert, particles.simulate,
    results.view, results.report, results.postprocess, results.export, results.fsc,
    results.symmetrize, results.voxelize,
):  # fmt: skip
    app.command(cls=Command)(grouped(command))
