"""The studies that are fits of one molecule under one change: what is changed, and to what.

The fits follow `ImageSchedule.paper` but for two things, which the study ``epochs`` holds against it:
the mini-batch is `BATCH` images, with the step size that `ImageSchedule.step_size` gives it; and,
an epoch being far smaller than the paper's, there are `EPOCHS`, between which the rate falls by
`GAMMA`. Every fit begins with the same random positions and meets the images in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from cryosplat.settings import ImageSchedule

from .fits import curve, fitted, half_pixel_off, mean_view, unnormalised
from .problem import CleanSet, Molecule, Problem, clean_set

BATCH, EPOCHS, GAMMA = 16, 6, 0.35
SNR = 0.1
DECIBELS = (None, 0, -5, -10, -15, -20, -25, -30)
GAUSSIANS = (2048, 4096, 8192, 16384, 30000)
RATES_OF_3DGS = (0.16, 5.0, 1.0, 50.0)
"""1.6e-4, 5e-3, 1e-3 and 5e-2 for means, scales, quaternions and opacities (Kerbl et al. 2023,
their published settings), over the paper's one rate of 1e-3."""
MODERATE_RATES = (1.0, 10.0, 10.0, 10.0)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """How large the studies are.

    ``box`` pixels of ``pixel_size`` Angstrom, ``n`` particles and ``gaussians`` for most; ``many``
    particles for the noise; ``fine_box``, ``fine_pixel_size``, ``fine_n`` for ``numbers`` of
    Gaussians; ``speed_boxes``, ``speed_n`` images and ``speed_numbers`` of Gaussians for speed.
    """

    box: int = 96
    pixel_size: float = 2.0
    n: int = 4000
    gaussians: int = 2000
    many: int = 6000
    fine_box: int = 128
    fine_pixel_size: float = 1.5
    fine_n: int = 2000
    numbers: tuple[int, ...] = GAUSSIANS
    speed_boxes: tuple[int, ...] = (192, 256)
    speed_n: int = 640
    speed_numbers: tuple[int, ...] = (2048, 8192, 30000)


QUICK = Size(32, 5.0, 200, 100, 300, 32, 5.0, 200, (64, 128), (32, 48), 64, (100, 200))


@dataclass(frozen=True, slots=True)
class Bench:
    """What every study is given: sizes, the molecule, where particles and shared data lie."""

    size: Size
    molecule: Molecule
    data: Path
    shared: Path

    def clean(self) -> CleanSet:
        """The images of most studies."""
        s = self.size
        return clean_set(self.molecule, s.box, s.pixel_size, s.n, self.data)

    def problem(self, snr: float | None = SNR) -> Problem:
        """The particles of most studies."""
        return self.clean().at(snr)


def schedule(**changes: Any) -> ImageSchedule:
    """The schedule of most studies, with what one changes."""
    usual = replace(ImageSchedule.paper(), batch_size=BATCH, epochs=EPOCHS, gamma=GAMMA)
    return replace(usual, **changes)


def numbers(bench: Bench) -> Iterator[Row]:
    """Number of Gaussians."""
    s = bench.size
    fine = clean_set(bench.molecule, s.fine_box, s.fine_pixel_size, s.fine_n, bench.data).at(SNR)
    yield {"problem": fine.settings}
    for k in s.numbers:
        yield {"name": f"{k:,}", **fitted(fine, k, schedule())}


def epochs(bench: Bench) -> Iterator[Row]:
    """The paper's five epochs for single images and mini-batches, and the schedule of the others."""
    problem, k = bench.problem(), bench.size.gaussians
    yield {"problem": problem.settings}
    for size in (1, 4, 16, 64):
        name = "1 image a step" if size == 1 else f"{size} images a step"
        yield {"name": name, **fitted(problem, k, replace(ImageSchedule.paper(), batch_size=size))}
    yield {"name": f"{BATCH} images, rate x{GAMMA:g} an epoch", **usual(bench)}


def shape(bench: Bench) -> Iterator[Row]:
    """Anisotropic Gaussians against spheres, with few and with more of them."""
    problem = bench.problem()
    yield {"problem": problem.settings}
    few, many = bench.size.gaussians // 4, bench.size.gaussians
    for kind in ("anisotropic", "isotropic"):
        yield {"name": f"{kind}, {few:,}", **fitted(problem, few, schedule(shape=kind))}
    yield {"name": f"anisotropic, {many:,}", **usual(bench)}
    yield {"name": f"isotropic, {many:,}", **fitted(problem, many, schedule(shape="isotropic"))}


def grid(bench: Bench) -> Iterator[Row]:
    """The FFT's grid against that of 3DGS, half a pixel off."""
    problem, k = bench.problem(), bench.size.gaussians
    yield {"problem": problem.settings}
    yield {"name": "on the FFT's grid", **usual(bench)}
    yield {"name": "half a pixel off", **fitted(problem, k, schedule(), half_pixel_off)}


def normalisation(bench: Bench) -> Iterator[Row]:
    """The factor of the view kept, and dropped as in 3DGS."""
    problem, k = bench.problem(), bench.size.gaussians
    yield {"problem": problem.settings}
    yield {"name": "kept", **usual(bench)}
    row = fitted(problem, k, schedule(), unnormalised)
    volume = mean_view(row["mixture"], problem.data.grid)
    yield {"name": "dropped, map of the amplitudes", **row}
    yield {"name": "dropped, map of the masses seen", **row, "fsc": curve(volume, problem)}


def rates(bench: Bench) -> Iterator[Row]:
    """One learning rate against several."""
    problem, k = bench.problem(), bench.size.gaussians
    yield {"problem": problem.settings}
    yield {"name": "one rate", **usual(bench)}
    for name, factors in (
        ("3DGS's rates", RATES_OF_3DGS),
        ("3DGS's, but one for amplitudes", (*RATES_OF_3DGS[:3], 1.0)),
        ("tenfold for all but means", MODERATE_RATES),
    ):
        yield {"name": name, **fitted(problem, k, schedule(factors=factors))}


def noise(bench: Bench) -> Iterator[Row]:
    """Signal-to-noise ratio."""
    s = bench.size
    clean = clean_set(bench.molecule, s.box, s.pixel_size, s.many, bench.data)
    yield {"problem": clean.settings}
    for decibel in DECIBELS:
        snr = None if decibel is None else 10.0 ** (decibel / 10.0)
        name = "no noise" if decibel is None else f"{decibel} dB"
        yield {"name": name, "decibel": decibel, **fitted(clean.at(snr), s.gaussians, schedule())}


@cache
def usual(bench: Bench) -> Row:
    """The fit that most studies change one thing of, made once."""
    return fitted(bench.problem(), bench.size.gaussians, schedule())


STUDIES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "numbers": numbers, "epochs": epochs, "shape": shape, "grid": grid,
    "normalisation": normalisation, "rates": rates, "noise": noise,
}  # fmt: skip
"""By name; each yields what the problem is, then a row for every fit."""
