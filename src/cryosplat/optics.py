"""Optics groups and the contrast transfer function, in RELION's sign.

RELION's CTF is positive at low frequency for underfocus (``+amplitude_contrast`` at the origin), so
particles whose protein is bright need no sign change. cryoDRGN's CTF is exactly its negative.
Inside: Angstrom, volt, radian. (RELION, ``src/ctf.h``; Penczek 2010, Methods Enzymol. 482; higher
aberrations and magnification: Zivanov, Nakane & Scheres 2020, IUCrJ 7.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor

from .errors import SettingsError
from .poses import Poses

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
            ("pixel_size", self.pixel_size, 0.0 < self.pixel_size < 1e3, "0 to 1000 Angstrom"),
            ("box_size", self.box_size, self.box_size >= 4, "at least 4 pixels"),
            ("voltage", self.voltage, 1e4 <= self.voltage <= 3e6, "10 to 3000 kV"),
            ("spherical_aberration", self.spherical_aberration,
             abs(self.spherical_aberration) < 1e9, "-100 to 100 mm"),
            ("amplitude_contrast", self.amplitude_contrast,
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


@dataclass(frozen=True, slots=True)
class Optics:
    """The optics of n particles: their groups, and what differs from particle to particle.

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

    def select(self, index: Tensor) -> Optics:
        """The optics of the particles ``index``; the table of groups stays whole."""
        columns = (getattr(self, f.name)[index] for f in fields(self) if f.name != "groups")
        return Optics(self.groups, *columns)

    def present(self) -> tuple[list[OpticsGroup], Tensor]:
        """The groups that have particles here, and the one of each particle (n,) among them."""
        numbers, at = self.group.unique(return_inverse=True)
        return [self.groups[i] for i in numbers.tolist()], at

    def of_group(self, attribute: str) -> Tensor:
        """An attribute of every particle's group, e.g. ``of_group("pixel_size")``, (n,) float64."""
        values = [float(getattr(g, attribute)) for g in self.groups]
        return torch.tensor(values, dtype=torch.float64, device=self.group.device)[self.group]


def zernike(index: int, odd: bool) -> tuple[int, int]:
    """Order n and azimuthal m of coefficient ``index`` in RELION's lists of ``odd`` or even ones.

    Odd: (1, -1), (1, 1), (3, -3), (3, -1), (3, 1), ...; even: (0, 0), (2, -2), (2, 0), (2, 2), ...
    """
    n = 1 if odd else 0
    while index > n:
        index -= n + 1
        n += 2
    return n, 2 * index - n


def beam_tilt(group: OpticsGroup, x: float, y: float) -> tuple[float, ...]:
    """The odd coefficients of a beam tilt (x, y) in radian: ``-2 pi Cs lambda^2 (t.s) |s|^2``.

    As RELION's ``TiltHelper::insertTilt``: third-order coma with the shift it comes with.
    """
    unit = -2.0 * math.pi * group.spherical_aberration * group.wavelength**2 / 3.0
    return (2.0 * unit * y, 2.0 * unit * x, 0.0, unit * y, unit * x, 0.0)


