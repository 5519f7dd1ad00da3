"""FSC curves as files: a table of many (csv), and the one curve that the EMDB takes (xml)."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ..errors import InputError
from .atomic import write_text

PathLike = str | os.PathLike[str]

HEAD = ("shell", "frequency (1/A)", "resolution (A)")
"""First columns of the table; the curves follow, one column each."""


def write_fsc_csv(
    path: PathLike, frequencies: Sequence[float], curves: Mapping[str, Sequence[float]]
) -> Path:
    """One row a shell: its number, frequency (1/Angstrom), resolution (Angstrom), each curve.

    Values that are unknown (NaN) are left empty. Raises `OutputError` where ``path`` cannot be
    written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*HEAD, *curves])
    for shell, frequency in enumerate(frequencies):
        resolution = f"{1.0 / frequency:.4f}" if frequency > 0 else ""
        values = (float(curve[shell]) for curve in curves.values())
        cells = ("" if math.isnan(value) else f"{value:.6f}" for value in values)
        writer.writerow([shell, f"{frequency:.8f}", resolution, *cells])
    return write_text(Path(path), text.getvalue())


def read_fsc_csv(path: PathLike) -> tuple[list[float], dict[str, list[float]]]:
    """Frequencies (1/Angstrom) and curves, as `write_fsc_csv` wrote them; NaN where empty.

    Raises
    ------
    InputError
        The file is absent, or is no such table.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}).\n"
            f"  Remedy: give the folder of a finished run."
        ) from error
    try:
        rows = list(csv.reader(content.decode("utf-8").splitlines()))
        if tuple(rows[0][:3]) != HEAD:
            raise ValueError(f"its first line is {','.join(rows[0])[:60]!r}")
        columns = list(zip(*rows[1:], strict=True))
        curves = {
            name: [float(cell) if cell else math.nan for cell in column]
            for name, column in zip(rows[0][3:], columns[3:], strict=True)
        }
        return [float(cell) for cell in columns[1]], curves
    except (ValueError, IndexError, csv.Error) as error:
        raise InputError(
            f"{path}: not a table of FSC curves ({error}), expected the columns "
            f"{', '.join(HEAD)} and one for each curve.\n"
            f"  Remedy: cryosplat fsc half1.mrc half2.mrc -o fsc.csv"
        ) from error


def write_fsc_xml(
    path: PathLike, frequencies: Sequence[float], curve: Sequence[float], title: str
) -> Path:
    """One FSC curve as the EMDB takes it at deposition; unknown values (NaN) are left out.

    An ``fsc`` element with the attributes title, xaxis and yaxis and one ``coordinate`` for each
    shell, of ``x`` (1/Angstrom) and ``y``. Raises `OutputError` where ``path`` cannot be written.
    """
    rows = "".join(
        f"  <coordinate>\n    <x>{x:.6f}</x>\n    <y>{y:.6f}</y>\n  </coordinate>\n"
        for x, y in zip(frequencies, curve, strict=True)
        if not math.isnan(y)
    )
    axes = 'xaxis="Resolution (A-1)" yaxis="Correlation Coefficient"'
    return write_text(Path(path), f"<fsc title={quoteattr(title)} {axes}>\n{rows}</fsc>\n")
