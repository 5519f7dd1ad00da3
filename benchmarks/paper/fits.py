"""One fit of a study: from a random start, judged against the truth after every epoch."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from cryosplat.errors import NotFiniteError
from cryosplat.fitting import ImageData, ImageFit, fit_images, paper_start
from cryosplat.fitting._start import WIDTH
from cryosplat.fitting.images._rendering import Render
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.poses import Poses
from cryosplat.settings import ImageSchedule
from cryosplat.splatting import project, voxelize
from cryosplat.splatting._operator import splat_op
from cryosplat.splatting._project import view

from ..scoring import shell_correlation
from .problem import Problem

OFFSET = 0.5  # pixels between the grid of 3DGS and that of the FFT


class Clock:
    """Wall time and time of all cores since some moment; the latter depends less on other work."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def seconds(self, before: dict[str, float] | None = None) -> dict[str, float]:
        """``seconds`` and ``cpu_s`` until now, on top of those ``before``."""
        found = {
            "seconds": time.perf_counter() - self.wall, "cpu_s": time.process_time() - self.cpu,
        }  # fmt: skip
        return {k: round(v + (before or {}).get(k, 0.0), 2) for k, v in found.items()}

    def forget(self, seconds: dict[str, float]) -> None:
        """Go on as if it were still ``seconds``."""
        self.wall = time.perf_counter() - seconds["seconds"]
        self.cpu = time.process_time() - seconds["cpu_s"]


def half_pixel_off(mixture: GaussianMixture, poses: Poses, grid: Grid) -> Tensor:
    """`project` onto the grid of 3DGS, whose centre lies between pixels."""
    centres, precisions, weights = view(mixture, poses, grid)
    return splat_op(centres + OFFSET, precisions, weights, grid.box_size)


def unnormalised(mixture: GaussianMixture, poses: Poses, grid: Grid) -> Tensor:
    """`project` without the factor ``1 / (2 pi sqrt|Sigma2|)``, as in 3DGS.

    A factor that depends neither on the view nor on the Gaussian takes its place, that of the
    first Gaussians, so that the fit begins with the same images.
    """
    centres, precisions, weights = view(mixture, poses, grid)
    first = WIDTH * grid.box_size
    heights = (mixture.amplitudes / (2.0 * math.pi * first**2)).expand_as(weights)
    return splat_op(centres, precisions, heights.contiguous(), grid.box_size)


def mean_view(mixture: GaussianMixture, grid: Grid) -> Tensor:
    """The map of a mixture fitted by `unnormalised`, each Gaussian with the mass it has in images.

    Its mass in an image is its amplitude times ``sqrt|Sigma2|`` over the first one's; the mean over
    views is taken to be that of a sphere of the same volume.
    """
    width = WIDTH * grid.side
    grown = (mixture.scales / width).prod(1).pow(2.0 / 3.0)
    return voxelize(replace(mixture, amplitudes=mixture.amplitudes * grown), grid)


def fitted(
    problem: Problem,
    gaussians: int,
    schedule: ImageSchedule,
    render: Render = project,
    start: GaussianMixture | None = None,
) -> dict[str, Any]:
    """Fit all particles from a random start (or ``start``): FSC with truth and time, by epoch.

    Besides what is written down, the row holds the ``mixture``.
    """
    data, epochs = problem.data, []
    mixture = first = start or paper_start(data, gaussians, torch.Generator().manual_seed(3))
    clock = Clock()

    def judge(now: ImageFit) -> None:
        nonlocal mixture
        seconds, last, mixture = clock.seconds(), now.epochs[-1], now.mixtures[0]
        epochs.append({
            "epoch": last.number,
            **seconds,
            "misfit": last.misfit[0],
            "gaussians": last.gaussians,
            "fsc": curve(voxelize(mixture, data.grid), problem),
        })  # fmt: skip
        clock.forget(seconds)

    try:
        fit_images(data, [first], schedule, render=render, on_epoch=judge)
    except NotFiniteError:  # a method that breaks down is a result
        nothing = [0.0] * (problem.truth.shape[0] // 2 + 1)
        epochs.append({
            "epoch": len(epochs) + 1, **clock.seconds(), "misfit": math.nan,
            "gaussians": len(mixture), "fsc": nothing,
        })  # fmt: skip
    return {
        "gaussians": len(first),
        "schedule": asdict(schedule.resolved(len(data.used()), data.grid.box_size)),
        "epochs": epochs,
        "fsc": epochs[-1]["fsc"],
        "seconds": epochs[-1]["seconds"],
        "cpu_s": epochs[-1]["cpu_s"],
        "shapes": shapes(mixture, data),
        "mixture": mixture,
    }


def curve(volume: Tensor, problem: Problem) -> list[float]:
    """FSC with the truth at every shell."""
    return [round(float(v), 4) for v in shell_correlation(volume.numpy(), problem.truth)]


def shapes(mixture: GaussianMixture, data: ImageData) -> dict[str, float]:
    """Median width of the Gaussians in pixels, and of their longest over their shortest axis."""
    widths = mixture.scales.sort(1).values
    return {
        "median_scale_px": round(float(widths.median()) / data.grid.pixel_size, 3),
        "median_elongation": round(float((widths[:, 2] / widths[:, 0]).median()), 3),
    }
