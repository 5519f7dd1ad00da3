"""A run as one self-contained page: no script, no network, prints well."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..run_folder import RunFolder, write_text

TEMPLATE = Path(__file__).with_name("page.html")
CURVES = {
    "half-maps, masked and corrected for the mask": ("half-maps, corrected", "voxels, corrected"),
    "half-maps, masked": ("half-maps, masked", "voxels, masked"),
    "half-maps, unmasked": ("half-maps, unmasked", "voxels, unmasked"),
}


def write_page(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Write ``report.html`` from the run's summary and the figures in its folder."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"angstrom": angstrom, "seconds": seconds, "thousands": thousands}
    figures = {
        name: _embedded(path)
        for name, path in (
            ("fsc", folder.fsc_figure),
            ("slices", folder.slices_figure),
            ("convergence", folder.convergence_figure),
        )
        if path.exists()
    }
    target = folder.target or folder.path
    text = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        run=summary, name=target.name, figures=figures, resolutions=_resolutions(summary)
    )
    write_text(folder.report, text)


def _resolutions(summary: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows of title and Gaussians 0.143 and 0.5, voxels 0.143 and 0.5."""
    found = summary["resolutions"]
    return [
        (title, [angstrom(found[name][t]) for name in names for t in ("0.143", "0.5")])
        for title, names in CURVES.items()
    ]


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def angstrom(value: float | None) -> str:
    """Two decimals; a dash where an FSC never rose above its threshold."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def seconds(value: float) -> str:
    """Tenths of a second, or minutes."""
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def thousands(value: float) -> str:
    """Whole numbers with separators."""
    return f"{value:,.0f}"
