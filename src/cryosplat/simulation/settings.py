"""What to simulate, as one value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import SettingsError
from ..grid import Grid
from ..optics import ISOTROPIC, Processing


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """What particles to simulate. Angstrom, volt, radian throughout.

    ``snr`` is the variance of the images without noise over the variance of the noise, over whole
    images of the map's box and pixel size. ``shift`` is the half-side of the square of recorded
    shifts; ``angle_error`` and ``shift_error`` are the standard deviations per axis by which
    recorded poses miss the true ones. ``astigmatism`` is the largest defocus_u - defocus_v.
    ``contrast`` says how the molecule looks in the images; ``voltages`` makes one optics group for
    each.

    ``beam_tilt`` (x, y), ``odd``, ``even`` and ``magnification`` are those of all optics groups, as
    in `OpticsGroup`; ``odd`` holds what the beam tilt does not say. ``image_grids``: boxes and pixel
    sizes of the images, an optics group and a stack for each; by default the map's.
    ``processing``: what is done to the noisy images by their CTF before they are stored.
    """

    n: int
    snr: float = 0.05
    shift: float = 3.0
    angle_error: float = 0.0
    shift_error: float = 0.0
    defocus: tuple[float, float] = (8000.0, 25000.0)
    astigmatism: float = 600.0
    phase_shift: tuple[float, float] = (0.0, 0.0)
    voltages: tuple[float, ...] = (300e3,)
    spherical_aberration: float = 2.7e7
    amplitude_contrast: float = 0.1
    noise: Literal["white", "coloured"] = "white"
    contrast: Literal["bright", "dark"] = "bright"
    particles_per_micrograph: int = 50
    beam_tilt: tuple[float, float] = (0.0, 0.0)
    odd: tuple[float, ...] = ()
    even: tuple[float, ...] = ()
    magnification: tuple[float, float, float, float] = ISOTROPIC
    image_grids: tuple[Grid, ...] = ()
    processing: Processing = "none"

    def __post_init__(self) -> None:
        checks = (
            ("n", self.n, self.n >= 1, "at least 1 particle"),
            ("snr", self.snr, 0.0 < self.snr < math.inf, "more than 0"),
            ("shift", self.shift, self.shift >= 0.0, "0 Angstrom or more"),
            ("angle_error", self.angle_error, self.angle_error >= 0.0, "0 radian or more"),
            ("shift_error", self.shift_error, self.shift_error >= 0.0, "0 Angstrom or more"),
            ("defocus", self.defocus, self.defocus[0] <= self.defocus[1], "(least, largest)"),
            ("astigmatism", self.astigmatism, self.astigmatism >= 0.0, "0 Angstrom or more"),
            ("phase_shift", self.phase_shift, self.phase_shift[0] <= self.phase_shift[1],
             "(least, largest)"),
            ("voltages", self.voltages, len(self.voltages) >= 1, "at least one voltage"),
            ("noise", self.noise, self.noise in ("white", "coloured"), "'white' or 'coloured'"),
            ("contrast", self.contrast, self.contrast in ("bright", "dark"), "'bright' or 'dark'"),
            ("particles_per_micrograph", self.particles_per_micrograph,
             self.particles_per_micrograph >= 1, "at least 1"),
            ("beam_tilt", self.beam_tilt, math.hypot(*self.beam_tilt) < 0.1, "less than 0.1 radian"),
            ("processing", self.processing, self.processing in get_args(Processing),
             f"one of {', '.join(get_args(Processing))}"),
        )  # fmt: skip
        for name, given, valid, expected in checks:
            if not valid:
                raise SettingsError(f"simulation: {name} is {given!r}, expected {expected}.")
