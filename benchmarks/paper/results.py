"""What figures and pages read from the results: rows by study, shells, means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]
PAPER = "images, preset paper"
COUNTS = 0.2  # a shell counts in a comparison where either FSC exceeds this


def load(folder: Path, study: str) -> Row | None:
    """The results of a study, None where it has not been run."""
    path = folder / f"{study}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def shells(row: Row) -> list[int]:
    """The shells of the tables: an eighth, a quarter, three eighths, 7/16 of the box, the last."""
    box = 2 * (len(row["fsc"]) - 1)
    return [box // 8, box // 4, 3 * box // 8, 7 * box // 16, box // 2 - 1]


def mean_fsc(fsc: list[float]) -> float:
    """Mean of a curve over the shells from 1 to the last below Nyquist."""
    return sum(fsc[1:-1]) / len(fsc[1:-1])


def crossing(fsc: list[float], threshold: float) -> float:
    """Frequency in shells where a curve first falls below, on a straight line; Nyquist if never."""
    for i in range(1, len(fsc)):
        if fsc[i] < threshold:
            above, below = (fsc[i - 1] if i > 1 else 1.0), fsc[i]
            return i - 1 + (above - threshold) / max(above - below, 1e-9)
    return float(len(fsc) - 1)


def resolution(fsc: list[float], side: float, threshold: float) -> float:
    """The crossing in Angstrom; ``side`` of the box in Angstrom."""
    return side / max(crossing(fsc, threshold), 1e-3)


def of_set(study: Row, name: str) -> list[Row]:
    """The rows of one set of particles."""
    return [row for row in study["rows"] if row.get("set") == name]


def named(rows: list[Row], name: str) -> Row:
    """The row of this name."""
    return next(row for row in rows if row["name"] == name)


def overtaking(rows: list[Row]) -> Row | None:
    """The shortest fit to statistics at least as good as preset paper at every shell that counts."""
    paper = named(rows, PAPER)["fsc"]
    for row in rows:
        pairs = list(zip(row.get("fsc", []), paper, strict=False))[1:-1]
        if "steps" in row and all(a >= b for a, b in pairs if max(a, b) > COUNTS):
            return row
    return None
