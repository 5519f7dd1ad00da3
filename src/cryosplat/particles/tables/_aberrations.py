"""What optics groups do beside the CTF's own values, and the size of each effect for the user."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...errors import InputError, SettingsError
from ...notes import Note
from ...optics import ISOTROPIC, OpticsGroup, Processing, added, even_phase, odd_phase

MOST_GROUPS = 500
_MOST_TURN = 1e6  # radian at Nyquist; what microscopes do stays below a thousandth of it

CRYOSPARC_FIELDS = {"ctf/tilt_A": 2, "ctf/trefoil_A": 2, "ctf/tetra_A": 4, "ctf/anisomag": 4}
"""cryoSPARC's aberrations of an optics group, and how many numbers each has."""
Matrix = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Aberration:
    """One effect of a group: its ``kind``, a ``text`` that names it with its values, and the Zernike
    coefficients it adds, in radian and in RELION's order (`OpticsGroup`)."""

    kind: str
    text: str
    odd: tuple[float, ...] = ()
    even: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What the columns of one optics group describe: its aberrations, and those that are ``unused``,
    RELION's magnification matrix, and how its images were processed; ``stretch`` names the columns
    of the matrix."""

    aberrations: tuple[Aberration, ...] = ()
    unused: tuple[Aberration, ...] = ()
    magnification: Matrix = ISOTROPIC
    processing: Processing = "none"
    stretch: str = "rlnMagMat"


def with_effects(
    groups: Sequence[OpticsGroup], effects: Sequence[Effects], where: str, error: type[InputError]
) -> tuple[OpticsGroup, ...]:
    """The groups with the coefficients, matrices and processing of ``effects``.

    Raises ``error`` for values that no microscope has.
    """
    changed = []
    for group, effect in zip(groups, effects, strict=True):
        odd: tuple[float, ...] = ()
        even: tuple[float, ...] = ()
        for part in effect.aberrations:
            turn = largest_turn(group, part)
            if not turn <= _MOST_TURN:
                raise error(
                    f"{where}: {part.text}, of optics group {group.name!r}, would change phases by "
                    f"{math.degrees(turn):.3g} degrees at Nyquist ({2 * group.pixel_size:.3g} A).\n"
                    f"  Coefficients are in radian, their polynomials in 1/Angstrom.\n"
                    f"  Remedy: correct the optics, or remove the column."
                )
            odd, even = added(odd, part.odd), added(even, part.even)
        try:
            changed.append(
                replace(
                    group, odd=odd, even=even, magnification=effect.magnification,
                    processing=effect.processing,
                )
            )  # fmt: skip
        except SettingsError as wrong:
            raise error(f"{where}: {wrong}") from None
    return tuple(changed)


def largest_turn(group: OpticsGroup, part: Aberration) -> float:
    """The largest phase in radian that an aberration gives to frequencies at Nyquist."""
    angles = torch.linspace(0.0, 2.0 * math.pi, 181, dtype=torch.float64)[:-1]
    directions = torch.stack([torch.cos(angles), torch.sin(angles)], -1)
    frequencies = directions / (2.0 * group.pixel_size)
    with_part = replace(group, odd=part.odd, even=part.even, magnification=ISOTROPIC)
    phases = odd_phase(with_part, frequencies).abs() + even_phase(with_part, frequencies).abs()
    return float(phases.max()) if bool(phases.isfinite().all()) else math.inf


def stretches(magnification: Matrix) -> tuple[float, float]:
    """The smallest and largest factor by which the matrix changes a frequency."""
    values = np.linalg.svd(np.reshape(magnification, (2, 2)), compute_uv=False)
    return float(values[-1]), float(values[0])


def effects_without_ctf(effects: Sequence[Effects]) -> tuple[list[Effects], list[Note]]:
    """What ``effects`` do to images that have no CTF, which is their magnification only; notes."""
    processing = sorted({e.processing for e in effects} - {"none"})
    notes = []
    if processing:
        notes.append(Note(
            "processing-unused", "warning",
            f"The table says that images are {' and '.join(processing)}; this is not used, because "
            f"the images are taken to have no CTF.",
            "Leave --ctf none out, or remove the column.",
        ))  # fmt: skip
    return [
        replace(e, aberrations=(), unused=(*e.unused, *e.aberrations), processing="none")
        for e in effects
    ], notes


def effect_notes(
    groups: Sequence[OpticsGroup], effects: Sequence[Effects], why_unused: str = ""
) -> Iterator[Note]:
    """A note on each kind of effect, with the group where it is largest."""
    pairs = list(zip(groups, effects, strict=True))
    for kind in dict.fromkeys(part.kind for _, effect in pairs for part in effect.aberrations):
        parts = [(g, p) for g, e in pairs for p in e.aberrations if p.kind == kind]
        turns = [largest_turn(group, part) for group, part in parts]
        (group, part), turn = parts[int(np.argmax(turns))], max(turns)
        text = (
            f"Optics group {group.name!r}: {part.text}, applied; {phase_change(group, turn)}"
            f"{_largest_of(len(parts))}."
        )
        yield Note("aberration-applied", "note", text)
    unused = [(largest_turn(g, p), g, p) for g, e in pairs for p in e.unused]
    for kind in dict.fromkeys(part.kind for _, _, part in unused):
        own = [each for each in unused if each[2].kind == kind]
        _, group, part = max(own, key=lambda each: each[0])
        yield unapplied_note(group, part, why_unused)
    yield from _stretch_notes(pairs)
    yield from _processing_notes(pairs)


def in_degrees(phase: float) -> str:
    """A phase in radian as a number of degrees, for a sentence."""
    degrees = math.degrees(phase)
    return f"{degrees:,.0f}" if degrees >= 10.0 else f"{degrees:.2g}"


def unapplied_note(group: OpticsGroup, part: Aberration, why: str) -> Note:
    """A warning with the size of the effect of an aberration that is left out."""
    text = (
        f"Optics group {group.name!r}: {part.text}, not applied{why}; "
        f"{phase_change(group, largest_turn(group, part))}."
    )
    return Note("aberration-not-applied", "warning", text)


def phase_change(group: OpticsGroup, phase: float) -> str:
    """A change of phase at Nyquist in words."""
    return (
        f"it changes phases by up to {in_degrees(phase)} degrees at Nyquist "
        f"({2 * group.pixel_size:.3g} A)"
    )


def _largest_of(n: int) -> str:
    return "" if n == 1 else f", the largest effect in {n} optics groups"


def unapplied_stretch(columns: str, why: str, factor: float) -> Note:
    """A warning on a magnification matrix that is left out; ``factor`` is its largest deviation."""
    text = f"Anisotropic magnification ({columns}) of up to {100 * factor:.2g} %, not applied{why}."
    return Note("magnification-not-applied", "warning", text)


def _stretch_notes(pairs: list[tuple[OpticsGroup, Effects]]) -> Iterator[Note]:
    parts = [(g, e) for g, e in pairs if e.magnification != ISOTROPIC]
    if not parts:
        return
    displacements = []
    for group, effect in parts:
        low, high = stretches(effect.magnification)
        half_side = 0.5 * group.box_size * group.pixel_size
        displacements.append((max(abs(high - 1.0), abs(low - 1.0)) * half_side, low, high))
    i = int(np.argmax([m[0] for m in displacements]))
    group, effect = parts[i]
    far, low, high = displacements[i]
    text = (
        f"Optics group {group.name!r}: anisotropic magnification ({effect.stretch}) of "
        f"{100 * (low - 1):+.2f} % to {100 * (high - 1):+.2f} %, applied; it moves density at the "
        f"edge of the box by {far:.2g} A{_largest_of(len(parts))}."
    )
    yield Note("magnification-applied", "note", text)


def _processing_notes(pairs: list[tuple[OpticsGroup, Effects]]) -> Iterator[Note]:
    for processing, state in (
        ("premultiplied", "multiplied by their CTF"), ("phase-flipped", "phase-flipped"),
    ):  # fmt: skip
        names = [repr(g.name) for g, e in pairs if e.processing == processing]
        if names:
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            text = (
                f"The images of optics group {some} are stored {state} and are used as such, with "
                f"the CTF of this table."
            )
            yield Note("images-processed", "note", text)
