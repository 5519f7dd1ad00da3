"""From a finished reconstruction to a complete run folder: tables, pictures, scripts, the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.mrc import read_map
from ..progress import Progress
from ..provenance import provenance
from ..reconstruction import Reconstruction
from ..run_folder import RunFolder
from ..settings import ReconstructionSettings
from .figures import convergence_figure, fsc_figure, slices_figure
from .page import write_page

ENCLOSED = 0.5
"""Share of the map's positive mass that the suggested contour encloses."""
DEPOSITED = "half-maps, corrected"
"""The FSC curve for the EMDB."""
SHOWN = {
    "half-maps, corrected": "Gaussians:\nhalf-maps, masked",
    "voxels, corrected": "voxel baseline:\nhalf-maps, masked",
    "cross, masked": "Gaussians against\nother half's voxels",
    "map with truth, from half-maps": "map with truth,\npredicted",
    "map with truth, measured": "map with truth,\nmeasured",
}
"""Curves of the figure, where the run has them, and their labels there."""
ONLY_WITH_TRUTH = "map with truth, from half-maps", "map with truth, measured"


def finish_run(
    folder: RunFolder,
    result: Reconstruction,
    settings: ReconstructionSettings,
    source: Path,
    progress: Progress,
    warnings: list[str],
) -> None:
    """Write all that `reconstruct` left to be told: run.json, FSC files, figures, page, script."""
    with progress.stage("writing the report", None, "files"):
        folder.write_json(
            {
                "program": "cryosplat",
                "particles": str(source.absolute()),
                **result.summary,
                "warnings": warnings,
                "settings": settings.to_dict(),
                "provenance": provenance(),
            }
        )
        folder.write_fsc_csv(result.frequencies, result.fsc)
        folder.write_fsc_xml(result.frequencies, result.fsc[DEPOSITED], f"FSC {DEPOSITED}")
        write_report(folder)


def write_report(folder: RunFolder) -> None:
    """Figures, page and ChimeraX script of a run, from the files in its folder alone."""
    summary = folder.read_json()
    box, pixel = summary["box_size"], summary["pixel_size"]
    _, curves = folder.read_fsc_csv()
    has_truth = ONLY_WITH_TRUTH[1] in curves
    shown = {
        label: curves[name]
        for name, label in SHOWN.items()
        if name in curves and (has_truth or name not in ONLY_WITH_TRUTH)
    }
    fsc_figure(folder.fsc_figure, shown, box, pixel, title="Fourier shell correlation")
    volume = read_map(folder.map).data
    maps = {"Map, as Gaussians": volume, "Voxel baseline": read_map(folder.voxel_map).data}
    if folder.truth.exists():
        maps["Truth"] = read_map(folder.truth).data
    slices_figure(folder.slices_figure, maps, pixel)
    _convergence(folder, summary)
    folder.write_chimerax(contour_level(volume))
    write_page(folder, summary)


def _convergence(folder: RunFolder, summary: dict[str, Any]) -> None:
    """Likelihood against steps of the trial that chose the steps of the map, where there is one."""
    if not summary.get("trials"):
        return
    rows = np.array([[np.nan if v is None else v for v in row] for row in summary["trials"][0]])
    steps, fitted, held_out = rows.astype(float).T
    if np.isfinite(held_out).any():
        curves = {"fitted particles": fitted, "held-out particles": held_out}
        chosen = int(steps[np.nanargmax(held_out)])
        convergence_figure(folder.convergence_figure, steps, curves, chosen=chosen)


def contour_level(volume: NDArray[np.float32]) -> float:
    """The level of the isosurface that encloses half of the map's positive mass."""
    positive = np.sort(volume[volume > 0].astype(np.float64))[::-1]
    if not len(positive):
        return 0.0
    enclosed = np.cumsum(positive)
    return float(positive[np.searchsorted(enclosed, ENCLOSED * enclosed[-1])])
