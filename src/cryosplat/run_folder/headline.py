"""The one resolution of a run, in the words that page, terminal and ``run.json`` share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..validation.comparison import HALF_MAPS, SOURCES
from .parts import Part

if TYPE_CHECKING:
    from .schema import RunSummary

SAME = 0.005  # Angstrom: two numbers that read alike
METHODS = {"half-maps": "FSC 0.143 CUT-OFF", "found-poses": "FSC 0.143 CUT-OFF"}
"""What the EMDB calls the way a resolution was determined; anything else is OTHER."""


class Headline(Part):
    """The resolution to report, where it comes from, and what to enter at the EMDB."""

    number: str
    """As shown, in Angstrom without unit; "none" where nothing is resolved."""
    at_nyquist: bool = False
    advice: str
    """One sentence: what to report."""
    source: str = ""
    reason: str = ""
    """Why this number."""
    method: str = ""
    """How the resolution was determined, as the EMDB's form calls it."""
    fsc_xml: str = ""
    """Why ``fsc.xml`` shows another number; empty where it shows the same."""

    @property
    def angstrom(self) -> str:
        """The number with its unit."""
        return self.number if self.number == "none" else f"{self.number} Å"


def headline_of(summary: RunSummary, half_maps: float | None = None) -> Headline:
    """The headline of a run; alarms change its advice.

    ``half_maps`` (Angstrom): where the FSC in ``fsc.xml`` falls below 0.143, if it is not the run's.
    """
    value, source = summary.resolution, summary.resolution_from or ""
    words, reason = SOURCES.get(source, ""), summary.resolution_reason or ""
    alarms = any(note.severity == "alarm" for note in summary.notes or [])
    if value is None or not math.isfinite(value):
        nothing = reason or "The FSC is below its threshold from the first shell on."
        return Headline(number="none", advice="Report no resolution.", source=words, reason=nothing)
    number, at_nyquist = f"{value:.2f}", bool(summary.resolution_at_nyquist)
    if alarms:
        advice = "Resolve the alarms before you report a resolution."
    elif at_nyquist:
        advice = f"Report {number} Å; the pixel size limits it, not the data."
    else:
        advice = f"Report {number} Å."
    half_maps = half_maps or (summary.resolutions or {}).get(HALF_MAPS, {}).get("0.143")
    return Headline(
        number=number,
        at_nyquist=at_nyquist,
        advice=advice,
        source=words,
        reason=reason,
        method=METHODS.get(source) or (f"OTHER ({words})" if words else "OTHER"),
        fsc_xml=_about_xml(value, half_maps, source),
    )


def _about_xml(value: float, half_maps: float | None, source: str) -> str:
    if half_maps is None or abs(half_maps - value) < SAME:
        return ""
    if half_maps > value:
        return (
            f"fsc.xml falls below 0.143 at {half_maps:.2f} Å, under a mask that is not the run's."
        )
    why = {
        "cross": "Both half-maps share the Gaussian model, and independent voxel data confirm only",
        "views": "Particles do not show all directions; over all of them the data confirm only",
    }.get(source, "Corrected for what the model makes of noise, it gives")
    return (
        f"fsc.xml holds the half-map FSC, which falls below 0.143 at {half_maps:.2f} Å. {why} "
        f"{value:.2f} Å: enter {value:.2f} Å."
    )
