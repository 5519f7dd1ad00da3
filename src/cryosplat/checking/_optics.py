"""Optics: impossible values, values in other units, and boxes too small for the CTF."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..notes import Note
from ..optics import Optics, OpticsGroup
from ..particles import Particles
from .values import Item, describe_rows, shortlist

VOLTAGES = (80e3, 100e3, 120e3, 200e3, 300e3)
ABERRATION = (0.5e7, 5e7)  # Angstrom; correctors leave less than LEAST_ABERRATION
LEAST_ABERRATION = 0.1e7
AMPLITUDE_CONTRAST = (0.04, 0.2)
DEFOCUS = (1000.0, 60000.0)
MICROMETRE = 20.0  # a largest defocus below this is no number of Angstrom
ASTIGMATISM, ASTIGMATISM_SHARE = 3000.0, 0.2
ANGLE_IN_RADIAN = math.radians(math.pi * 1.001)  # of an angle in radian that was read as degrees
PHASE_IN_RADIAN = math.radians(math.pi * 1.001)
ENOUGH = 10  # rows, before their largest angle says something about the unit
PIXEL_SIZES = (0.2, 15.0)
RESOLUTION = 3.0  # Angstrom, of the details considered, if the pixels allow it
TYPICAL_RADIUS = 1 / 3  # of a particle, in boxes


def optics_items(particles: Particles) -> list[Item]:
    """Items on microscopes, defocus, pixel sizes and boxes."""
    optics = particles.optics
    used = [optics.groups[g] for g in np.unique(optics.group.numpy())]
    if _has_no_ctf(optics, used):
        return [
            Item("optics", "no CTF, as requested"),
            _pixel_item(used),
            _box_item(particles, used),
        ]
    return [
        Item("optics", _description(used), tuple(_microscope_notes(used))),
        _defocus_item(particles),
        _pixel_item(used),
        _box_item(particles, used),
    ]


def _has_no_ctf(optics: Optics, groups: list[OpticsGroup]) -> bool:
    return all(g.amplitude_contrast == 1.0 for g in groups) and not optics.defocus_u.any()


def _description(groups: list[OpticsGroup]) -> str:
    first = groups[0]
    text = (
        f"{len(groups)} group{'s' if len(groups) > 1 else ''}; {first.voltage / 1e3:g} kV, Cs "
        f"{first.spherical_aberration / 1e7:g} mm, amplitude contrast {first.amplitude_contrast:g}"
    )
    has = [name for name, present in (
        ("odd aberrations", any(any(g.odd) for g in groups)),
        ("even aberrations", any(any(g.even) for g in groups)),
        ("anisotropic magnification", any(g.magnification != (1, 0, 0, 1) for g in groups)),
        *((g.processing, True) for g in groups if g.processing != "none"),
    ) if present]  # fmt: skip
    return text + (f"; {', '.join(dict.fromkeys(has))}" if has else "")


def _microscope_notes(groups: list[OpticsGroup]) -> Iterator[Note]:
    least, most = AMPLITUDE_CONTRAST
    checks = (
        ("voltage-unusual", "voltage", lambda g: min(abs(g.voltage - v) for v in VOLTAGES) < 1e3,
         lambda g: f"{g.voltage / 1e3:g} kV", "80, 100, 120, 200 or 300 kV"),
        ("spherical-aberration-unusual", "spherical aberration",
         lambda g: 0.0 < g.spherical_aberration <= LEAST_ABERRATION
         or ABERRATION[0] <= g.spherical_aberration <= ABERRATION[1],
         lambda g: f"{g.spherical_aberration / 1e7:g} mm", "0.5 to 5 mm, usually 2.7"),
        ("amplitude-contrast-unusual", "amplitude contrast",
         lambda g: least <= g.amplitude_contrast <= most,
         lambda g: f"{g.amplitude_contrast:g}", f"{least:g} to {most:g}, usually 0.07 or 0.1"),
    )  # fmt: skip
    for code, quantity, usual, value, expected in checks:
        odd = [f"{g.name} ({value(g)})" for g in groups if not usual(g)]
        if odd:
            yield Note(
                code, "warning", f"Unusual {quantity}: {shortlist(odd)}; expected {expected}.",
                "Correct the optics table, if this is not how the data were collected.",
            )  # fmt: skip


def _defocus_item(particles: Particles) -> Item:
    optics = particles.optics
    u, v = optics.defocus_u.numpy(), optics.defocus_v.numpy()
    text = f"{min(u.min(), v.min()):,.0f} to {max(u.max(), v.max()):,.0f} Å"
    findings = [*_defocus_notes(particles, u, v), *_angle_notes(particles)]
    return Item("defocus", text, tuple(findings))


def _defocus_notes(
    particles: Particles, u: NDArray[np.float64], v: NDArray[np.float64]
) -> Iterator[Note]:
    rows = particles.images.row
    mean, difference = 0.5 * (u + v), np.abs(u - v)
    fix = f"cryosplat check {particles.source} --fix OUT.star"
    largest = float(np.abs(mean).max())
    if not u.any():
        yield Note(
            "defocus-zero", "alarm", "The defocus is 0 in every row: the CTF was not estimated.",
            "Use the file with the CTF estimates, or --ctf none if the images have no CTF.",
        )  # fmt: skip
        return
    if largest < MICROMETRE:
        yield Note(
            "defocus-micrometre", "alarm",
            f"The largest defocus is {largest:.3g} Å: the values are in micrometres.",
            f"{fix} converts them.",
        )  # fmt: skip
        return
    if (mean < 0.0).any():
        every = bool((mean < 0.0).all())
        yield Note(
            "defocus-negative" if every else "defocus-overfocus", "alarm" if every else "warning",
            f"The defocus is negative (overfocus) in {describe_rows(mean < 0.0, rows)}, down to "
            f"{mean.min():,.0f} Å; underfocus is positive here.",
            f"{fix} reverses its sign." if every else "Remove those rows if they are wrong.",
        )  # fmt: skip
    zero = mean == 0.0
    if zero.any():
        yield Note(
            "defocus-zero-rows", "warning", f"The defocus is 0 in {describe_rows(zero, rows)}.",
            f"--selection 'rlnDefocusU > {DEFOCUS[0]:g}' drops them.",
        )  # fmt: skip
    outside = ~zero & ((np.abs(mean) < DEFOCUS[0]) | (np.abs(mean) > DEFOCUS[1]))
    if outside.any():
        yield Note(
            "defocus-range", "warning",
            f"The defocus is outside 0.1 to 6 µm in {describe_rows(outside, rows)} "
            f"({np.abs(mean[outside]).min():,.0f} to {np.abs(mean[outside]).max():,.0f} Å).",
            f"--selection 'rlnDefocusU < {DEFOCUS[1]:g}' drops them, if they are outliers.",
        )  # fmt: skip
    strong = (difference > ASTIGMATISM) | (difference > ASTIGMATISM_SHARE * np.abs(mean))
    if (strong & ~zero).any():
        yield Note(
            "astigmatism-large", "warning",
            f"The astigmatism exceeds {ASTIGMATISM:,.0f} Å or 20 % of the defocus in "
            f"{describe_rows(strong & ~zero, rows)} (up to {difference.max():,.0f} Å).",
            "Check the CTF fits of those micrographs, and remove them if the fits failed.",
        )  # fmt: skip


def _angle_notes(particles: Particles) -> Iterator[Note]:
    optics, fix = particles.optics, f"cryosplat check {particles.source} --fix OUT.star"
    for code, angles, limit, what in (
        ("defocus-angle-radian", optics.defocus_angle.numpy(), ANGLE_IN_RADIAN, "defocus angle"),
        ("phase-shift-radian", optics.phase_shift.numpy(), PHASE_IN_RADIAN, "phase shift"),
    ):
        if _in_radian(angles, limit):
            yield Note(
                code, "alarm",
                f"No {what} exceeds {np.degrees(np.abs(angles)).max():.2f} degrees: they are in "
                f"radian.",
                f"{fix} converts them to degrees.",
            )  # fmt: skip


def _in_radian(angles: NDArray[np.float64], limit: float) -> bool:
    """Whether angles, read as degrees, all lie below pi and differ enough to say so."""
    n_values = len(np.unique(np.round(angles, 9)[:10000]))
    largest = float(np.abs(angles).max())
    return n_values >= ENOUGH and 0.2 * limit < largest < limit


def _pixel_item(groups: list[OpticsGroup]) -> Item:
    sizes = sorted({g.pixel_size for g in groups})
    text = f"{', '.join(f'{s:.4g}' for s in sizes)} Å"
    findings = []
    odd = [f"{g.name} ({g.pixel_size:g} Å)" for g in groups
           if not PIXEL_SIZES[0] <= g.pixel_size <= PIXEL_SIZES[1]]  # fmt: skip
    if odd:
        findings.append(Note(
            "pixel-size-impossible", "alarm",
            f"Impossible pixel size: {shortlist(odd)}; expected {PIXEL_SIZES[0]:g} to "
            f"{PIXEL_SIZES[1]:g} Å.",
            "--pixel-size ANGSTROM",
        ))  # fmt: skip
    if len(sizes) > 1:
        findings.append(Note(
            "pixel-sizes-differ", "note",
            f"There are {len(sizes)} pixel sizes, {sizes[0]:.4g} to {sizes[-1]:.4g} Å; each is used "
            f"for its group. Their ratio must be accurate to 0.5 % for high resolution.",
        ))  # fmt: skip
    return Item("pixel size", text, tuple(findings))


def _box_item(particles: Particles, groups: list[OpticsGroup]) -> Item:
    findings = [*_size_notes(groups), *_delocalisation_notes(particles)]
    side = particles.box_size * particles.pixel_size
    return Item("box", f"{particles.box_size} px, {side:.0f} Å", tuple(findings))


def _size_notes(groups: list[OpticsGroup]) -> Iterator[Note]:
    bad = sorted({g.box_size for g in groups if g.box_size % 2 or _largest_prime(g.box_size) > 7})
    if bad:
        good = next(b for b in range(bad[0] // 2 * 2, 2, -2) if _largest_prime(b) <= 7)
        yield Note(
            "box-size-fft", "note",
            f"Fourier transforms of a box of {bad[0]} pixels are slow: it is odd or has a large "
            f"prime factor.",
            f"--downsample {good} crops it.",
        )  # fmt: skip


def _largest_prime(n: int) -> int:
    factor = 2
    while factor * factor <= n:
        if n % factor:
            factor += 1
        else:
            n //= factor
    return n


def _delocalisation_notes(particles: Particles) -> Iterator[Note]:
    """The CTF displaces a detail of size d by ``wavelength defocus / d``: is that within the box?"""
    optics = particles.optics
    defocus = 0.5 * np.abs((optics.defocus_u + optics.defocus_v).numpy())
    reach = np.quantile(defocus * optics.of_group("wavelength").numpy(), 0.9)
    half = 0.5 * particles.box_size * particles.pixel_size
    detail = max(RESOLUTION, 2.0 * particles.pixel_size)
    room = half - 2.0 * half * TYPICAL_RADIUS
    if reach / detail <= room:
        return
    beyond = reach / detail > half
    yield Note(
        "delocalisation", "warning" if beyond else "note",
        f"CTF delocalisation at {detail:.1f} Å reaches {reach / detail:.0f} Å, half the box is "
        f"{half:.0f} Å: of a particle that fills two thirds of the box, details finer than "
        f"{reach / room:.1f} Å are partly outside.",
        "Re-extract with a larger box to keep them.",
    )  # fmt: skip
