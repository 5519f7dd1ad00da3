"""Commands about maps and runs: names, arguments and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Seed, existing, existing_or_growing


def voxelize(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="GAUSSIANS|RUN",
            parser=existing,
            help="Gaussians (.ply); with --at, a run of classify or motion.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MAP", help="Output map (.mrc).")],
    box: Annotated[
        int | None,
        typer.Option(
            "--box", metavar="PX", help="Box size of the map. Default for a run: its own."
        ),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option("--pixel-size", metavar="Å", help="Pixel size. Default for a run: its own."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="Z|K", help="State of the run: coordinates (0.3 or 0.3,-0.5) or a class (2)."
        ),
    ] = None,
) -> None:
    """Render Gaussians as a map with any box and pixel size."""
    from ._maps import run_voxelize

    run_voxelize(source, out, box, pixel_size, at)


def fsc(
    first: Annotated[
        Path, typer.Argument(metavar="MAP1", parser=existing, help="First map, e.g. half1.mrc.")
    ],
    second: Annotated[
        Path, typer.Argument(metavar="MAP2", parser=existing, help="Second map, e.g. half2.mrc.")
    ],
    mask: Annotated[
        str,
        typer.Option(
            metavar="auto|none|FILE", help="Mask; auto: three masks generated from the maps."
        ),
    ] = "none",
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Write the curves as .csv, .png, .svg, .pdf or .xml; may be repeated.",
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Fourier shell correlation of two maps, with RELION's shells, corrected for the mask."""
    from ._fsc import run_fsc

    run_fsc(first, second, mask, out or [], seed)


def postprocess(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", parser=existing, help="Folder of a finished run.")
    ],
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=existing, help="Mask (.mrc). Default: that of the run."
        ),
    ] = None,
    b_factor: Annotated[
        float | None,
        typer.Option(
            metavar="Å²", help="B-factor; negative values sharpen. Default: from the Guinier plot."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="MAP",
            help="Sharpened map. Default: map_sharpened.mrc of the run.",
        ),
    ] = None,
    gaussians: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write the Gaussians, sharpened without a grid (.ply)."
        ),
    ] = None,
    relion_names: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also write half-maps and mask under the names RELION expects."
        ),
    ] = None,
    emdb: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write a folder for deposition: maps, mask, FSC, image, README.",
        ),
    ] = None,
) -> None:
    """Sharpen the map of a run: Guinier plot, B-factor, FSC weighting."""
    from ._postprocess import Wanted, run_postprocess

    run_postprocess(run, Wanted(mask, b_factor, out, gaussians, relion_names, emdb))


def symmetrize(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="MAP|RUN",
            parser=existing,
            help="A map (.mrc), or the folder of a finished run.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MAP", help="Output map (.mrc).")],
    symmetry: Annotated[
        str,
        typer.Option(
            metavar="auto|GROUP",
            help="Point group; 'auto': the largest that the half-maps support.",
        ),
    ] = "auto",
    particles: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.star", help="Also write the run's particles with poses about these axes."
        ),
    ] = None,
) -> None:
    """Align a map to RELION's axes of its point group, and average it over the group."""
    from ._symmetrize import run_symmetrize

    run_symmetrize(source, out, symmetry, particles)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help=".cif: pseudo-atoms with anisotropic displacements; .bild: ellipsoids for ChimeraX; "
            ".ply: for viewers of 3-D Gaussian splatting.",
        ),
    ],
) -> None:
    """Write the Gaussians of a run for other programs, in the frame of its map."""
    from ._export import run_export

    run_export(run, out)


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", parser=existing, help="Folder of a finished run.")
    ],
) -> None:
    """Redraw the report and figures of a run from the files in its folder."""
    from ._report import run_report

    run_report(run)


def view(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            parser=existing_or_growing,
            help="Folder of a run, or its name while it runs.",
        ),
    ],
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; by default only this machine can connect.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", help="Port; if it is in use, the next free one.")
    ] = 8080,
) -> None:
    """Explore a run in the browser: surfaces, Gaussians, slices; or watch its map grow."""
    from ._view import run_view

    run_view(run, host, port)
