"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="Number of threads. Default: all cores.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")
]
Box = Annotated[int, typer.Option("--box", metavar="PX", help="Box size of the map in pixels.")]
PixelSize = Annotated[float, typer.Option("--pixel-size", metavar="Å", help="Pixel size.")]
