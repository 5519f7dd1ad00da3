"""Arguments and options that several commands share, and their choices."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

IMAGES = "Solver for images"


class Solver(StrEnum):
    """What a fit descends on."""

    STATISTICS = "statistics"
    IMAGES = "images"


class Preset(StrEnum):
    """Settings that belong together."""

    PAPER = "paper"


class Noise(StrEnum):
    """Spectrum of simulated noise."""

    WHITE = "white"
    COLOURED = "coloured"


class Contrast(StrEnum):
    """How the molecule looks in simulated images."""

    BRIGHT = "bright"
    DARK = "dark"


class Processing(StrEnum):
    """What simulated images went through before they were stored."""

    NONE = "none"
    PHASE_FLIPPED = "phase-flipped"
    PREMULTIPLIED = "premultiplied"


Symmetry = Annotated[
    str | None,
    typer.Option(metavar="C1|D7|O|...", help="Point group, RELION's axes: Cn, Dn, T, O, I1 to I4."),
]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
Threads = Annotated[int | None, typer.Option(help="Threads to use; default: all cores.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run at OUT.")]
Box = Annotated[int, typer.Option("--box", help="Side of the map in pixels.")]
PixelSize = Annotated[float, typer.Option("--pixel-size", help="Angstrom per pixel.")]

Particles = Annotated[
    Path,
    typer.Argument(help="RELION or cisTEM .star, cryoSPARC .cs, or a stack with cryoDRGN pickles."),
]
Datadir = Annotated[
    Path | None, typer.Option(help="Where relative stack names are looked for last.")
]
PosesFiles = Annotated[
    list[Path] | None,
    typer.Option(metavar="PATH", help="cryoDRGN poses .pkl; for a .cs, another .cs."),
]
CtfFile = Annotated[
    Path | None,
    typer.Option(help="cryoDRGN CTF .pkl; for a .cs, another .cs; 'none': images without a CTF."),
]
GivenPixelSize = Annotated[
    float | None,
    typer.Option(help="Angstrom, where the file has none or a wrong one; shifts stay in pixels."),
]
First = Annotated[int | None, typer.Option(metavar="N", help="Only the first N particles.")]
Indices = Annotated[
    Path | None, typer.Option(help="Only these, counted from 0 (.pkl, .npy or .txt).")
]
Chosen = Annotated[
    str | None,
    typer.Option(metavar="EXPR", help="Only where it holds, e.g. 'rlnDefocusU < 20000'."),
]
Classes = Annotated[
    str | None, typer.Option(metavar="K,K", help="Only these classes, as the file numbers them.")
]
AlignmentClass = Annotated[
    int | None,
    typer.Option(metavar="K", help="Poses of this class, where a .cs file has several each."),
]
