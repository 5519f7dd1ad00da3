"""Optics groups, and the optics of particles. Inside: Angstrom, volt, radian."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor

from ..arrays import Columns, described, span
from ..errors import SettingsError

ISOTROPIC = (1.0, 0.0, 0.0, 1.0)
Processing = Literal["none", "phase-flipped", "premultiplied"]


@dataclass(frozen=True, slots=True)
class OpticsGroup:
    """What all particles of one optics group share.

    ``pixel_size`` and ``spherical_aberration`` in Angstrom, ``voltage`` in volt. ``odd`` and
    ``even``: coefficients in radian of antisymmetric and symmetric Zernike polynomials, in RELION's
    order, unnormalised, their argument in 1/Angstrom (`zernike`); beam tilt is among the odd ones
    (`beam_tilt`). ``magnification``: RELION's matrix M (00, 01, 10, 11): frequency k of an image
    samples the central slice, the CTF and the aberrations at ``M k``. ``processing``: what was done
    to the stored images by their CTF.
    """

    name: str
    pixel_size: float
    box_size: int
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    odd: tuple[float, ...] = ()
    even: tuple[float, ...] = ()
    magnification: tuple[float, float, float, float] = ISOTROPIC
    processing: Processing = "none"

    def __post_init__(self) -> None:
        a, b, c, d = self.magnification
        checks = (
            ("pixel size", f"{self.pixel_size:g} Å", 0.0 < self.pixel_size < 1e3,
             "more than 0 and less than 1000 Å"),
            ("box size", f"{self.box_size} pixels", self.box_size >= 4, "at least 4 pixels"),
            ("voltage", f"{self.voltage / 1e3:g} kV", 1e4 <= self.voltage <= 3e6, "10 to 3000 kV"),
            ("spherical aberration", f"{self.spherical_aberration / 1e7:g} mm",
             abs(self.spherical_aberration) < 1e9, "-100 to 100 mm"),
            ("amplitude contrast", f"{self.amplitude_contrast:g}",
             0.0 <= self.amplitude_contrast <= 1.0, "0 to 1"),
            ("magnification", self.magnification,
             math.hypot(a - 1.0, b, c, d - 1.0) < 0.5, "a matrix near the identity"),
            ("odd", self.odd, all(map(math.isfinite, self.odd)), "finite coefficients"),
            ("even", self.even, all(map(math.isfinite, self.even)), "finite coefficients"),
        )  # fmt: skip
        for name, value, valid, expected in checks:
            if not valid:
                raise SettingsError(
                    f"optics group {self.name!r}: {name} is {value}, expected {expected}. "
                    f"Remedy: correct the optics table of the particle file."
                )

    @property
    def wavelength(self) -> float:
        """Relativistic electron wavelength in Angstrom (RELION's constants)."""
        return 12.2643247 / math.sqrt(self.voltage * (1.0 + 0.978466e-6 * self.voltage))


@dataclass(frozen=True, slots=True, repr=False)
class Optics(Columns):
    """The optics of n particles (`Columns`): their groups, and what differs between particles.

    ``group`` (n,) indexes ``groups``. ``defocus_u``, ``defocus_v`` in Angstrom, underfocus positive;
    ``defocus_angle`` from the image's x axis to u, and ``phase_shift``, in radian; ``b_factor`` in
    square Angstrom; ``scale`` dimensionless; ``dose``: electrons per square Angstrom that the
    particle had seen before and whose damage takes the place of the B-factor, 0 for none.
    All (n,) float64.
    """

    groups: tuple[OpticsGroup, ...]
    group: Tensor
    defocus_u: Tensor
    defocus_v: Tensor
    defocus_angle: Tensor
    phase_shift: Tensor
    b_factor: Tensor
    scale: Tensor
    dose: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def __post_init__(self) -> None:
        if not len(self.dose):
            object.__setattr__(self, "dose", torch.zeros_like(self.scale))
        shapes = {getattr(self, f.name).shape for f in fields(self) if f.name != "groups"}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise SettingsError(
                f"Optics: the columns have shapes {shapes}, expected one shape (n,)."
            )

    def __len__(self) -> int:
        return self.group.shape[0]

    def __repr__(self) -> str:
        n = len(self.groups)
        defocus = span(self.defocus_u.detach(), 1e-4)
        return described(
            "Optics", f"{len(self):,} particles", f"{n} group{'s' if n != 1 else ''}",
            f"defocus {defocus} µm" if defocus else "",
        )  # fmt: skip

    def present(self) -> tuple[list[OpticsGroup], Tensor]:
        """The groups that have particles here, and the one of each particle (n,) among them."""
        numbers, at = self.group.unique(return_inverse=True)
        return [self.groups[i] for i in numbers.tolist()], at

    def of_group(self, attribute: str) -> Tensor:
        """An attribute of every particle's group, e.g. ``of_group("pixel_size")``, (n,) float64."""
        values = [float(getattr(g, attribute)) for g in self.groups]
        return torch.tensor(values, dtype=torch.float64, device=self.group.device)[self.group]
