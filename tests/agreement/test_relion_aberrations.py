"""Signs, units and order of aberrations, magnification and processing are RELION's.

`relion_project` makes images with RELION's own CTF, even aberrations and stretched frequencies
included; `relion_reconstruct` takes back what the optics table says, odd aberrations and stretched
slices included. Neither knows our formulas.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.formation import VolumeProjector
from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, read_map
from cryosplat.io.star import read_star, write_star
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import OpticsGroup, beam_tilt, response
from cryosplat.particles import read_particles
from cryosplat.simulation import SimulationSettings, band_limited_map, phantom, simulate_particles

GRID = Grid(48, 1.6)
TILT = (4e-3, -2e-3)


def _coefficients(phases: tuple[float, ...], orders: tuple[int, ...]) -> tuple[float, ...]:
    """Coefficients whose polynomials of ``orders`` have highest terms of these phases at Nyquist."""
    return tuple(p * (2 * GRID.pixel_size) ** n for p, n in zip(phases, orders, strict=True))


# every coefficient another number: an exchange of any two is seen
ODD = _coefficients((0.3, -0.4, 1.2, 0.3, -0.4, 1.0), (1, 1, 3, 3, 3, 3))
EVEN = _coefficients(
    (0.2, 0.5, -0.6, 0.4, 1.0, -0.5, 0.3, 0.3, -0.9), (0, 2, 2, 2, 4, 4, 4, 4, 4)
)  # fmt: skip
MAGNIFICATION = (1.05, 0.06, -0.03, 0.96)  # not symmetric: its transpose is seen
Change = Callable[[pd.DataFrame], pd.DataFrame]
N = 300


@pytest.fixture
def relion(tmp_path: Path) -> Callable[..., None]:
    """``relion("project", folder, "--i", ...)`` runs one of its programs in a folder."""

    def run(name: str, folder: Path, *arguments: str) -> None:
        program = shutil.which(f"relion_{name}")
        if program is None:
            pytest.skip(f"relion_{name} is not installed")
        subprocess.run([program, *arguments], cwd=folder, capture_output=True, check=True)

    if shutil.which("relion_reconstruct") is None:
        pytest.skip("relion_reconstruct is not installed")
    return run


@cache
def _molecule() -> Tensor:
    protein = phantom("C1", b_factor=60.0)
    small = GaussianMixture(
        0.48 * protein.means, 0.64 * protein.scales, protein.quaternions, protein.amplitudes
    )
    return band_limited_map(small, GRID)


def _simulate(folder: Path, n: int, snr: float, **optics: object) -> Path:
    settings = SimulationSettings(n, snr, **optics)  # type: ignore[arg-type]
    return simulate_particles(
        _molecule(), GRID, settings, folder, torch.Generator().manual_seed(3)
    )  # fmt: skip


@pytest.mark.parametrize("magnification", [(1.0, 0.0, 0.0, 1.0), MAGNIFICATION])
def test_even_aberrations_and_stretched_ctf_are_relions(
    tmp_path: Path, relion: Callable, magnification: tuple[float, ...]
) -> None:
    """`relion_project` applies both in the CTF and projects without stretching."""
    star = _simulate(tmp_path / "set", 12, 1.0, even=EVEN, magnification=magnification)
    relion("project", star.parent, "--i", "truth.mrc", "--ang", star.name, "--ctf", "--o", "p")
    theirs = torch.from_numpy(StackFile(star.parent / "p.mrcs").read(np.arange(12)))
    particles = read_particles(star)
    truth = torch.from_numpy(read_map(star.parent / "truth.mrc").data.copy())
    seen = response(particles.poses.shifts, particles.optics, GRID.box_size)
    slices = VolumeProjector(truth, GRID).slices(particles.poses, GRID.pixel_size, GRID.box_size)
    inside = fourier.shells((GRID.box_size,) * 2) < 0.45 * GRID.box_size
    ours = torch.fft.irfft2(slices * seen.to(slices) * inside)
    centred = torch.fft.rfft2(torch.fft.ifftshift(theirs, (1, 2)))
    theirs = torch.fft.irfft2(centred * inside)
    overlap = (ours * theirs).sum((1, 2)) / (ours.norm(dim=(1, 2)) * theirs.norm(dim=(1, 2)))
    assert float(overlap.min()) > 1 - tolerances.IMAGES_OF_RELION
    assert float((ours * theirs).sum() / theirs.square().sum()) == pytest.approx(
        1.0, abs=tolerances.GREY_SCALE_OF_RELION
    )


def _fsc(
    star: Path, relion: Callable, change: Change = lambda optics: optics, *options: str
) -> Tensor:
    """FSC with the truth of what `relion_reconstruct` makes after ``change`` to the optics."""
    tables = read_star(star)
    tables["optics"] = change(tables["optics"])
    folder = star.parent
    write_star(folder / "changed.star", tables)
    relion("reconstruct", folder, "--i", "changed.star", "--ctf", "--o", "map.mrc", *options)
    maps = (torch.from_numpy(read_map(folder / n).data.copy()) for n in ("map.mrc", "truth.mrc"))
    return fourier_shell_correlation(*maps)


def _without(optics: pd.DataFrame) -> pd.DataFrame:
    beginnings = ("rlnBeamTilt", "rlnOddZernike", "rlnEvenZernike", "rlnMagMat", "rlnCtfDataAre")
    return optics.drop(columns=[c for c in optics if c.startswith(beginnings)])


def _opposite(optics: pd.DataFrame) -> pd.DataFrame:
    changed = optics.copy()
    for label in [c for c in optics if c.startswith("rlnBeamTilt")]:
        changed[label] = -optics[label]
    for label in [c for c in optics if c.endswith("Zernike")]:
        values = (float(v) for v in str(optics[label][0]).strip("[]").split(","))
        changed[label] = "[" + ",".join(f"{-v:.9g}" for v in values) + "]"
    return changed


def _transposed(optics: pd.DataFrame) -> pd.DataFrame:
    return optics.rename(columns={"rlnMagMat01": "rlnMagMat10", "rlnMagMat10": "rlnMagMat01"})


CASES: dict[str, tuple[dict[str, object], Change | None]] = {
    "beam tilt": ({"beam_tilt": TILT}, _opposite),
    "odd": ({"odd": ODD}, _opposite),
    "even": ({"even": EVEN}, _opposite),
    "magnification": ({"magnification": MAGNIFICATION}, _transposed),
    "phase-flipped": ({"processing": "phase-flipped"}, None),
    "premultiplied": ({"processing": "premultiplied"}, None),
    "all": (
        {"beam_tilt": TILT, "odd": ODD, "even": EVEN, "magnification": MAGNIFICATION,
         "processing": "premultiplied"},
        _transposed,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def clean_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Particles without imperfections: the same poses, defoci and noise as all others."""
    return _simulate(tmp_path_factory.mktemp("clean") / "set", N, 20.0)


