"""Laws of the statistics: a commutative monoid that equals the sum of squared residuals."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from problems import (
    ABERRATIONS,
    Plane,
    assert_same_sums,
    blobs,
    direct_sums,
    noise_model,
    nufft_sums,
    random_batch,
    statistics_of,
)
from torch import Tensor

from cryosplat import fourier
from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.noise import NoiseModel
from cryosplat.optics import OpticsGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics, _convolution, accumulate

EVEN = OpticsGroup("even", 2.0, 24, 300e3, 2.7e7, 0.1)
ODD = OpticsGroup("odd", 2.0, 25, 200e3, 2.0e7, 0.07)
SMALLER = OpticsGroup("smaller pixels", 1.5, 30, 300e3, 0.01e7, 0.1)
LARGER = OpticsGroup("larger pixels", 2.7, 21, 300e3, 2.7e7, 0.15)
ABERRANT = OpticsGroup("aberrant", 2.0, 24, 300e3, 2.7e7, 0.1, **ABERRATIONS)
GRID = Grid(24, 2.0)


def _volume(grid: Grid, generator: torch.Generator) -> Tensor:
    """A molecule with parts of either sign, well inside the box."""
    mixture = blobs(12, 0.25 * grid.side, generator)
    return voxelize(mixture, grid) - voxelize(blobs(4, 0.2 * grid.side, generator), grid)


def _direct(
    batches: list[Batch], volume: Tensor, grid: Grid, noise: NoiseModel
) -> tuple[float, ...]:
    return tuple(
        map(sum, zip(*(direct_sums(b, volume, grid, noise) for b in batches), strict=True))
    )


def _energy(statistics: Statistics, volume: Tensor) -> float:
    """The negative log-likelihood of the images, given a map."""
    form = QuadraticForm(statistics, statistics.grid.box_size)
    return statistics.energy + float(form(volume.float()))


def _close(a: Statistics, b: Statistics) -> None:
    assert_same_sums(a, b)
    assert a.n_images == b.n_images


def _scaled(expected: Tensor) -> dict[str, float]:
    return {"rtol": 0.0, "atol": tolerances.SUM_FLOAT32 * float(expected.abs().max())}


@pytest.mark.parametrize(
    ("groups", "grid"),
    [
        pytest.param((EVEN,), GRID, id="even"),
        pytest.param((ODD,), Grid(25, 2.0), id="odd"),
        pytest.param((ODD,), GRID, id="odd images, even map"),
        pytest.param((EVEN, SMALLER), GRID, id="a group of smaller pixels"),
        pytest.param((EVEN, ABERRANT), GRID, id="aberrations, dose, anisotropic magnification"),
        pytest.param((SMALLER, LARGER), Grid(27, 1.9), id="no group has the map's pixels"),
    ],
)
def test_the_quadratic_form_is_the_sum_of_squared_residuals(
    groups: tuple[OpticsGroup, ...], grid: Grid, generator: torch.Generator
) -> None:
    batches = [random_batch(6, groups, generator, group) for group in range(len(groups))]
    noise = noise_model(groups)
    volume = _volume(grid, generator)
    statistics = statistics_of(batches, grid, noise)
    form = QuadraticForm(statistics, grid.box_size)
    likelihood, quadratic, linear = _direct(batches, volume, grid, noise)
    v = volume.float()
    relative = tolerances.QUADRATIC_TERM
    assert statistics.energy + float(form(v)) == pytest.approx(
        likelihood, rel=tolerances.QUADRATIC_FORM
    )
    assert float((v.double() * form.convolve(v)).sum()) == pytest.approx(quadratic, rel=relative)
    # images of pure noise: <b, V> is a small difference of large terms, so its scale is the norm
    norm = (quadratic * 2.0 * statistics.energy) ** 0.5
    assert float((v * form.linear).sum()) == pytest.approx(linear, abs=relative * norm)


def test_the_gradient_of_the_form_is_that_of_the_residuals(generator: torch.Generator) -> None:
    batch, noise = random_batch(4, (EVEN,), generator), noise_model((EVEN,))
    form = QuadraticForm(statistics_of([batch], GRID, noise), GRID.box_size)
    volume, direction = _volume(GRID, generator), _volume(GRID, generator)
    at = volume.float().requires_grad_()
    form(at).backward()
    assert at.grad is not None
    slope = float((at.grad.double() * direction).sum())
    step = 1e-2  # a quadratic form: central differences are exact
    plus, minus = (_direct([batch], volume + s * direction, GRID, noise)[0] for s in (step, -step))
    expected = (plus - minus) / (2 * step)
    lengths = [float((v * form.convolve(v.float())).sum()) ** 0.5 for v in (volume, direction)]
    scale = lengths[0] * lengths[1]
    assert slope == pytest.approx(expected, abs=tolerances.QUADRATIC_TERM * scale)


def test_the_number_of_frequencies_is_that_of_the_sum(generator: torch.Generator) -> None:
    groups = (EVEN, SMALLER)
    batches = [random_batch(3, groups, generator, group) for group in (0, 1)]
    statistics = statistics_of(batches, GRID, noise_model(groups))
    expected = sum(len(Plane(b, i, GRID).k) for b in batches for i in range(len(b)))
    assert statistics.n_frequencies == expected
    assert statistics.n_images == 6


def test_gridding_agrees_with_the_nufft(generator: torch.Generator) -> None:
    batch, noise = random_batch(5, (EVEN,), generator), noise_model((EVEN,))
    statistics = statistics_of([batch], GRID, noise)
    planes = [Plane(batch, i, GRID) for i in range(len(batch))]
    points = np.concatenate([p.points for p in planes])
    precision = np.concatenate([p.precision(noise.variance[0]) for p in planes])
    contrast = np.concatenate([p.contrast for p in planes])
    data = np.concatenate([p.data * p.ramp.conj() for p in planes])
    b = nufft_sums(contrast * precision * data, points, 24).real
    kernel = nufft_sums((contrast**2 * precision).astype(complex), points, 48).real
    k = torch.fft.fftshift(torch.fft.irfftn(statistics.transfer.double(), s=(48,) * 3)).numpy()
    error = np.linalg.norm(statistics.backprojection.numpy() - b) / np.linalg.norm(b)
    assert error < tolerances.GRIDDED_BACKPROJECTION
    inner = slice(24 - 12, 24 + 13)  # the differences within a molecule of half the box
    error = np.abs(k - kernel)[inner, inner, inner].max() / kernel.max()
    assert error < tolerances.GRIDDED_KERNEL


def test_statistics_are_a_commutative_monoid(generator: torch.Generator) -> None:
    groups, noise = (EVEN, SMALLER), noise_model((EVEN, SMALLER))
    first, second = (random_batch(4, groups, generator, group) for group in (0, 1))
    a, b = (statistics_of([batch], GRID, noise) for batch in (first, second))
    _close(a + Statistics.zero(GRID), a)
    _close(Statistics.zero(GRID) + a, a)
    _close(a + b, b + a)
    _close(a + b, statistics_of([first, second], GRID, noise))
    _close((a + b) + a, a + (b + a))


def test_statistics_do_not_depend_on_the_size_of_batches(generator: torch.Generator) -> None:
    noise, batch = noise_model((EVEN,)), random_batch(9, (EVEN,), generator)
    parts = [batch.select(torch.arange(i, min(i + 4, 9))) for i in range(0, 9, 4)]
    _close(statistics_of(parts, GRID, noise), statistics_of([batch], GRID, noise))


def test_one_pass_over_all_images_gives_the_statistics_of_every_set(
    generator: torch.Generator,
) -> None:
    groups, noise = (EVEN, SMALLER), noise_model((EVEN, SMALLER))
    batches = [random_batch(7, groups, generator, 0), random_batch(5, groups, generator, 1, 7)]
    sets = torch.tensor([0, 1, 0, 3, 1, 0, 1, 0, 0, 1, 3, 1])
    seen: list[int] = []
    whole = accumulate(iter(batches), sets, 4, GRID, noise, seen.append)
    assert seen == [7, 5]
    assert [s.n_images for s in whole] == [5, 5, 0, 2]
    for number in (0, 1, 3):
        mine = [b.select((sets[b.index] == number).nonzero()[:, 0]) for b in batches]
        _close(whole[number], statistics_of([b for b in mine if len(b)], GRID, noise))
    _close(whole[2], Statistics.zero(GRID))


def test_inverted_statistics_are_those_of_inverted_images(generator: torch.Generator) -> None:
    batch, noise = random_batch(3, (EVEN,), generator), noise_model((EVEN,))
    negative = Batch(batch.index, -batch.images, batch.poses, batch.optics)
    inverted = statistics_of([batch], GRID, noise).inverted()
    _close(inverted, statistics_of([negative], GRID, noise))


def test_turning_the_map_equals_turning_the_camera(generator: torch.Generator) -> None:
    batch, noise = random_batch(6, (EVEN,), generator), noise_model((EVEN,))
    turn = random_poses(1, generator).rotations[0]
    poses = Poses(batch.poses.rotations @ turn.T, batch.poses.shifts)
    turned = Batch(batch.index, batch.images, poses, batch.optics)
    mixture = blobs(10, 12.0, generator)
    energies = [
        _energy(statistics_of([b], GRID, noise), voxelize(m, GRID))
        for b, m in ((batch, mixture), (turned, mixture.rotated(turn)))
    ]
    assert energies[1] == pytest.approx(energies[0], rel=tolerances.QUADRATIC_FORM)


def test_downsampled_statistics_give_the_same_form_for_a_band_limited_map(
    generator: torch.Generator,
) -> None:
    groups, grid = (OpticsGroup("g", 2.0, 40, 300e3, 2.7e7, 0.1),), Grid(40, 2.0)
    statistics = statistics_of([random_batch(5, groups, generator)], grid, noise_model(groups))
    small = statistics.downsampled(28)
    assert small.grid == Grid(28, 80.0 / 28)
    assert (small.energy, small.n_images) == (statistics.energy, statistics.n_images)
    mixture = blobs(8, 6.0, generator, width=6.0)  # nothing beyond the small grid's Nyquist
    fine, coarse = (
        QuadraticForm(s, s.grid.box_size)(voxelize(mixture, s.grid).float())
        for s in (statistics, small)
    )
    assert float(coarse) == pytest.approx(float(fine), rel=tolerances.DOWNSAMPLED_FORM)


def test_downsampling_twice_is_downsampling_once(generator: torch.Generator) -> None:
    groups, grid = (OpticsGroup("g", 2.0, 32, 300e3, 2.7e7, 0.1),), Grid(32, 2.0)
    statistics = statistics_of([random_batch(3, groups, generator)], grid, noise_model(groups))
    _close(statistics.downsampled(24).downsampled(16), statistics.downsampled(16))
    assert statistics.downsampled(32) is statistics


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("side", [12, 17])
def test_a_smaller_cube_gives_the_same_form_for_maps_inside_it(
    box: int, side: int, generator: torch.Generator
) -> None:
    groups = (OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1),)
    grid = Grid(box, 2.0)
    statistics = statistics_of([random_batch(4, groups, generator)], grid, noise_model(groups))
    inside = torch.randn(side, side, side, generator=generator)
    whole = torch.zeros(box, box, box)
    start = box // 2 - side // 2
    inner = slice(start, start + side)
    whole[inner, inner, inner] = inside
    small, full = QuadraticForm(statistics, side), QuadraticForm(statistics, box)
    assert float(small(inside)) == pytest.approx(float(full(whole)), rel=tolerances.CONFINED_FORM)
    expected = full.convolve(whole)[inner, inner, inner]
    torch.testing.assert_close(small.convolve(inside), expected, **_scaled(expected))


def test_forms_add_like_their_statistics(generator: torch.Generator) -> None:
    noise = noise_model((EVEN,))
    a, b = (statistics_of([random_batch(3, (EVEN,), generator)], GRID, noise) for _ in range(2))
    volume = _volume(GRID, generator).float()
    total = QuadraticForm(a, 16) + QuadraticForm(b, 16)
    expected = QuadraticForm(a + b, 16)
    cube = volume[4:20, 4:20, 4:20].contiguous()
    assert float(total(cube)) == pytest.approx(float(expected(cube)), rel=tolerances.CONFINED_FORM)
    assert (total.n_images, total.n_frequencies) == (expected.n_images, expected.n_frequencies)
    assert total.energy == pytest.approx(expected.energy, rel=tolerances.SUM_FLOAT64)


def test_the_line_search_finds_the_minimum_along_a_map(generator: torch.Generator) -> None:
    batch = random_batch(4, (EVEN,), generator)
    form = QuadraticForm(statistics_of([batch], GRID, noise_model((EVEN,))), 24)
    volume = _volume(GRID, generator).float()
    best = form.line_search(volume)
    at = [float(form(volume * best * factor)) for factor in (0.9, 1.0, 1.1)]
    assert at[1] < at[0] and at[1] < at[2]
    assert at[0] == pytest.approx(at[2], rel=tolerances.QUADRATIC_FORM)


def test_a_penalty_adds_the_weighted_power_of_the_map(generator: torch.Generator) -> None:
    """``1/2 sum_k P(|k|) |V(k)|^2`` over the padded box, where every other frequency is the cube's."""
    form = QuadraticForm(
        statistics_of([random_batch(4, (EVEN,), generator)], GRID, noise_model((EVEN,))), 12
    )
    volume = _volume(form.grid, generator).float()
    penalty = torch.linspace(0.0, 3.0, 7).double() * float(form.transfer.max())
    padded = torch.zeros(24, 24, 24, dtype=torch.float64)
    padded[:12, :12, :12] = volume
    power = torch.fft.fftn(padded).abs().square() / padded.numel()
    k = torch.fft.fftfreq(24).double() * 24
    radii = (k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).sqrt() / 2.0
    added = 0.5 * (fourier.at_radii(penalty, radii) * power).sum()
    found = form.with_penalty(penalty)(volume) - form(volume)
    assert float(found) == pytest.approx(float(added), rel=tolerances.QUADRATIC_FORM)


def test_what_is_beyond_a_map_is_what_adding_to_it_changes(generator: torch.Generator) -> None:
    form = QuadraticForm(
        statistics_of([random_batch(4, (EVEN,), generator)], GRID, noise_model((EVEN,))), 12
    )
    known, more = (_volume(form.grid, generator).float() for _ in range(2))
    expected = float(form(known + more) - form(known))
    assert float(form.beyond(known)(more)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("side", [12, 17])
def test_the_convolution_is_the_same_in_slabs_and_at_once(
    side: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slabs, which need little memory, on the CPU; at once on other devices."""
    volume = torch.randn(side, side, side, generator=generator)
    transfer = torch.rand(2 * side, 2 * side, side + 1, generator=generator)
    expected = _convolution._at_once(volume, transfer)
    for size in (1, 2**21):  # a line at a time, and all at once
        monkeypatch.setattr(_convolution, "SLAB_BYTES", size)
        found = _convolution.convolve(volume, transfer)
        torch.testing.assert_close(found, expected, **_scaled(expected))
