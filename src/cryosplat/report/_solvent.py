"""The panel about the water around the molecule."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..appearance import BLUE, SKY
from ._drawing import legend, panel
from .evidence import Evidence, Panel


def solvent_panel(run: Evidence) -> Panel | None:
    """H against frequency, and what each half-set found; None in vacuum."""
    found = run.section("solvent")
    if not found.get("contrast"):
        return None
    path = run.figure("solvent")
    s = np.linspace(0.0, 0.5 / run.pixel_size, 200)
    with panel(path, rows=2) as (drawing, axes):
        axes.set_xlim(0.0, float(s[-1]))
        axes.set_xlabel("spatial frequency (1/Å)")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        for number, (k, b) in enumerate(found.get("half_sets", [])):
            axes.plot(s, _h(s, k, b), color=SKY, lw=1.0, label=None if number else "each half-set")
        axes.plot(s, _h(s, found["contrast"], found["b_factor"]), color=BLUE, lw=2.0, label="H(s)")
        axes.set_ylim(0.0, 1.05)
        axes.set_ylabel("H")
        legend(drawing, axes)
    k, b = found["contrast"], found["b_factor"]
    errors = run.number("solvent", "contrast_error"), run.number("solvent", "b_factor_error")
    return Panel(
        path, "Water around the molecule",
        f"The images show the molecule times H(s) = 1 - k exp(-B s²/4), with k {k:.2f} ± "
        f"{errors[0]:.2f}, B {b:,.0f} ± {errors[1]:,.0f} Å². map.mrc includes the water, as maps of "
        f"other programs do; gaussians.ply does not.",
    )  # fmt: skip


def _h(s: NDArray[np.float64], k: float, b: float) -> NDArray[np.float64]:
    return 1.0 - k * np.exp(-0.25 * b * s**2)
