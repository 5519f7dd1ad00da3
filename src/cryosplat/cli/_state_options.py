"""Options of ``classify`` and ``motion``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Invert
from ._particle_files import PANEL, ParticleFiles

if TYPE_CHECKING:
    from ..states import StateSettings


@dataclass(frozen=True, slots=True)
class StateFiles(ParticleFiles):
    """The particles; ``--classes`` is how many classes to look for."""

    classes: Annotated[
        str | None,
        typer.Option(
            "--from-classes", metavar="K,K", rich_help_panel=PANEL,
            help="Use only these classes, numbered as in the file.",
        ),
    ] = None  # fmt: skip


@dataclass(frozen=True, slots=True)
class StateOptions:
    """How states are looked for; None where an option is not given."""

    box: Annotated[
        int, typer.Option(metavar="PX", help="Fourier-crop images to this box for the search.")
    ] = 32
    refine_box: Annotated[
        int | None,
        typer.Option(
            "--refine-box", metavar="PX",
            help="Then refine the states in this larger box, with more Gaussians. Default: as far "
            "as the data go, up to 128 pixels, if states are found; --box itself: not at all.",
        ),
    ] = None  # fmt: skip
    starts: Annotated[int, typer.Option(metavar="N", help="Random starts per half-set.")] = 3
    gaussians: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Gaussians shared by the states. Default: from the density."
        ),
    ] = None
    invert: Invert = None
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0
    device: Device = None

    def resolved(self) -> StateSettings:
        """The settings; raises `SettingsError`."""
        from ..states import StateSettings

        contrast = "auto" if self.invert is None else "dark" if self.invert else "bright"
        return StateSettings(
            self.box,
            self.starts,
            self.gaussians,
            contrast,
            self.seed,
            self.refine_box,
            self.device or "auto",
        )