def _deficit(clean: Tensor, found: Tensor) -> float:
    """The most by which an FSC lies below that of the clean set, up to 0.9 of Nyquist.

    A stretched image has no frequencies beyond that in all directions.
    """
    shells = slice(1, int(0.9 * GRID.n_shells))
    assert float(clean[shells].min()) > 0.9
    return float((clean - found)[shells].max())


@pytest.mark.parametrize("name", CASES)
def test_relion_takes_back_what_we_simulate(
    tmp_path: Path, clean_set: Path, relion: Callable, name: str
) -> None:
    """As good as without imperfections; worse with the columns removed or turned over."""
    clean = _fsc(clean_set, relion)
    changes, wrong = CASES[name]
    star = _simulate(tmp_path / "set", N, 20.0, **changes)
    options = ("--ctf_phase_flipped",) if name == "phase-flipped" else ()
    right = _fsc(star, relion, lambda optics: optics, *options)
    assert _deficit(clean, right) < tolerances.FSC_OF_RELION
    for change in filter(None, (_without, wrong)):
        assert _deficit(clean, _fsc(star, relion, change)) > 0.05


def test_a_beam_tilt_takes_the_place_of_coma_in_relion(
    tmp_path: Path, clean_set: Path, relion: Callable
) -> None:
    """With both columns RELION adds the tilt's first order and forgets the third-order coma."""
    tilt = beam_tilt(OpticsGroup("g", 1.6, 48, 300e3, 2.7e7, 0.1), *TILT)
    understood = (ODD[0] + tilt[0], ODD[1] + tilt[1], ODD[2], tilt[3], tilt[4], ODD[5])
    added = tuple(a + b for a, b in zip(ODD, tilt, strict=True))
    both = {
        "rlnBeamTiltX": 1e3 * TILT[0],
        "rlnBeamTiltY": 1e3 * TILT[1],
        "rlnOddZernike": "[" + ",".join(f"{v:.9g}" for v in ODD) + "]",
    }
    clean, found = _fsc(clean_set, relion), []
    for name, odd in (("understood", understood), ("added", added)):
        star = _simulate(tmp_path / name, N, 20.0, odd=odd)
        found.append(_deficit(clean, _fsc(star, relion, lambda optics: optics.assign(**both))))
    assert found[0] < tolerances.FSC_OF_RELION < 0.05 < found[1]
