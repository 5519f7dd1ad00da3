"""Optics groups and the contrast transfer function, in RELION's sign.

RELION's CTF is positive at low frequency for underfocus (``+amplitude_contrast`` at the origin), so
particles whose protein is bright need no sign change. cryoDRGN's CTF is exactly its negative.
Inside: Angstrom, volt, radian. (RELION, ``src/ctf.h``; Penczek 2010, Methods Enzymol. 482.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .errors import SettingsError


@dataclass(frozen=True, slots=True)
class OpticsGroup:
    """What all particles of one optics group share.

    ``pixel_size`` and ``spherical_aberration`` in Angstrom, ``voltage`` in volt.
    """

    name: str
    pixel_size: float
    box_size: int
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float

    def __post_init__(self) -> None:
        checks = (
            ("pixel_size", self.pixel_size, 0.0 < self.pixel_size < 1e3, "0 to 1000 Angstrom"),
            ("box_size", self.box_size, self.box_size >= 4, "at least 4 pixels"),
            ("voltage", self.voltage, 1e4 <= self.voltage <= 3e6, "10 to 3000 kV"),
            ("spherical_aberration", self.spherical_aberration,
             0.0 <= self.spherical_aberration < 1e9, "0 to 100 mm"),
            ("amplitude_contrast", self.amplitude_contrast,
             0.0 <= self.amplitude_contrast <= 1.0, "0 to 1"),
        )  # fmt: skip
        for field, value, valid, expected in checks:
            if not valid:
                raise SettingsError(
                    f"optics group {self.name!r}: {field} is {value}, expected {expected}. "
                    f"Remedy: correct the optics table of the particle file."
                )

    @property
    def wavelength(self) -> float:
        """Relativistic electron wavelength in Angstrom (RELION's constants)."""
        return 12.2643247 / math.sqrt(self.voltage * (1.0 + 0.978466e-6 * self.voltage))


@dataclass(frozen=True, slots=True)
class Optics:
    """The optics of n particles: their groups, and what differs from particle to particle.

    ``group`` (n,) indexes ``groups``. ``defocus_u``, ``defocus_v`` in Angstrom, underfocus positive;
    ``defocus_angle`` from the image's x axis to u, and ``phase_shift``, in radian; ``b_factor`` in
    square Angstrom; ``scale`` dimensionless. All (n,) float64.
    """

    groups: tuple[OpticsGroup, ...]
    group: Tensor
    defocus_u: Tensor
    defocus_v: Tensor
    defocus_angle: Tensor
    phase_shift: Tensor
    b_factor: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        shapes = {getattr(self, f.name).shape for f in fields(self) if f.name != "groups"}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise SettingsError(
                f"Optics: the columns have shapes {shapes}, expected one shape (n,)."
            )

    def __len__(self) -> int:
        return self.group.shape[0]

    def select(self, index: Tensor) -> Optics:
        """The optics of the particles ``index``; the table of groups stays whole."""
        columns = (getattr(self, f.name)[index] for f in fields(self) if f.name != "groups")
        return Optics(self.groups, *columns)

    def of_group(self, attribute: str) -> Tensor:
        """An attribute of every particle's group, e.g. ``of_group("pixel_size")``, (n,) float64."""
        values = [float(getattr(g, attribute)) for g in self.groups]
        return torch.tensor(values, dtype=torch.float64, device=self.group.device)[self.group]


def ctf(optics: Optics, frequencies: Tensor) -> Tensor:
    """The CTF of n particles at spatial ``frequencies`` (..., 2) as (x, y) in 1/Angstrom.

    Returns (n, ...). The definition, and differentiable; the accumulation has a numba twin of it.
    """
    shape = (len(optics),) + (1,) * (frequencies.dim() - 1)

    def column(values: Tensor) -> Tensor:
        return values.reshape(shape).to(frequencies.dtype)

    x, y = frequencies[..., 0], frequencies[..., 1]
    squared = x.square() + y.square()
    u, v, angle = map(column, (optics.defocus_u, optics.defocus_v, optics.defocus_angle))
    mean, difference = 0.5 * (u + v), 0.5 * (u - v)
    # |s|^2 cos(2 (phi - angle)), written without an arctangent: smooth at the origin
    astigmatic = (x.square() - y.square()) * torch.cos(2 * angle) + 2 * x * y * torch.sin(2 * angle)
    wavelength = column(optics.of_group("wavelength"))
    aberration = column(optics.of_group("spherical_aberration"))
    contrast = column(optics.of_group("amplitude_contrast"))
    gamma = (
        math.pi * wavelength * (mean * squared + difference * astigmatic)
        - 0.5 * math.pi * aberration * wavelength**3 * squared.square()
        + column(optics.phase_shift)
        + torch.asin(contrast)
    )
    envelope = column(optics.scale) * torch.exp(-0.25 * column(optics.b_factor) * squared)
    return torch.sin(gamma) * envelope
