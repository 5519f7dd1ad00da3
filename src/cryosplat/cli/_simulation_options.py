"""What is simulated, as options of ``cryosplat simulate``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..grid import Grid
    from ..simulation import SimulationSettings

_optics_option = partial(typer.Option, rich_help_panel="Imperfect optics")
PHASE_HELP = "Phase at the Nyquist frequency and its angle, in degrees."


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How many particles of what kind, in the units of the command line."""

    n: Annotated[int, typer.Option("--n", metavar="N", help="Number of particles.")] = 4000
    snr: Annotated[
        float, typer.Option(metavar="X", help="Variance of the signal over that of the noise.")
    ] = 0.05
    box: Annotated[
        int | None, typer.Option(metavar="PX", help="Box size; a map has its own. Default: 128.")
    ] = None
    pixel_size: Annotated[
        float | None, typer.Option(metavar="Å", help="Pixel size; a map has its own. Default: 1.5.")
    ] = None
    b_factor: Annotated[float, typer.Option(metavar="Å²", help="B-factor of the atoms.")] = 80.0
    shift: Annotated[float, typer.Option(metavar="Å", help="Largest shift in x and in y.")] = 3.0
    angle_error_deg: Annotated[
        float,
        typer.Option(metavar="DEG", help="Error of the recorded angles, per axis, in degrees."),
    ] = 0.0
    shift_error: Annotated[
        float, typer.Option(metavar="Å", help="Error of the recorded shifts, per axis.")
    ] = 0.0
    defocus: Annotated[tuple[float, float], typer.Option(help="Range of the underfocus in Å.")] = (
        8000.0,
        25000.0,
    )
    voltage_kv: Annotated[
        list[float] | None,
        typer.Option(
            metavar="KV", help="Voltage; repeat it for several optics groups. Default: 300."
        ),
    ] = None
    noise: Annotated[Literal["white", "coloured"], typer.Option(help="Spectrum of the noise.")] = (
        "white"
    )
    contrast: Annotated[
        Literal["bright", "dark"], typer.Option(help="Contrast of the protein.")
    ] = "bright"
    beam_tilt: Annotated[str | None, _optics_option(metavar="X,Y", help="Beam tilt in mrad.")] = (
        None
    )
    trefoil: Annotated[str | None, _optics_option(metavar="PHASE,ANGLE", help=PHASE_HELP)] = None
    tetrafoil: Annotated[str | None, _optics_option(metavar="PHASE,ANGLE", help=PHASE_HELP)] = None
    magnification_anisotropy: Annotated[
        str | None,
        _optics_option(
            metavar="PERCENT,ANGLE",
            help="Anisotropic magnification in percent and its angle in degrees.",
        ),
    ] = None
    pixel_sizes: Annotated[
        str | None,
        _optics_option(
            metavar="Å,Å", help="Pixel sizes of the images, one optics group and one stack each."
        ),
    ] = None
    boxes: Annotated[
        str | None,
        _optics_option(
            metavar="PX,PX",
            help="Box sizes, with --pixel-sizes. Default: the same field of view for all.",
        ),
    ] = None
    processing: Annotated[
        Literal["none", "phase-flipped", "premultiplied"],
        _optics_option(help="CTF processing of the stored images."),
    ] = "none"

    def on(self, grid: Grid) -> SimulationSettings:
        """The settings in Angstrom and radian; phases are those at ``grid``'s Nyquist frequency.

        Raises `SettingsError`.
        """
        from ..simulation import SimulationSettings, anisotropic_magnification, tetrafoil, trefoil

        settings = SimulationSettings(
            self.n, self.snr, shift=self.shift, angle_error=math.radians(self.angle_error_deg),
            shift_error=self.shift_error, defocus=self.defocus,
            voltages=tuple(v * 1e3 for v in self.voltage_kv or (300.0,)), noise=self.noise,
            contrast=self.contrast, processing=self.processing,
        )  # fmt: skip
        changes: dict[str, object] = {}
        if self.beam_tilt:
            x, y = _numbers("--beam-tilt", self.beam_tilt, 2)
            changes["beam_tilt"] = (1e-3 * x, 1e-3 * y)
        for option, text, field, aberration in (
            ("--trefoil", self.trefoil, "odd", trefoil),
            ("--tetrafoil", self.tetrafoil, "even", tetrafoil),
        ):
            if text:
                phase, angle = map(math.radians, _numbers(option, text, 2))
                changes[field] = aberration(phase, angle, grid.pixel_size)
        if self.magnification_anisotropy:
            given = _numbers("--magnification-anisotropy", self.magnification_anisotropy, 2)
            percent, degrees = given
            changes["magnification"] = anisotropic_magnification(
                0.01 * percent, math.radians(degrees)
            )
        return replace(settings, **changes, image_grids=self._image_grids(grid))

    def _image_grids(self, grid: Grid) -> tuple[Grid, ...]:
        from ..grid import Grid

        if not self.pixel_sizes:
            if self.boxes:
                raise SettingsError(
                    f"--boxes {self.boxes}: boxes of images go with their pixel sizes.\n"
                    f"  Remedy: add --pixel-sizes, or use --box."
                )
            return ()
        sizes = _numbers("--pixel-sizes", self.pixel_sizes, None)
        boxes = [2.0 * round(0.5 * grid.side / max(size, 1e-3)) for size in sizes]
        if self.boxes:
            boxes = _numbers("--boxes", self.boxes, len(sizes))
        return tuple(Grid(round(box), size) for box, size in zip(boxes, sizes, strict=True))


def _numbers(option: str, text: str, count: int | None) -> list[float]:
    expected = f"{count} numbers" if count else "numbers"
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if (
        not numbers
        or not all(map(math.isfinite, numbers))
        or len(numbers) != (count or len(numbers))
    ):
        raise SettingsError(f"{option} {text}: expected {expected} with commas between them.")
    return numbers