def _polynomial(coefficients: tuple[float, ...], frequencies: Tensor, odd: bool) -> Tensor:
    """Sum of Zernike polynomials at ``frequencies`` (..., 2) in 1/Angstrom, (...)."""
    x, y = frequencies.double().unbind(-1)
    squared = x.square() + y.square()
    total = torch.zeros_like(x)
    for index, coefficient in enumerate(coefficients):
        if coefficient == 0.0:
            continue
        n, m = zernike(index, odd)
        turned = torch.complex(x, y) ** abs(m)  # r^|m| (cos + i sin)(|m| phi)
        radial = torch.zeros_like(x)
        for k in range((n - abs(m)) // 2 + 1):
            factor = (-1) ** k * math.comb(n - k, k) * math.comb(n - 2 * k, (n - abs(m)) // 2 - k)
            radial = radial + factor * squared ** ((n - abs(m)) // 2 - k)
        total = total + coefficient * radial * (turned.real if m >= 0 else turned.imag)
    return total


def magnified(group: OpticsGroup, frequencies: Tensor) -> Tensor:
    """``M k`` for ``frequencies`` (..., 2)."""
    if group.magnification == ISOTROPIC:
        return frequencies
    matrix = torch.tensor(group.magnification, dtype=frequencies.dtype, device=frequencies.device)
    return frequencies @ matrix.reshape(2, 2).T


def odd_phase(group: OpticsGroup, frequencies: Tensor) -> Tensor:
    """Phase in radian that the group's odd aberrations add to a particle's transform, (...) float64.

    ``frequencies`` (..., 2) in 1/Angstrom, as they are in the image.
    """
    return _polynomial(group.odd, magnified(group, frequencies), odd=True)


def even_phase(group: OpticsGroup, frequencies: Tensor) -> Tensor:
    """What the group's even aberrations add to RELION's gamma, in radian, as `odd_phase`.

    RELION's CTF is ``-sin(gamma)``: a defocus lowers gamma, and so does a negative coefficient.
    """
    return _polynomial(group.even, magnified(group, frequencies), odd=False)


def seen_rotations(poses: Poses, optics: Optics) -> Poses:
    """``poses`` whose first two rows are ``M^T A``: what projects a particle into a stretched image.

    A point goes to ``M^T (A r)_xy``, so that frequency k samples the map at ``A^T M k``. The third
    row, the viewing direction, stays. The same object where no group is anisotropic.
    """
    if all(g.magnification == ISOTROPIC for g in optics.groups):
        return poses
    matrices = torch.tensor([g.magnification for g in optics.groups], dtype=torch.float64)
    stretch = matrices.to(poses.rotations).reshape(-1, 2, 2)[optics.group]
    top = stretch.transpose(1, 2) @ poses.rotations[:, :2]
    return Poses(torch.cat([top, poses.rotations[:, 2:]], 1), poses.shifts)


def dose_exponent(frequency: float) -> float:
    """``q`` in the fall-off ``exp(-q dose)`` at a frequency above 0 in 1/Angstrom.

    Half of the inverse critical exposure (Grant & Grigorieff 2015, eLife 4, e06980, eq. 3).
    """
    return 0.5 / (0.245 * frequency**-1.665 + 2.81)


def ctf(optics: Optics, frequencies: Tensor) -> Tensor:
    """The CTF of n particles at spatial ``frequencies`` (..., 2) as (x, y) in 1/Angstrom.

    Returns (n, ...), real: even aberrations are in it, odd ones are phases (`odd_phase`). The
    definition, and differentiable; the accumulation has a numba twin of it.
    """
    shape = (len(optics),) + (1,) * (frequencies.dim() - 1)

    def column(values: Tensor) -> Tensor:
        return values.reshape(shape).to(frequencies.dtype)

    groups, of_group = optics.present()
    if any(g.magnification != ISOTROPIC for g in groups):
        stretched = torch.stack([magnified(g, frequencies) for g in groups])
        x, y = stretched[of_group].unbind(-1)
    else:
        x, y = frequencies.unbind(-1)
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
    if any(g.even for g in groups):
        even = torch.stack([even_phase(g, frequencies) for g in groups])
        gamma = gamma - even.to(gamma.dtype)[of_group]
    exponent = 0.25 * column(optics.b_factor) * squared
    dose = column(optics.dose)
    if bool((dose > 0.0).any()):
        # at the origin nothing is lost; 1e-12 stands for it
        lost = 0.5 / (0.245 * squared.clamp_min(1e-12) ** (-0.5 * 1.665) + 2.81)
        exponent = torch.where(dose > 0.0, dose * lost, exponent)
    return torch.sin(gamma) * column(optics.scale) * torch.exp(-exponent)
