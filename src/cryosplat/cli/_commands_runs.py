"""Commands that make a map: names, arguments and options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ._abinit import AbinitOptions
from ._options import Device, Downsample, Invert, Out, Overwrite, Resume, Seed, Threads
from ._particle_files import ParticleFiles
from ._settings import AUTO, FitOptions


def reconstruct(
    out: Out,
    files: ParticleFiles,
    fit: FitOptions,
    downsample: Downsample = None,
    abinit: Annotated[
        bool, typer.Option("--abinit", help="Determine the poses first, as cryosplat abinit does.")
    ] = False,
    refine: Annotated[
        bool, typer.Option("--refine", help="Refine the poses first, as cryosplat refine does.")
    ] = False,
    resume: Resume = False,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Reconstruct a map and half-maps from particles, with FSC and a report."""
    from ..settings import RefinementSettings
    from ._reconstruct import run_reconstruct

    how = RefinementSettings() if refine else None
    sought = abinit and fit.symmetry == AUTO
    settings = replace(fit, symmetry=None).resolved() if sought else fit.resolved()
    run_reconstruct(
        files, downsample, out, settings, threads, overwrite, resume, abinit, how, sought
    )


def refine(
    out: Out,
    files: ParticleFiles,
    fit: FitOptions,
    rounds: Annotated[int, typer.Option(metavar="N", help="Maximum number of rounds.")] = 6,
    angle: Annotated[
        float, typer.Option(metavar="DEGREES", help="Largest error of the given orientations.")
    ] = 15.0,
    shift: Annotated[
        float, typer.Option(metavar="Å", help="Largest error of the given shifts.")
    ] = 6.0,
    prior: Annotated[
        str,
        typer.Option(
            metavar="given|none",
            help="'given' holds poses near the given ones, as far as these prove right; 'none' is for "
            "poses that were just found in the same images, as by abinit.",
        ),
    ] = "given",
    defocus: Annotated[
        bool,
        typer.Option(help="Refine the defocus of each particle, where unseen images gain by it."),
    ] = True,
    beam_tilt: Annotated[
        bool,
        typer.Option(
            help="Refine the beam tilt of each optics group, where unseen images gain by it."
        ),
    ] = True,
    magnification: Annotated[
        bool,
        typer.Option(
            help="Refine the magnification of optics groups relative to the largest one, where unseen "
            "images gain by it."
        ),
    ] = True,
    downsample: Downsample = None,
    resume: Resume = False,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Refine poses and optics, each half-set against its own maps, and reconstruct with them."""
    from ..settings import RefinementSettings
    from ._reconstruct import run_reconstruct

    how = RefinementSettings(
        rounds, angle, shift, prior, defocus, beam_tilt, magnification  # type: ignore[arg-type]
    )  # fmt: skip
    settings = fit.resolved()
    run_reconstruct(files, downsample, out, settings, threads, overwrite, resume, False, how)


def abinit(
    out: Out,
    files: ParticleFiles,
    options: AbinitOptions,
    invert: Invert = None,
    resume: Resume = False,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Determine poses and an initial map from particles without poses.

    Exit code 1: the images show no structure.
    """
    from ._abinit import run_abinit

    settings = options.settings(seed, invert, device)
    run_abinit(files, out, settings, threads, overwrite, resume)


def demo(
    out: Out = Path("cryosplat-demo"),
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Simulate particles of a made-up protein, reconstruct them, and compare with the truth."""
    from ._demo import run_demo

    run_demo(out, seed, device or "auto", threads)
