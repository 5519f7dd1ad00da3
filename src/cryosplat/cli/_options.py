"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class DeviceName(StrEnum):
    """What statistics and fits are computed on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="Number of threads. Default: all cores.")
]
Device = Annotated[
    DeviceName | None,
    typer.Option(help="Compute on the CPU or a CUDA GPU. Default: the GPU if there is one."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")
]
