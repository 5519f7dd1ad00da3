"""Particles on the command line: their file, and what it does not say itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import existing, existing_or_none

if TYPE_CHECKING:
    from ..particles import Particles, StackFaults

PANEL = "Particles"
_option = partial(typer.Option, rich_help_panel=PANEL)


@dataclass(frozen=True, slots=True)
class ParticleFiles:
    """The particles, as options of ``reconstruct``, ``check`` and ``convert``."""

    particles: Annotated[
        Path,
        typer.Argument(
            metavar="PARTICLES",
            parser=existing,
            help="RELION or cisTEM .star, cryoSPARC .cs or .csg, the folder of a job, or a stack "
            "with cryoDRGN pickles.",
        ),
    ]
    datadir: Annotated[
        Path | None,
        _option(metavar="FOLDER", parser=existing, help="Also search for image stacks here."),
    ] = None
    poses: Annotated[
        list[Path] | None,
        _option(
            metavar="FILE",
            parser=existing,
            help="Poses: a cryoDRGN .pkl; for a .cs file, another .cs file.",
        ),
    ] = None
    ctf: Annotated[
        Path | None,
        _option(
            metavar="FILE",
            parser=existing_or_none,
            help="CTF parameters: a cryoDRGN .pkl; for a .cs file, another .cs file; 'none' for "
            "images without a CTF.",
        ),
    ] = None
    pixel_size: Annotated[
        float | None,
        _option(
            metavar="Å",
            help="Pixel size, where the file has none or a wrong one. Shifts stay in pixels.",
        ),
    ] = None
    first: Annotated[int | None, _option(metavar="N", help="Use only the first N particles.")] = (
        None
    )
    indices: Annotated[
        Path | None,
        _option(
            metavar="FILE",
            parser=existing,
            help="Use only these particles, counted from 0 (.pkl, .npy or .txt).",
        ),
    ] = None
    selection: Annotated[
        str | None,
        _option(
            metavar="EXPR",
            help="Use only particles for which this holds, e.g. 'rlnDefocusU < 20000'.",
        ),
    ] = None
    classes: Annotated[
        str | None, _option(metavar="K,K", help="Use only these classes, numbered as in the file.")
    ] = None
    alignment_class: Annotated[
        int | None,
        _option(
            metavar="K",
            help="Class whose poses are used, where a .cs file has several per particle.",
        ),
    ] = None

    def read(self, faults: StackFaults | None = None) -> Particles:
        """The particles that are selected; no pixel is read. ``faults`` as `read_particles`."""
        from ..particles import parse_selection, read_particles

        chosen = parse_selection(self.first, self.indices, self.selection, self.classes)
        ctf = "none" if self.ctf is not None and str(self.ctf) == "none" else self.ctf
        particles = read_particles(
            self.particles, datadir=self.datadir, poses=self.poses or None, ctf=ctf,
            pixel_size=self.pixel_size, alignment_class=self.alignment_class, faults=faults,
        )  # fmt: skip
        return chosen.apply(particles)

    def inputs(self) -> list[Path]:
        """The files that are read beside the stacks, those found without being named included."""
        from ..particles import table_of
        from ..particles.cryodrgn import CTF, HALF_SETS, POSES

        poses = list(self.poses or [])
        if self.particles.is_dir():
            return [table_of(self.particles), *poses]
        named = [self.particles, *poses, self.ctf, self.indices]
        if self.particles.suffix.lower() not in (".star", ".cs", ".csg"):  # a stack with pickles
            beside = self.particles.parent
            poses = poses or [beside / POSES]
            ctf = beside / CTF if self.ctf is None else None
            named += [poses[0], ctf, poses[0].parent / HALF_SETS]
        return [path for path in named if path is not None]
