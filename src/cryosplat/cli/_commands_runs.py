"""Commands that make a map: names, arguments and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Device, Overwrite, Seed, Threads
from ._particle_files import ParticleFiles
from ._settings import FitOptions


def reconstruct(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="RUN", help="Folder for the results.")
    ],
    files: ParticleFiles,
    fit: FitOptions,
    downsample: Annotated[
        int | None, typer.Option(metavar="BOX", help="Fourier-crop the images to this box size.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was interrupted.")
    ] = False,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Reconstruct a map and half-maps, with FSC and a report, from particles with known poses."""
    from ._reconstruct import run_reconstruct

    run_reconstruct(files, downsample, out, fit.resolved(), threads, overwrite, resume)


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="RUN", help="Folder for the results.")
    ] = Path("cryosplat-demo"),
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Simulate particles of a made-up protein, reconstruct them, and compare with the truth."""
    from ._demo import run_demo

    run_demo(out, seed, device.value if device else "auto", threads)
