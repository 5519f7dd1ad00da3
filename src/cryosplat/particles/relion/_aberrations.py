"""RELION's columns of aberrations, magnification and processing, read and written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ...errors import StarError
from ...optics import ISOTROPIC, OpticsGroup, Processing, added, beam_tilt, pure_beam_tilt
from ..tables import Aberration, Effects, Matrix, numbers, with_effects

_TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
_ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
_MATRIX = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
_PREMULTIPLIED, _FLIPPED = "rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"
_MOST_COEFFICIENTS = 110  # up to order 20
# What RELION keeps in the optics table from version 3.1 on, and in every row before.
OPTICS_COLUMNS = (*_TILT, *_ZERNIKE, *_MATRIX, _PREMULTIPLIED, _FLIPPED, "rlnMtfFileName")


def relion_effects(values: Mapping[str, object], group: OpticsGroup, where: str) -> Effects:
    """The effects of one optics group, out of one value of each of its columns.

    Beam tilt (mrad) is added to the odd coefficients, and a table that has its columns has no other
    third-order coma: RELION lets the tilt take that place. Raises `StarError` for values that are
    no numbers.
    """

    def number(label: str, default: float) -> float:
        if label not in values:
            return default
        return float(numbers([values[label]], label, f"{where}, {group.name}", StarError)[0])

    parts: list[Aberration] = []
    unused: list[Aberration] = []
    tilt = tuple(number(label, 0.0) for label in _TILT)
    if any(tilt):
        odd = beam_tilt(group, *(1e-3 * t for t in tilt))
        text = f"beam tilt (rlnBeamTilt) of ({tilt[0]:.3g}, {tilt[1]:.3g}) mrad"
        parts.append(Aberration("beam tilt", text, odd=odd))
    for label, what in zip(_ZERNIKE, ("odd", "even"), strict=True):
        coefficients = _coefficients(values.get(label, "[]"), label, where)
        if label == "rlnOddZernike" and any(t in values for t in _TILT) and any(coefficients[3:5]):
            coma = (0.0, 0.0, 0.0, *coefficients[3:5])
            text = "third-order coma (rlnOddZernike), which RELION replaces by the beam tilt"
            unused.append(Aberration("coma", text, odd=coma))
            coefficients = added(coefficients, tuple(-c for c in coma))
        if any(coefficients):
            parts.append(Aberration(label, f"{what} aberrations ({label})", **{what: coefficients}))
    a, b, c, d = (number(m, isotropic) for m, isotropic in zip(_MATRIX, ISOTROPIC, strict=True))
    return Effects(tuple(parts), tuple(unused), (a, b, c, d), _processing(number, group, where))


def _processing(
    number: Callable[[str, float], float], group: OpticsGroup, where: str
) -> Processing:
    premultiplied, flipped = number(_PREMULTIPLIED, 0.0) != 0, number(_FLIPPED, 0.0) != 0
    if premultiplied and flipped:
        raise StarError(
            f"{where}: {_PREMULTIPLIED} and {_FLIPPED} are both set for optics group "
            f"{group.name!r}, but images are one or the other.\n  Remedy: set the wrong one to 0."
        )
    return "premultiplied" if premultiplied else "phase-flipped" if flipped else "none"


def _coefficients(value: object, label: str, where: str) -> tuple[float, ...]:
    """Numbers out of "[a,b,...]"; () where all are zero."""
    text = str(value).strip()
    inner = text[1:-1].strip()
    try:
        if not (len(text) > 1 and text[0] == "[" and text[-1] == "]") or "_" in text:
            raise ValueError(text)
        coefficients = tuple(float(word) for word in inner.split(",")) if inner else ()
    except ValueError:
        coefficients = (math.nan,)
    if len(coefficients) > _MOST_COEFFICIENTS or not all(map(math.isfinite, coefficients)):
        start = text if len(text) <= 60 else f"{text[:60]}..."
        raise StarError(
            f"{where}: {label} is {start!r}, expected at most {_MOST_COEFFICIENTS} numbers in "
            f"radian, without spaces: [0.1,-0.2,0,...].\n"
            f"  Remedy: copy the column from RELION's own file, or remove it."
        )
    return coefficients if any(coefficients) else ()


def aberration_columns(groups: Sequence[OpticsGroup], kept: pd.DataFrame) -> pd.DataFrame:
    """``kept``, the other columns of an optics table, with columns for the effects of ``groups``.

    Columns of the source stay word for word where they describe those effects already.
    """
    own = [label for label in OPTICS_COLUMNS if label in kept]
    effects = [
        relion_effects({label: kept[label].iloc[i] for label in own}, group, "the optics table")
        for i, group in enumerate(groups)
    ]
    if with_effects(groups, effects, "the optics table", StarError) == tuple(groups):
        return kept
    kept = kept.drop(columns=[label for label in own if label != "rlnMtfFileName"])
    written: dict[str, object] = {}
    odd = [g.odd for g in groups]
    tilts = [t for t in map(pure_beam_tilt, groups) if t is not None]
    if any(odd) and len(tilts) == len(groups):
        written |= {label: [1e3 * t[i] for t in tilts] for i, label in enumerate(_TILT)}
        odd = [() for _ in groups]
    for label, lists in zip(_ZERNIKE, (odd, [g.even for g in groups]), strict=True):
        if any(lists):
            written[label] = [_bracketed(coefficients or (0.0,)) for coefficients in lists]
    matrices: list[Matrix] = [g.magnification for g in groups]
    if any(m != ISOTROPIC for m in matrices):
        written |= dict(zip(_MATRIX, np.array(matrices).T, strict=True))
    for label, processing in ((_PREMULTIPLIED, "premultiplied"), (_FLIPPED, "phase-flipped")):
        if any(g.processing == processing for g in groups):
            written[label] = [int(g.processing == processing) for g in groups]
    return pd.concat([kept, pd.DataFrame(written, index=kept.index)], axis=1)


def _bracketed(coefficients: tuple[float, ...]) -> str:
    return f"[{','.join(repr(float(c)) for c in coefficients)}]"
