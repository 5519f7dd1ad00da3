"""FSC, B-factor and sharpened map against RELION's postprocessing and an independent tool."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map, write_map
from cryosplat.io.star import read_star
from cryosplat.maps.fsc import (
    MaskedFsc,
    correct_for_mask,
    fourier_shell_correlation,
    masked_fsc,
    resolution,
)
from cryosplat.maps.mask import soft_mask, spherical_mask
from cryosplat.maps.sharpening import guinier_plot, sharpen
from cryosplat.mixture import GaussianMixture
from cryosplat.report.deposition import RELION_HALVES
from cryosplat.splatting import voxelize

PIXEL_SIZE = 2.0
B_FACTOR = 100.0  # of the simulated molecule
COLUMNS = {
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "rlnFourierShellCorrelationCorrected",
}


@dataclass(frozen=True)
class Halves:
    """Two half-maps of one molecule, with their mask."""

    grid: Grid
    first: Tensor
    second: Tensor
    mask: Tensor

    @property
    def mean(self) -> Tensor:
        return 0.5 * (self.first + self.second)


@dataclass(frozen=True)
class Peer:
    """What `relion_postprocess` found: curves by our names, its B-factor and its map."""

    curves: dict[str, Tensor]
    randomised_from: int
    b_factor: float
    map: Tensor


def _molecule(grid: Grid, generator: torch.Generator) -> Tensor:
    """Some hundred atoms within a third of the box, blurred by ``B_FACTOR``."""
    k = 300
    means = grid.side / 9 * torch.randn(k, 3, generator=generator).clamp(-2, 2)
    scale = (B_FACTOR / (8 * np.pi**2)) ** 0.5
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(k, 4)
    mixture = GaussianMixture(means, torch.full((k, 3), scale), turns, torch.ones(k))
    return voxelize(mixture, grid).double()


@pytest.fixture(scope="module", params=[48, 49], ids=["even", "odd"])
def halves(request: pytest.FixtureRequest) -> Halves:
    """A molecule with noise as strong as itself at shell 16 (6 Angstrom), and its auto mask."""
    grid = Grid(request.param, PIXEL_SIZE)
    generator = torch.Generator().manual_seed(request.param)
    truth = _molecule(grid, generator)
    signal = torch.fft.rfftn(truth).abs()[fourier.shells(tuple(truth.shape)) == 16]
    deviation = float(signal.square().mean().sqrt()) / truth.numel() ** 0.5
    noise = [torch.randn(truth.shape, generator=generator).double() for _ in range(2)]
    first, second = ((truth + deviation * n).float() for n in noise)
    return Halves(grid, first, second, soft_mask(first + second, grid))


@pytest.fixture(params=[40, 41], ids=["even", "odd"])
def random_maps(request: pytest.FixtureRequest) -> Halves:
    """White noise, a third of whose power two maps share, under a soft sphere."""
    grid = Grid(request.param, PIXEL_SIZE)
    generator = torch.Generator().manual_seed(request.param)
    shared, first, second = torch.randn(3, *(request.param,) * 3, generator=generator)
    sphere = spherical_mask(grid, 0.3 * grid.side, 6 * PIXEL_SIZE)
    return Halves(grid, shared + 1.4 * first, shared + 1.4 * second, sphere)


@pytest.fixture
def postprocess(tmp_path: Path) -> Callable[[Halves, float], Peer]:
    """Runs RELION on half-maps with a fit of the B-factor up to ``high`` Angstrom."""
    program = shutil.which("relion_postprocess")
    if program is None:
        pytest.skip("relion_postprocess is not installed")

    def run(halves: Halves, high: float) -> Peer:
        pixel = halves.grid.pixel_size
        for name, volume in zip(RELION_HALVES, (halves.first, halves.second), strict=True):
            write_map(tmp_path / name, volume.numpy(), pixel)
        write_map(tmp_path / "mask.mrc", halves.mask.numpy(), pixel)
        command = [program, "--i", RELION_HALVES[0], "--mask", "mask.mrc", "--angpix", str(pixel),
                   "--auto_bfac", "--autob_highres", str(high), "--low_pass", str(high),
                   "--random_seed", "7", "--o", "out/post", "--force_mask"]  # fmt: skip
        (tmp_path / "out").mkdir()
        # its status is that of the PDF it makes last, which needs ghostscript
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        tables = read_star(tmp_path / "out" / "post.star")
        general = tables["general"].iloc[0]
        curves = {
            ours: torch.tensor(tables["fsc"][theirs].astype(float).tolist()).double()
            for ours, theirs in COLUMNS.items()
        }
        return Peer(
            curves,
            round(halves.grid.side / float(general["rlnRandomiseFrom"])),
            float(general["rlnBfactorUsedForSharpening"]),
            torch.from_numpy(read_map(tmp_path / "out" / "post.mrc").data),
        )

    return run


@pytest.fixture
def tool(shared: Path) -> ModuleType:
    """The independent program's functions."""
    path = shared / "tools" / "fsc.py"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    spec = importlib.util.spec_from_file_location("independent_fsc", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _found(halves: Halves, seed: int = 0) -> MaskedFsc:
    generator = torch.Generator().manual_seed(1000 + seed)
    return masked_fsc(halves.first, halves.second, halves.mask, generator)


def test_fsc_is_that_of_the_independent_tool(halves: Halves, tool: ModuleType) -> None:
    for mask in (torch.ones_like(halves.mask), halves.mask):
        a, b = halves.first * mask, halves.second * mask
        expected = torch.from_numpy(tool.fsc(a.numpy(), b.numpy()))
        difference = (fourier_shell_correlation(a, b) - expected).abs().max()
        assert float(difference) < tolerances.FSC_PEER


def test_resolutions_are_those_of_the_independent_tool(halves: Halves, tool: ModuleType) -> None:
    curve = _found(halves).masked
    for threshold in (0.5, 0.143):
        assert resolution(curve, halves.grid, threshold).shell == tool.first_below(
            curve.numpy(), threshold
        )


def test_curves_are_those_of_relion(
    halves: Halves, postprocess: Callable[[Halves, float], Peer]
) -> None:
    ours, theirs = _found(halves), postprocess(halves, 6.0)
    for name in ("unmasked", "masked"):
        difference = (getattr(ours, name) - theirs.curves[name]).abs().max()
        assert float(difference) < tolerances.FSC_PEER, name
    assert ours.randomised_from == theirs.randomised_from


def test_curves_of_random_maps_are_those_of_both(
    random_maps: Halves, tool: ModuleType, postprocess: Callable[[Halves, float], Peer]
) -> None:
    ours, theirs = _found(random_maps), postprocess(random_maps, 5.0)
    a, b, mask = random_maps.first, random_maps.second, random_maps.mask
    for name, weights in (("unmasked", torch.ones_like(mask)), ("masked", mask)):
        expected = torch.from_numpy(tool.fsc((a * weights).numpy(), (b * weights).numpy()))
        for peer in (expected, theirs.curves[name]):
            difference = (getattr(ours, name) - peer)[1:]  # of shell 0 RELION always says 1
            assert float(difference.abs().max()) < tolerances.FSC_PEER, name


def test_the_correction_is_that_of_relion(
    halves: Halves, postprocess: Callable[[Halves, float], Peer]
) -> None:
    """Its own random phases through our formula give its own corrected curve."""
    theirs = postprocess(halves, 6.0)
    curves = theirs.curves
    given = correct_for_mask(curves["masked"], curves["randomised"], theirs.randomised_from)
    assert float((given - curves["corrected"]).abs().max()) < tolerances.FSC_PEER


def test_random_phases_correlate_as_those_of_relion(
    halves: Halves, postprocess: Callable[[Halves, float], Peer]
) -> None:
    """Phases are random in both programs: single shells scatter, their means agree."""
    theirs = postprocess(halves, 6.0)
    ours = [_found(halves, seed) for seed in range(4)]
    first = theirs.randomised_from
    for name in ("randomised", "corrected"):
        mean = torch.stack([getattr(one, name) for one in ours]).mean(0)
        difference = (mean - theirs.curves[name])[first : first + 10]
        assert abs(float(difference.mean())) < tolerances.FSC_RANDOM_PHASES, name
    kept = slice(1, first - 1)
    torch.testing.assert_close(
        ours[0].randomised[kept], theirs.curves["randomised"][kept],
        rtol=0.0, atol=tolerances.FSC_RANDOM_PHASES,
    )  # fmt: skip


def test_b_factor_and_map_are_those_of_relion_for_its_fsc(
    halves: Halves, postprocess: Callable[[Halves, float], Peer]
) -> None:
    high = 6.0 * halves.grid.box_size / 48  # shell 16
    theirs = postprocess(halves, high)
    fsc = theirs.curves["corrected"]
    ours = sharpen(halves.mean, fsc, halves.grid, low_pass=high)
    expected = pytest.approx(theirs.b_factor, rel=tolerances.B_FACTOR_PEER)
    assert ours.guinier.b_factor == expected
    error = (ours.map - theirs.map).abs().max() / theirs.map.std()
    assert float(error) < tolerances.SHARPENED_PEER


def test_b_factor_is_near_relions_with_our_own_random_phases(
    halves: Halves, postprocess: Callable[[Halves, float], Peer]
) -> None:
    high = 6.0 * halves.grid.box_size / 48
    theirs = postprocess(halves, high)
    ours = guinier_plot(halves.mean, _found(halves).corrected, halves.grid, high=high)
    assert ours.b_factor == pytest.approx(theirs.b_factor, rel=tolerances.B_FACTOR_RANDOM_PHASES)
