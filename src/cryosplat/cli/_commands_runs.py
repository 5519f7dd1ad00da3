"""Commands that make a map: names, arguments and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import (
    IMAGES,
    AlignmentClass,
    Chosen,
    Classes,
    CtfFile,
    Datadir,
    First,
    GivenPixelSize,
    Indices,
    Overwrite,
    Particles,
    PosesFiles,
    Preset,
    Seed,
    Solver,
    Symmetry,
    Threads,
)


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
        bool, typer.Option("--resume", help="Continue a run that was interrupted.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of every random choice. [default: 0]")] = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """A map, half-maps, FSC and a report from particles with known poses."""
    from ..particles import parse_selection
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
