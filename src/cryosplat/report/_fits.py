"""Panels about the fit: held-out likelihood, the Gaussians themselves, and their uncertainty."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from ..appearance import BLACK, BLUE, GREEN, VERMILION
from ._drawing import INK, legend, panel
from .evidence import Evidence, Panel

SETS = (("all particles", BLACK), ("half-set 1", BLUE), ("half-set 2", VERMILION))
SHOWN = 0.4
"""Share of the last steps whose likelihoods set the range of the picture."""


def held_out_panel(run: Evidence) -> Panel | None:
    """Likelihood of unseen particles against steps, and against the number of Gaussians."""
    trials = [_table(trial) for trial in run.summary.get("trials") or []]
    trials = [t[np.isfinite(t[:, 2])] for t in trials]
    sets = [_table(rows) for rows in run.summary.get("candidates") or []]
    if not any(len(t) for t in trials):
        return None
    both = any(len(rows) > 1 for rows in sets)
    path = run.figure("held_out")
    with panel(path, 3.25 if both else 2.0, rows=len(trials)) as (drawing, axes):
        if both:
            x, y, width, height = axes.get_position().bounds
            gap = 0.46 / drawing.get_figheight()
            part = (height - gap) / 2
            axes.set_position((x, y + part + gap, width, part))
            lower = drawing.add_axes((x, y, width, part))
            lower.spines[["top", "right"]].set_visible(False)
            _draw_numbers(lower, sets)
        _draw_steps(axes, trials)
        legend(drawing, axes)
    return Panel(
        path, "Control 3: held-out particles",
        "Likelihood of particles that the fit did not see, in percent from the best: it falls "
        "once the fit learns noise"
        + (", and stops rising once there are Gaussians enough. Dots: trials." if both else "."),
    )  # fmt: skip


def _draw_steps(axes: Axes, trials: list[NDArray[np.float64]]) -> None:
    lowest, last = -1.0, 1.0
    for (name, colour), trial in zip(SETS, trials, strict=False):
        if not len(trial):
            continue
        steps, held_out = trial[:, (0, 2)].T
        best, loss = _from_best(held_out)
        axes.plot(steps, loss, color=colour, lw=1.4, label=f"{name}, kept: step {steps[best]:.0f}")
        axes.plot(steps[best], 0.0, "o", ms=5, mfc="white", mec=colour, mew=1.3, clip_on=False)
        lowest = min(lowest, 1.3 * float(loss[int(SHOWN * len(loss)) :].min(initial=0.0)))
        last = max(last, float(steps[-1]))
    axes.set_ylim(lowest, -0.06 * lowest)
    axes.set_xlim(0.0, last)
    axes.set_xlabel("step")
    _label_held_out(axes)


def _draw_numbers(axes: Axes, sets: list[NDArray[np.float64]]) -> None:
    for (_, colour), rows in zip(SETS, sets, strict=False):
        if not len(rows):
            continue
        number, held_out = rows[np.argsort(rows[:, 0])][:, (0, 2)].T
        best, loss = _from_best(held_out)
        axes.plot(number, loss, "o", ms=3.5, mfc="none", mec=colour, mew=1.1)
        axes.plot(number[best], 0.0, "o", ms=5, color=colour, clip_on=False)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xticks(_round_numbers(low, high))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Gaussians")
    _label_held_out(axes)


def _label_held_out(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("held out (%)")


def _from_best(values: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """Index of the best value, and all in percent from it."""
    best = int(np.argmax(values))
    return best, 100.0 * (values - values[best]) / max(abs(values[best]), 1e-30)


def _round_numbers(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 1.7 else (1, 3)
    return [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]


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
        f" {100 * floor:.0f} % of the widths lie at the floor of "
        f"{run.number('smallest_scale_allowed'):.2f} Å, below which Gaussians would alias."
        if np.isfinite(floor)
        else ""
    )
    return Panel(
        path, "The Gaussians",
        f"{len(mass):,} of them, {np.median(width):.2f} Å wide in the median.{narrow}",
    )  # fmt: skip


def _floor(run: Evidence) -> dict[str, float]:
    floor = run.number("smallest_scale_allowed")
    return {"floor": floor} if np.isfinite(floor) else {}


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
    told = f", an amplitude to {100 * amplitude:.0f} %" if np.isfinite(amplitude) else ""
    matched = run.number("uncertainty", "matched")
    share = (
        f" {100 * matched:.0f} % of the Gaussians have a partner in the other half."
        if np.isfinite(matched)
        else ""
    )
    return Panel(
        path, "Uncertainty of the Gaussians",
        f"From the two halves: in the median a position is known to {np.median(sigma):.2f} Å"
        f"{told}.{share}",
    )  # fmt: skip


def _table(rows: object) -> NDArray[np.float64]:
    """Rows of three numbers, None as NaN."""
    values = [[np.nan if v is None else v for v in row] for row in rows or []]  # pyright: ignore
    return np.array(values, float).reshape(-1, 3)
