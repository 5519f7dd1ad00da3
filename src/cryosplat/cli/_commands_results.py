"""Commands about maps and runs: names, arguments and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import (
    Box,
    PixelSize,
    Seed,
)


def voxelize(
    gaussians: Annotated[Path, typer.Argument(help="Gaussians of a run (.ply).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Map to write (.mrc).")],
    box: Box,
    pixel_size: PixelSize,
) -> None:
    """Render Gaussians as a map on any box and pixel size."""
    from ._maps import run_voxelize

    run_voxelize(gaussians, out, box, pixel_size)


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


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
) -> None:
    """Make report.html and the figures of a run anew, from the files in its folder."""
    from ._report import run_report

    run_report(run)


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
