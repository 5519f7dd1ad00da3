"""What is drawn from a finished run: figures, the page, a script for ChimeraX."""

from __future__ import annotations

import numpy as np

from ..errors import OutputError
from ..run_folder import RunFolder
from ._curves import CROSS, RESOLUTION, SUBSTITUTION, TRUTH, fsc_panel
from ._directions import directional_panel, views_panel
from ._fits import gaussians_panel, uncertainty_panel, unseen_panel
from ._growth import growth_panel
from ._poses import pose_panels
from ._quality import guinier_panel, local_panel, model_panel, residues_panel
from ._solvent import solvent_panel
from ._worth import examples_panel, weights_panel
from .chimerax import write_chimerax
from .evidence import Evidence, Panel
from .figures import fsc_figure, slices_figure
from .page import Chapter, write_page
from .states import write_states_page

SHOWN = {
    "half-maps, corrected": "Gaussians:\nhalf-maps, masked",
    "voxels, corrected": "voxel baseline:\nhalf-maps, masked",
    "cross, masked": "Gaussians against\nother half's voxels",
    "map with truth, from half-maps": "map with truth,\npredicted",
    "map with truth, measured": "map with truth,\nmeasured",
}
"""Curves of the figure, where the run has them, and their labels there."""
ONLY_WITH_TRUTH = "map with truth, from half-maps", "map with truth, measured"


def write_report(folder: RunFolder) -> None:
    """Figures, page and ChimeraX script of a run, from the files in its folder alone.

    Raises
    ------
    InputError
        There is no run in the folder, or one of its files cannot be read.
    OutputError
        A file cannot be written.
    """
    run = Evidence.read(folder)
    try:
        folder.figures.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder.figures}: cannot be made ({error.strerror}).") from error
    if run.summary.get("states"):
        write_states_page(run)
        return
    _large_figures(run)
    write_chimerax(run)
    write_page(run, _chapters(run))


def _chapters(run: Evidence) -> list[Chapter]:
    """What the run can show, in the order of the page."""
    half_maps = fsc_panel(
        run, "fsc", RESOLUTION, (), "Half-map FSC",
        "Two maps, fitted independently to the two half-sets. The vertical line is the headline; the "
        "right edge is Nyquist.",
    )  # fmt: skip
    cross = fsc_panel(
        run, "cross_fsc", CROSS, ("cross, masked",), "Cross-FSC",
        "Voxel maps are free of the Gaussian model. Gaussians of one half-set against voxels of the "
        "other, corrected for the noise of the voxels, predict the FSC with the truth.",
    )  # fmt: skip
    substitution = fsc_panel(
        run, "noise_substitution", SUBSTITUTION, ("noise substitution, half-maps",),
        "Noise substitution", _substituted(run),
    )  # fmt: skip
    truth = fsc_panel(
        run, "truth", TRUTH, ("map with truth, measured",), "Against the truth",
        "These particles are simulated: the FSC with the truth as the half-maps predict it, and as "
        "measured.",
    )  # fmt: skip
    return [
        Chapter("Ab initio poses", _present(growth_panel(run))),
        Chapter("Resolution", _present(half_maps, truth)),
        Chapter("Particles", _present(weights_panel(run), examples_panel(run))),
        Chapter("Poses", pose_panels(run)),
        Chapter("Controls", _present(cross, substitution, unseen_panel(run))),
        Chapter(
            "Local and directional resolution",
            _present(local_panel(run), views_panel(run), directional_panel(run)),
        ),
        Chapter(
            "The map and its Gaussians",
            _present(
                guinier_panel(run), solvent_panel(run), gaussians_panel(run),
                uncertainty_panel(run), model_panel(run), residues_panel(run),
            ),
        ),
    ]  # fmt: skip


def _present(*panels: Panel | None) -> list[Panel]:
    return [panel for panel in panels if panel is not None]


def _substituted(run: Evidence) -> str:
    begin = run.number("noise_substitution", "from_angstrom")
    told = f" finer than {begin:.1f} Å" if np.isfinite(begin) else ""
    return (
        f"The phases of the images{told} were replaced by noise and both half-sets fitted again. "
        "What still agrees comes from the model, not from the data."
    )


def _large_figures(run: Evidence) -> None:
    """fsc and slices at the top of the folder, each for itself."""
    folder, has_truth = run.folder, ONLY_WITH_TRUTH[1] in run.curves
    shown = {
        label: run.curves[name]
        for name, label in SHOWN.items()
        if name in run.curves and (has_truth or name not in ONLY_WITH_TRUTH)
    }
    if shown:
        for path in (folder.fsc_figure, folder.fsc_figure.with_suffix(".svg")):
            fsc_figure(path, shown, run.box_size, run.pixel_size, title="Fourier shell correlation")
    rows = {"Map, as Gaussians": folder.map, "Voxel baseline": folder.voxel_map}
    rows |= {"Truth": folder.truth}
    maps = {title: run.map(path) for title, path in rows.items()}
    found = {title: volume for title, volume in maps.items() if volume is not None}
    if found:
        slices_figure(folder.slices_figure, found, run.pixel_size)
