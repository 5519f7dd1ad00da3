"""The result of a check: items, each fine or with findings, in one report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..notes import SEVERITIES, Note, Severity

Status = Literal["ok", "note", "warning", "alarm"]
ORDER: tuple[Status, ...] = ("ok", *SEVERITIES)


@dataclass(frozen=True, slots=True)
class Item:
    """One aspect of the particles: its ``title``, its value as ``text``, and findings on it."""

    title: str
    text: str
    findings: tuple[Note, ...] = ()

    @property
    def status(self) -> Status:
        """The worst of its findings, "ok" where there are none."""
        return ORDER[max((ORDER.index(f.severity) for f in self.findings), default=0)]


@dataclass(frozen=True, slots=True)
class Report:
    """All items of a check of ``source``; ``trial``: the log-likelihood ratios of the trial."""

    source: str
    n_particles: int
    items: tuple[Item, ...]
    trial: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0

    def findings(self) -> Iterator[Note]:
        """All findings, in the order of the items."""
        for item in self.items:
            yield from item.findings

    def codes(self, severity: Severity | None = None) -> set[str]:
        """The codes of all findings, or of those of one severity."""
        return {f.code for f in self.findings() if severity in (None, f.severity)}

    @property
    def has_alarm(self) -> bool:
        """Whether anything makes a reconstruction unusable."""
        return any(finding.severity == "alarm" for finding in self.findings())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return {
            "source": self.source,
            "particles": self.n_particles,
            "alarm": self.has_alarm,
            "seconds": round(self.seconds, 2),
            "items": [
                {
                    "title": item.title, "status": item.status, "text": item.text,
                    "findings": [finding.to_dict() for finding in item.findings],
                }
                for item in self.items
            ],
            "trial": list(self.trial),
        }  # fmt: skip


def describe_rows(bad: NDArray[np.bool_], rows: NDArray[np.int64]) -> str:
    """Where in the table: "all 400 rows", "row 17", "row 17 and 12 more"."""
    at = np.flatnonzero(bad)
    if len(at) == len(rows):
        return f"all {len(rows):,} rows"
    first = f"row {rows[at[0]]:,}"
    return first if len(at) == 1 else f"{first} and {len(at) - 1:,} more"


def shortlist(names: list[str], most: int = 5) -> str:
    """The first few of ``names``, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
