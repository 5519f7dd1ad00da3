"""Panels about the fit: likelihood of unseen particles, the Gaussians, and their uncertainty."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..appearance import BLACK, BLUE, GREEN, VERMILION
from ._drawing import INK, legend, panel
from .evidence import Evidence, Panel

SETS = (("all particles", BLACK), ("half-set 1", BLUE), ("half-set 2", VERMILION))
SHOWN = 0.4
"""Share of the last steps whose likelihoods set the range of the picture."""


def unseen_panel(run: Evidence) -> Panel | None:
    """Likelihood of the particles of the other half-set against steps."""
    trials = [np.array(t, float).reshape(-1, 3) for t in run.summary.get("trials") or []]
    trials = [t[np.isfinite(t[:, 2])] for t in trials]
    if not any(len(t) for t in trials):
        return None
    path = run.figure("unseen")
    with panel(path, 2.0, rows=len(trials)) as (drawing, axes):
        _draw_steps(axes, trials)
        legend(drawing, axes)
    return Panel(
        path, "Unseen particles",
        "Log-likelihood of the other half-set’s particles, which the fit does not use, relative to its "
        f"best value: if it falls, the fit learns noise. {_ending(run)}",
    )  # fmt: skip


def _ending(run: Evidence) -> str:
    """Whether the curves had ended, as the finding of the run says."""
    if any(note["code"] == "fit-stopped-early" for note in run.summary.get("notes") or []):
        return "It still rose at the last step: the fit was stopped before it converged."
    return "A slight rise up to the last step is usual."


def _draw_steps(axes: Axes, trials: list[NDArray[np.float64]]) -> None:
    lowest, last = -1.0, 1.0
    for (name, colour), trial in zip(SETS, trials, strict=False):
        if not len(trial):
            continue
        steps, unseen = trial[:, (0, 2)].T
        loss = 100.0 * (unseen - unseen.max()) / max(abs(unseen.max()), 1e-30)
        axes.plot(steps, loss, color=colour, lw=1.4, label=name)
        lowest = min(lowest, 1.3 * float(loss[int(SHOWN * len(loss)) :].min(initial=0.0)))
        last = max(last, float(steps[-1]))
    axes.set_ylim(lowest, -0.06 * lowest)
    axes.set_xlim(0.0, last)
    axes.set_xlabel("step")
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("likelihood (%)")


def gaussians_panel(run: Evidence) -> Panel | None:
    """Histograms of the Gaussians' widths, masses and shapes."""
    mixture = run.mixture()
    if mixture is None or not len(mixture.amplitudes):
        return None
    scales = np.sort(mixture.scales.astype(float), axis=1)
    width = np.exp(np.log(scales).mean(1))
    mass = mixture.amplitudes.astype(float)
    mass = mass / max(mass.mean(), 1e-30)
    stretch = scales[:, 2] / scales[:, 0]
    path = run.figure("gaussians")
    with panel(path, 3.1) as (drawing, axes):
        x, y, across, up = axes.get_position().bounds
        axes.remove()
        for i, (values, title, marks) in enumerate(
            (
                (width, "width (Å, geometric mean of three)", _floor(run)),
                (mass, "amplitude ÷ mean", {}),
                (stretch, "longest ÷ shortest axis", {}),
            )
        ):
            pitch = (up + 0.40 / drawing.get_figheight()) / 3
            part = drawing.add_axes((x, y + (2 - i) * pitch, across, 0.5 * pitch))
            _histogram(part, values, title, marks)
    floor = run.number("scale_at_floor")
    narrow = (
        f" {100 * floor:.0f} % of the widths are at the minimum of "
        f"{run.number('smallest_scale_allowed'):.2f} Å, below which Gaussians would alias."
        if np.isfinite(floor)
        else ""
    )
    return Panel(
        path, "The Gaussians",
        f"{len(mass):,} Gaussians, median width {np.median(width):.2f} Å.{narrow}",
    )  # fmt: skip


def _floor(run: Evidence) -> dict[str, float]:
    floor = run.number("smallest_scale_allowed")
    return {"minimum": floor} if np.isfinite(floor) else {}


def _histogram(
    axes: Axes, values: NDArray[np.float64], title: str, marks: dict[str, float]
) -> None:
    low, high = np.percentile(values, (0.2, 99.5))
    low = min([low, *marks.values()])
    bins = np.linspace(low, max(high, low * 1.01 + 1e-9), 45)
    axes.hist(np.clip(values, bins[0], bins[-1]), bins.tolist(), color="#7fb2d6", lw=0)
    axes.axvline(float(np.median(values)), color=INK, lw=0.9)
    for name, value in marks.items():
        axes.axvline(value, color=VERMILION, lw=0.9, ls=(0, (2, 1.5)))
        axes.annotate(
            name, (value, 1.0), xycoords=axes.get_xaxis_transform(), xytext=(2, -1), va="top",
            textcoords="offset points", fontsize=6.5, color=VERMILION,
        )  # fmt: skip
    axes.set_yticks([])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.set_xlim(bins[0], bins[-1])
    axes.set_xlabel(title, labelpad=1.0)


def uncertainty_panel(run: Evidence) -> Panel | None:
    """How far matched Gaussians of the two halves lie apart."""
    found = run.section("uncertainty")
    mixture = run.mixture()
    sigma = None if mixture is None else mixture.sigma_position
    if not found or sigma is None or not np.isfinite(sigma).any():
        return None
    sigma = np.asarray(sigma, float)
    sigma = sigma[np.isfinite(sigma)]
    path = run.figure("uncertainty")
    with panel(path) as (_, axes):
        bins = np.linspace(0.0, float(np.percentile(sigma, 99)) or 1.0, 40)
        each = np.full(len(sigma), 100.0 / len(sigma))
        axes.hist(sigma, bins.tolist(), weights=each, color="#8fc2ad", lw=0)
        axes.axvline(float(np.median(sigma)), color=GREEN, lw=1.2)
        axes.set_xlabel("standard error of a Gaussian’s position (Å)")
        axes.set_ylabel("% of the Gaussians")
        axes.set_xlim(bins[0], bins[-1])
    amplitude = run.number("uncertainty", "median_amplitude")
    told = f", amplitude error {100 * amplitude:.0f} %" if np.isfinite(amplitude) else ""
    matched = run.number("uncertainty", "matched")
    share = (
        f" {100 * matched:.0f} % of the Gaussians are matched in both half-maps."
        if np.isfinite(matched)
        else ""
    )
    return Panel(
        path, "Uncertainty of the Gaussians",
        f"Median positional error {np.median(sigma):.2f} Å{told}, from the half-maps.{share}",
    )  # fmt: skip
