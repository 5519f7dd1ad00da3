"""The commands' names, arguments and options; what they do is imported when one is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import (
    IMAGES,
    AlignmentClass,
    Box,
    Chosen,
    Classes,
    Contrast,
    CtfFile,
    Datadir,
    First,
    GivenPixelSize,
    Indices,
    Noise,
    Overwrite,
    Particles,
    PixelSize,
    PosesFiles,
    Preset,
    Processing,
    Seed,
    Solver,
    Symmetry,
    Threads,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Cryo-EM maps from particles with known poses, as mixtures of Gaussians.",
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say the version and stop.")] = False,
) -> None:
    if version:
        from .. import __version__

        typer.echo(f"cryosplat {__version__}")
        raise typer.Exit


@app.command()
def reconstruct(
    particles: Particles,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run, a new one.")],
    datadir: Datadir = None,
    poses: PosesFiles = None,
    ctf: CtfFile = None,
    pixel_size: GivenPixelSize = None,
    first: First = None,
    indices: Indices = None,
    selection: Chosen = None,
    classes: Classes = None,
    alignment_class: AlignmentClass = None,
    downsample: Annotated[
        int | None, typer.Option(metavar="BOX", help="Crop images to this box in Fourier space.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="TOML file; options override what it says.")
    ] = None,
    gaussians: Annotated[
        int | None,
        typer.Option(help="Their number in the whole map; default: held-out particles choose."),
    ] = None,
    symmetry: Symmetry = None,
    start: Annotated[
        str | None,
        typer.Option(help="First Gaussians: statistics (default), random, or an earlier run."),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option("--invert/--no-invert", help="Contrast sign; default: the data decide."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of each fit; default: chosen by held-out particles.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Of the FSC (.mrc); default: found by itself.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Atomic model (.cif, .pdb) to compare the map with.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the control that fits everything again.")
    ] = False,
    solver: Annotated[
        Solver | None, typer.Option(help="Descent on all particles, or on batches of images.")
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Settings of the CryoSplat paper.", rich_help_panel=IMAGES)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images.", rich_help_panel=IMAGES)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch", help="Images a step.", rich_help_panel=IMAGES)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Step size of one image, in boxes.", rich_help_panel=IMAGES),
    ] = None,
    isotropic: Annotated[
        bool, typer.Option("--isotropic", help="Round Gaussians.", rich_help_panel=IMAGES)
    ] = False,
    split_after: Annotated[
        list[int] | None,
        typer.Option(help="Epoch after which Gaussians are split.", rich_help_panel=IMAGES),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from a checkpoint.", rich_help_panel=IMAGES),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of every random choice. [default: 0]")] = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """A map, half-maps, FSC and a report from particles with known poses."""
    from ..particles.selecting import parse_selection
    from ._reconstruct import ParticleFiles, run_reconstruct
    from ._settings import settings_from

    chosen = settings_from(
        settings,
        preset and preset.value,
        {
            "gaussians": gaussians, "start": start, "steps": steps, "seed": seed,
            "contrast": None if invert is None else "dark" if invert else "bright",
            "mask": mask and str(mask), "model": model and str(model),
            "quick": quick or None, "solver": solver and solver.value, "symmetry": symmetry,
        },
        {
            "epochs": epochs, "batch_size": batch_size, "rate": rate,
            "shape": "isotropic" if isotropic else None,
            "split_after": tuple(split_after) if split_after else None,
        },
    )  # fmt: skip
    selected = parse_selection(first, indices, selection, classes)
    files = ParticleFiles(
        particles, datadir, tuple(poses or ()), ctf, pixel_size, alignment_class, selected,
        downsample,
    )  # fmt: skip
    run_reconstruct(files, out, chosen, threads, overwrite, resume)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run.")] = Path(
        "cryosplat-demo"
    ),
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Simulate particles of a made-up protein, reconstruct them, compare with the truth."""
    from ._demo import run_demo

    run_demo(out, seed, threads)


@app.command()
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


@app.command()
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
    from ..particles.selecting import parse_selection
    from ._check import Outputs, run_check
    from ._reconstruct import ParticleFiles

    chosen = parse_selection(first, indices, selection, classes)
    files = ParticleFiles(
        particles, datadir, tuple(poses or ()), ctf, pixel_size, alignment_class, chosen
    )
    run_check(files, Outputs(fix, drop_missing, json, overwrite), not no_trial, threads)


@app.command()
def convert(
    particles: Particles,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="A .star file (RELION), or a folder (cryoDRGN pickles)."),
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
) -> None:
    """Write particles as a RELION 3.1 star file or as cryoDRGN pickles."""
    from ..particles.selecting import parse_selection
    from ._convert import run_convert
    from ._reconstruct import ParticleFiles

    chosen = parse_selection(first, indices, selection, classes)
    files = ParticleFiles(
        particles, datadir, tuple(poses or ()), ctf, pixel_size, alignment_class, chosen
    )
    run_convert(files, out)


@app.command()
def voxelize(
    gaussians: Annotated[Path, typer.Argument(help="Gaussians of a run (.ply).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Map to write (.mrc).")],
    box: Box,
    pixel_size: PixelSize,
) -> None:
    """Render Gaussians as a map on any box and pixel size."""
    from ._maps import run_voxelize

    run_voxelize(gaussians, out, box, pixel_size)


@app.command()
def fsc(
    first: Annotated[Path, typer.Argument(help="Map, e.g. half1.mrc.")],
    second: Annotated[Path, typer.Argument(help="Map, e.g. half2.mrc.")],
    mask: Annotated[
        str,
        typer.Option(
            metavar="auto|none|FILE", help="auto: loose, auto and tight masks made from the maps."
        ),
    ] = "none",
    out: Annotated[
        list[Path] | None,
        typer.Option("-o", "--out", help="Curves as .csv, .png, .svg, .pdf or .xml; repeatable."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Fourier shell correlation of two maps, in RELION's shells, corrected for the mask."""
    from ._fsc import run_fsc

    run_fsc(first, second, mask, out or [], seed)


@app.command()
def postprocess(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    mask: Annotated[Path | None, typer.Option(help="Default: the run's own.")] = None,
    b_factor: Annotated[
        float | None,
        typer.Option(help="Square Angstrom, negative to sharpen; default: from the Guinier plot."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Sharpened map; default: map_sharpened.mrc of the run."),
    ] = None,
    gaussians: Annotated[
        Path | None, typer.Option(help="Also the Gaussians sharpened without a grid (.ply).")
    ] = None,
    relion_names: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Half-maps and mask as relion_postprocess wants them."),
    ] = None,
    emdb: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Maps, mask, fsc.xml and a README for the EMDB."),
    ] = None,
) -> None:
    """Sharpen the map of a run: Guinier plot, B-factor, FSC weighting."""
    from ._postprocess import Wanted, run_postprocess

    run_postprocess(run, Wanted(mask, b_factor, out, gaussians, relion_names, emdb))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
) -> None:
    """Make report.html and the figures of a run anew, from the files in its folder."""
    from ._report import run_report

    run_report(run)


@app.command()
def view(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The next free one where it is taken.")] = 8080,
) -> None:
    """Look at a run in the browser: surfaces, Gaussians, slices."""
    from ._view import run_view

    run_view(run, host, port)
