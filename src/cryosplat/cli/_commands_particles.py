"""Commands about particles: names, arguments and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingsError
from ._options import (
    AlignmentClass,
    Chosen,
    Classes,
    Contrast,
    CtfFile,
    Datadir,
    First,
    GivenPixelSize,
    Indices,
    Noise,
    Particles,
    PosesFiles,
    Processing,
    Seed,
    Threads,
)


def _named(out: str) -> Path:
    """The path of an output; an empty one would mean the folder one is in."""
    if not out:
        raise SettingsError("-o: no name is given.\n  Remedy: -o OUT.star, or -o FOLDER.")
    return Path(out)


def simulate(
    model: Annotated[Path, typer.Argument(help="PDB or mmCIF file, or a map (.mrc, .map).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the particles, a new one.")],
    n: Annotated[int, typer.Option("--n", help="Particles.")] = 4000,
    snr: Annotated[float, typer.Option(help="Variance of signal over that of noise.")] = 0.05,
    box: Annotated[
        int | None, typer.Option(help="Pixels; a map has its own. [default: 128]")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="Angstrom; a map has its own. [default: 1.5]")
    ] = None,
    b_factor: Annotated[float, typer.Option(help="Of the atoms, in square Angstrom.")] = 80.0,
    shift: Annotated[float, typer.Option(help="Largest origin in x and y, in Angstrom.")] = 3.0,
    angle_error_deg: Annotated[
        float, typer.Option(help="By which recorded angles miss, per axis.")
    ] = 0.0,
    shift_error: Annotated[
        float, typer.Option(help="By which recorded origins miss, per axis, in Angstrom.")
    ] = 0.0,
    defocus: Annotated[
        tuple[float, float], typer.Option(help="Least and largest underfocus, in Angstrom.")
    ] = (8000.0, 25000.0),
    voltage_kv: Annotated[
        list[float] | None, typer.Option(metavar="KV", help="One optics group each. [default: 300]")
    ] = None,
    noise: Annotated[Noise, typer.Option(help="Its spectrum.")] = Noise.WHITE,
    contrast: Annotated[Contrast, typer.Option(help="Of the molecule.")] = Contrast.BRIGHT,
    beam_tilt: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Of all images, in milliradian.")
    ] = None,
    trefoil: Annotated[
        str | None, typer.Option(metavar="PHASE,ANGLE", help="Phase at Nyquist, in degrees.")
    ] = None,
    tetrafoil: Annotated[
        str | None, typer.Option(metavar="PHASE,ANGLE", help="Phase at Nyquist, in degrees.")
    ] = None,
    magnification_anisotropy: Annotated[
        str | None, typer.Option(metavar="PERCENT,ANGLE", help="Of all images, angle in degrees.")
    ] = None,
    pixel_sizes: Annotated[
        str | None,
        typer.Option(metavar="A,A", help="Of the images: an optics group and a stack each."),
    ] = None,
    boxes: Annotated[
        str | None, typer.Option(metavar="PX,PX", help="With --pixel-sizes. [default: one field]")
    ] = None,
    processing: Annotated[
        Processing, typer.Option(help="Done to the images by their CTF.")
    ] = Processing.NONE,
    seed: Seed = 0,
) -> None:
    """Simulate particles with CTFs, noise and pose errors: a RELION star file and a stack."""
    import math

    from ..simulation import SimulationSettings
    from ._simulate import Imperfections, run_simulate

    settings = SimulationSettings(
        n, snr, shift=shift, angle_error=math.radians(angle_error_deg), shift_error=shift_error,
        defocus=defocus, voltages=tuple(v * 1e3 for v in voltage_kv or (300.0,)),
        noise=noise.value, contrast=contrast.value, processing=processing.value,
    )  # fmt: skip
    imperfections = Imperfections(
        beam_tilt, trefoil, tetrafoil, magnification_anisotropy, pixel_sizes, boxes
    )
    run_simulate(model, out, settings, imperfections, box, pixel_size, b_factor, seed)


def check(
    particles: Particles,
    datadir: Datadir = None,
    poses: PosesFiles = None,
    ctf: CtfFile = None,
    pixel_size: GivenPixelSize = None,
    first: First = None,
    indices: Indices = None,
    selection: Chosen = None,
    classes: Classes = None,
    alignment_class: AlignmentClass = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT.star", help="Write a corrected file.")
    ] = None,
    drop_missing: Annotated[
        bool, typer.Option("--drop-missing", help="Leave out of it what has no usable image.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write what was found.")
    ] = None,
    no_trial: Annotated[
        bool, typer.Option("--no-trial", help="Leave out the trial of signs and conventions.")
    ] = False,
    threads: Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of --fix and --json.")
    ] = False,
) -> None:
    """What is wrong with a particle set: files, table, images, signs, units, conventions.

    Exit code 0 without an alarm, 1 with one, 2 where the input cannot be read.
    """
    from ..particles import parse_selection
    from ._check import Outputs, run_check
    from ._reconstruct import ParticleFiles

    chosen = parse_selection(first, indices, selection, classes)
    files = ParticleFiles(
        particles, datadir, tuple(poses or ()), ctf, pixel_size, alignment_class, chosen
    )
    run_check(files, Outputs(fix, drop_missing, json, overwrite), not no_trial, threads)


def convert(
    particles: Particles,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="PATH",
            parser=_named,
            help="A .star file (RELION), or a folder (cryoDRGN pickles).",
        ),
    ],
    datadir: Datadir = None,
    poses: PosesFiles = None,
    ctf: CtfFile = None,
    pixel_size: GivenPixelSize = None,
    first: First = None,
    indices: Indices = None,
    selection: Chosen = None,
    classes: Classes = None,
    alignment_class: AlignmentClass = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files at OUT, but none that is read.")
    ] = False,
) -> None:
    """Write particles as a RELION 3.1 star file or as cryoDRGN pickles."""
    from ..particles import parse_selection
    from ._convert import run_convert
    from ._reconstruct import ParticleFiles

    chosen = parse_selection(first, indices, selection, classes)
    files = ParticleFiles(
        particles, datadir, tuple(poses or ()), ctf, pixel_size, alignment_class, chosen
    )
    run_convert(files, out, overwrite)
