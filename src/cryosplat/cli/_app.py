"""The commands' names, arguments and options; what they do is imported when one is called."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Cryo-EM maps from particles with known poses, as mixtures of Gaussians.",
)


class Start(str, Enum):
    """Where the Gaussians begin."""

    STATISTICS = "statistics"
    RANDOM = "random"


class Noise(str, Enum):
    """Spectrum of simulated noise."""

    WHITE = "white"
    COLOURED = "coloured"


class Contrast(str, Enum):
    """How the molecule looks in simulated images."""

    BRIGHT = "bright"
    DARK = "dark"


Seed = Annotated[int, typer.Option(help="Of every random choice.")]
Threads = Annotated[int | None, typer.Option(help="Threads to use; default: all cores.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run at OUT.")]
Box = Annotated[int, typer.Option("--box", help="Side of the map in pixels.")]
PixelSize = Annotated[float, typer.Option("--pixel-size", help="Angstrom per pixel.")]


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
    particles: Annotated[
        Path,
        typer.Argument(help="RELION .star, cryoSPARC .cs, or a stack with cryoDRGN pickles."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run, a new one.")],
    datadir: Annotated[
        Path | None, typer.Option(help="Where relative stack names are looked for last.")
    ] = None,
    poses: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="cryoDRGN poses .pkl, or a passthrough .cs."),
    ] = None,
    ctf: Annotated[
        Path | None, typer.Option(help="cryoDRGN CTF .pkl; 'none' for images without a CTF.")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="Angstrom, where the file has none or a wrong one.")
    ] = None,
    gaussians: Annotated[
        int | None, typer.Option(help="Their number; default: chosen by held-out particles.")
    ] = None,
    start: Annotated[Start, typer.Option(help="First positions.")] = Start.STATISTICS,
    invert: Annotated[
        bool | None,
        typer.Option("--invert/--no-invert", help="Contrast sign; default: the data decide."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of each fit; default: chosen by held-out particles.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """A map, half-maps, FSC and a report from particles with known poses."""
    from ..settings import ReconstructionSettings
    from ._reconstruct import ParticleFiles, run_reconstruct

    contrast = "auto" if invert is None else "dark" if invert else "bright"
    settings = ReconstructionSettings(gaussians, start.value, contrast, seed, steps)
    files = ParticleFiles(particles, datadir, tuple(poses or ()), ctf, pixel_size)
    run_reconstruct(files, out, settings, threads, overwrite)


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
    seed: Seed = 0,
) -> None:
    """Simulate particles with CTFs, noise and pose errors: a RELION star file and a stack."""
    import math

    from ..simulation import SimulationSettings
    from ._simulate import run_simulate

    settings = SimulationSettings(
        n, snr, shift=shift, angle_error=math.radians(angle_error_deg), shift_error=shift_error,
        defocus=defocus, voltages=tuple(v * 1e3 for v in voltage_kv or (300.0,)),
        noise=noise.value, contrast=contrast.value,
    )  # fmt: skip
    run_simulate(model, out, settings, box, pixel_size, b_factor, seed)


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
        Path | None, typer.Option(help="Mask; adds the masked and the corrected curve.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Curves as .csv, .png, .svg or .pdf.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Fourier shell correlation of two maps, in RELION's shells."""
    from ._maps import run_fsc

    run_fsc(first, second, mask, out, seed)
