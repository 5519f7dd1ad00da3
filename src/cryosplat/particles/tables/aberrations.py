"""What optics groups do beside the CTF's own values, and the size of each effect for the user."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...errors import InputError, SettingsError
from ...optics import ISOTROPIC, OpticsGroup, Processing, even_phase, odd_phase

MOST_GROUPS = 500
_MOST_TURN = 1e6  # radian at Nyquist; what microscopes do stays below a thousandth of it

Matrix = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Aberration:
    """One effect of a group: its ``kind``, a ``text`` that tells its values, and the Zernike
    coefficients it adds, in radian and in RELION's order (`OpticsGroup`)."""

    kind: str
    text: str
    odd: tuple[float, ...] = ()
    even: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What the columns of one optics group say: its aberrations, and those that are ``unused``,
    RELION's magnification matrix, and what was done to its images; ``stretch`` names the columns
    of the matrix."""

    aberrations: tuple[Aberration, ...] = ()
    unused: tuple[Aberration, ...] = ()
    magnification: Matrix = ISOTROPIC
    processing: Processing = "none"
    stretch: str = "rlnMagMat"


def added(first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    """The sum of two lists of coefficients of any length; () where all are zero."""
    total = np.zeros(max(len(first), len(second)))
    total[: len(first)] += first
    total[: len(second)] += second
    return tuple(total.tolist()) if total.any() else ()


def with_effects(
    groups: Sequence[OpticsGroup], effects: Sequence[Effects], where: str, error: type[InputError]
) -> tuple[OpticsGroup, ...]:
    """The groups with the coefficients, matrices and processing of ``effects``.

    Raises ``error`` for values that no microscope has.
    """
    done = []
    for group, effect in zip(groups, effects, strict=True):
        odd: tuple[float, ...] = ()
        even: tuple[float, ...] = ()
        for part in effect.aberrations:
            turn = largest_turn(group, part)
            if not turn <= _MOST_TURN:
                raise error(
                    f"{where}: {part.text} of optics group {group.name!r} would turn phases by "
                    f"{math.degrees(turn):.3g} degrees at Nyquist ({2 * group.pixel_size:.3g} A).\n"
                    f"  Coefficients are in radian, their polynomials in 1/Angstrom.\n"
                    f"  Remedy: correct the optics, or leave the column out."
                )
            odd, even = added(odd, part.odd), added(even, part.even)
        try:
            done.append(
                replace(
                    group, odd=odd, even=even, magnification=effect.magnification,
                    processing=effect.processing,
                )
            )  # fmt: skip
        except SettingsError as wrong:
            raise error(f"{where}: {wrong}") from None
    return tuple(done)


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


def on_images_without_ctf(effects: Sequence[Effects], notes: list[str]) -> list[Effects]:
    """What ``effects`` do to images that are said to have no CTF: their magnification only."""
    done = sorted({e.processing for e in effects} - {"none"})
    if done:
        notes.append(
            f"warning: that the images are stored {' and '.join(done)} is not used, as they have no "
            f"CTF."
        )
    return [
        replace(e, aberrations=(), unused=(*e.unused, *e.aberrations), processing="none")
        for e in effects
    ]


def effect_notes(
    groups: Sequence[OpticsGroup], effects: Sequence[Effects], why_unused: str = ""
) -> Iterator[str]:
    """One sentence for each kind of effect: the group where it is largest."""
    held = list(zip(groups, effects, strict=True))
    for kind in dict.fromkeys(part.kind for _, effect in held for part in effect.aberrations):
        parts = [(g, p) for g, e in held for p in e.aberrations if p.kind == kind]
        turns = [largest_turn(group, part) for group, part in parts]
        (group, part), turn = parts[int(np.argmax(turns))], max(turns)
        yield (
            f"optics group {group.name!r}: {part.text} applied; {_turned(group, turn)}"
            f"{_largest_of(len(parts))}."
        )
    unused = [(largest_turn(g, p), g, p) for g, e in held for p in e.unused]
    for kind in dict.fromkeys(part.kind for _, _, part in unused):
        own = [each for each in unused if each[2].kind == kind]
        _, group, part = max(own, key=lambda each: each[0])
        yield unapplied_note(group, part, why_unused)
    yield from _stretch_notes(held)
    yield from _processing_notes(held)


def in_degrees(phase: float) -> str:
    """A phase in radian as a number of degrees, for a sentence."""
    degrees = math.degrees(phase)
    return f"{degrees:,.0f}" if degrees >= 10.0 else f"{degrees:.2g}"


def unapplied_note(group: OpticsGroup, part: Aberration, why: str) -> str:
    """A warning that tells what leaving out an aberration means."""
    turn = largest_turn(group, part)
    return (
        f"warning: {part.text} not applied{why}; {_turned(group, turn)} "
        f"(optics group {group.name!r})."
    )


def _turned(group: OpticsGroup, turn: float) -> str:
    return (
        f"at Nyquist ({2 * group.pixel_size:.3g} A) it turns phases by up to "
        f"{in_degrees(turn)} degrees"
    )


def _largest_of(n: int) -> str:
    return "" if n == 1 else f" (the largest of {n} optics groups)"


def _stretch_notes(held: list[tuple[OpticsGroup, Effects]]) -> Iterator[str]:
    parts = [(g, e) for g, e in held if e.magnification != ISOTROPIC]
    if not parts:
        return
    moved = []
    for group, effect in parts:
        low, high = stretches(effect.magnification)
        half_side = 0.5 * group.box_size * group.pixel_size
        moved.append((max(abs(high - 1.0), abs(low - 1.0)) * half_side, low, high))
    i = int(np.argmax([m[0] for m in moved]))
    group, effect = parts[i]
    far, low, high = moved[i]
    yield (
        f"optics group {group.name!r}: anisotropic magnification ({effect.stretch}), "
        f"{100 * (low - 1):+.2f} % to {100 * (high - 1):+.2f} %, is applied; at the edge of the "
        f"box it moves density by {far:.2g} A{_largest_of(len(parts))}."
    )


def _processing_notes(held: list[tuple[OpticsGroup, Effects]]) -> Iterator[str]:
    for processing, done in (
        ("premultiplied", "multiplied by their CTF"), ("phase-flipped", "phase-flipped"),
    ):  # fmt: skip
        names = [repr(g.name) for g, e in held if e.processing == processing]
        if names:
            listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            yield (
                f"the images of optics group {listed} are stored {done}; they are used so, with the "
                f"CTF of this table."
            )
