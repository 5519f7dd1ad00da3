"""Commands about particles: names, arguments and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingsError
from ._options import Seed, Threads, existing
from ._particle_files import ParticleFiles
from ._simulation_options import SimulationOptions


def _named(out: str) -> Path:
    """The path of an output; an empty one would mean the folder one is in."""
    if not out:
        raise SettingsError("-o: no name is given.\n  Remedy: -o OUT.star, or -o FOLDER.")
    return Path(out)


def simulate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", parser=existing, help="Atomic model (PDB, mmCIF) or map (.mrc, .map)."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="New folder for the particles.")
    ],
    options: SimulationOptions,
    seed: Seed = 0,
) -> None:
    """Simulate particles with CTFs, noise and pose errors: a RELION star file and a stack."""
    from ._simulate import run_simulate

    run_simulate(model, out, options, seed)


def check(
    files: ParticleFiles,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT.star", help="Write a corrected file.")
    ] = None,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="With --fix: drop rows without a usable image.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the findings as JSON.")
    ] = None,
    no_trial: Annotated[
        bool, typer.Option("--no-trial", help="Skip the test of signs and conventions.")
    ] = False,
    threads: Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite the files of --fix and --json.")
    ] = False,
) -> None:
    """Check a particle set: files, table, images, signs, units and conventions.

    Exit code 0: no alarm. 1: at least one alarm. 2: the input cannot be read.
    """
    from ._check import Outputs, run_check

    run_check(files, Outputs(fix, drop_missing, json, overwrite), not no_trial, threads)


def convert(
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="OUT", parser=_named,
            help="A .star file (RELION), or a folder (cryoDRGN pickles).",
        ),
    ],
    files: ParticleFiles,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Overwrite existing output, never an input."),
    ] = False,
) -> None:  # fmt: skip
    """Write particles as a RELION 3.1 star file or as cryoDRGN pickles."""
    from ._convert import run_convert

    run_convert(files, out, overwrite)
