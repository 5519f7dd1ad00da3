"""Laws of weights: an image counts as often, and at as many poses, as it is given weight for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
    nufft_slices,
    random_batch,
    statistics_of,
)
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.noise import NoiseModel
from cryosplat.optics import OpticsGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize
from cryosplat.statistics import (
    Accumulator,
    Assignments,
    QuadraticForm,
    Statistics,
    WeightedImages,
    accumulate,
    weighted_images,
)

SEED = 3

EVEN = OpticsGroup("even", 2.0, 24, 300e3, 2.7e7, 0.1)
SMALLER = OpticsGroup("smaller pixels", 1.5, 30, 300e3, 0.01e7, 0.1)
ABERRANT = OpticsGroup("aberrant", 2.0, 24, 300e3, 2.7e7, 0.1, **ABERRATIONS)
GRID = Grid(24, 2.0)
NOISE = noise_model((EVEN,))


def _volume(generator: torch.Generator) -> Tensor:
    return voxelize(blobs(12, 9.0, generator), GRID)


def _accumulated(
    batch: Batch, weights: Tensor | Assignments | None = None, symmetry: str = "C1",
    noise: NoiseModel = NOISE,
) -> Statistics:  # fmt: skip
    accumulator = Accumulator(GRID, noise, symmetry)
    accumulator.add(batch, weights)
    return accumulator.result()


def _assignments(batch: Batch, m: int, generator: torch.Generator) -> Assignments:
    """m triples of images drawn from a batch, some of them several times; shifts may repeat."""
    particle = batch.index[torch.randint(len(batch), (m,), generator=generator)]
    poses = random_poses(m, generator, 4.0)
    shifts = torch.where(torch.rand(m, 1, generator=generator) < 0.5, poses.shifts, 0.0)
    weights = torch.rand(m, generator=generator, dtype=torch.float64)
    return Assignments(particle, replace(poses, shifts=shifts), weights)


def _posed(batch: Batch, triples: Assignments) -> Batch:
    """A batch that holds the image of each triple at its pose."""
    at = torch.tensor([batch.index.tolist().index(p) for p in triples.particle.tolist()])
    return replace(batch.select(at), poses=triples.poses)


def _assert_is_direct_sum(
    statistics: Statistics, batch: Batch, weights: Tensor, volume: Tensor, noise: NoiseModel = NOISE
) -> None:
    likelihood, quadratic, linear = direct_sums(batch, volume, GRID, noise, weights)
    form, v = QuadraticForm(statistics, GRID.box_size), volume.float()
    found = statistics.energy + float(form(v))
    assert found == pytest.approx(likelihood, rel=tolerances.QUADRATIC_FORM)
    relative = tolerances.QUADRATIC_TERM
    assert float((v.double() * form.convolve(v)).sum()) == pytest.approx(quadratic, rel=relative)
    norm = (quadratic * 2.0 * statistics.energy) ** 0.5
    assert float((v * form.linear).sum()) == pytest.approx(linear, abs=relative * norm)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "C3"])
def test_weight_2_is_the_image_twice(symmetry: str, generator: torch.Generator) -> None:
    batch = random_batch(6, (EVEN,), generator)
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 2.0, 2.0])
    repeated = batch.select(torch.tensor([0, 1, 1, 3, 4, 4, 5, 5]))
    found, expected = _accumulated(batch, weights, symmetry), _accumulated(repeated, None, symmetry)
    assert_same_sums(found, expected)
    assert found.identity == expected.identity
    assert (found.weight, found.n_images, expected.n_images) == (8.0, 5, 8)


@pytest.mark.parametrize("groups", [(EVEN,), (SMALLER,), (ABERRANT,)])
def test_weighted_images_are_the_weighted_sum_of_squared_residuals(
    groups: tuple[OpticsGroup, ...], generator: torch.Generator
) -> None:
    batch, noise = random_batch(6, groups, generator), noise_model(groups)
    weights = 3.0 * torch.rand(6, generator=generator, dtype=torch.float64)
    statistics = _accumulated(batch, weights, noise=noise)
    _assert_is_direct_sum(statistics, batch, weights, _volume(generator), noise)
    sizes = torch.tensor([len(Plane(batch, i, GRID).k) for i in range(6)])
    assert statistics.n_frequencies == pytest.approx(float((weights * sizes).sum()), rel=1e-12)
    assert statistics.weight == pytest.approx(float(weights.sum()), rel=1e-12)


@pytest.mark.parametrize("groups", [(EVEN,), (ABERRANT,)])
def test_triples_are_their_sum(groups: tuple[OpticsGroup, ...], generator: torch.Generator) -> None:
    batch, noise = random_batch(5, groups, generator, first=7), noise_model(groups)
    triples = _assignments(batch, 20, generator)
    statistics = _accumulated(batch, triples, noise=noise)
    posed = _posed(batch, triples)
    _assert_is_direct_sum(statistics, posed, triples.weights, _volume(generator), noise)
    expected = _accumulated(posed, triples.weights, noise=noise)
    assert_same_sums(statistics, expected)
    assert statistics.identity == expected.identity
    assert statistics.n_images == len(triples.particle.unique())


def test_triples_at_the_images_own_poses_are_weights(generator: torch.Generator) -> None:
    batch = random_batch(6, (EVEN,), generator)
    weights = torch.rand(6, generator=generator, dtype=torch.float64)
    order = torch.randperm(6, generator=generator)
    triples = Assignments(batch.index, batch.poses, weights).select(order)
    found, expected = _accumulated(batch, triples), _accumulated(batch, weights)
    assert_same_sums(found, expected)
    assert found.identity == expected.identity


def test_one_pass_gives_every_set_its_triples(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image may enter several sets; nothing depends on batches or on the length of a pass."""
    batch = random_batch(9, (EVEN,), generator)
    parts = [batch.select(rows) for rows in torch.randperm(9, generator=generator).split(4)]
    triples = _assignments(batch, 40, generator)
    sets = torch.randint(-1, 4, (40,), generator=generator)
    expected = [
        _accumulated(batch, triples.select((sets == number).nonzero()[:, 0])) for number in range(3)
    ]
    for images in (1000, 3, 1):
        monkeypatch.setattr("cryosplat.statistics._pass.PASS_BYTES", images * 4 * 24**2)
        found = accumulate(iter(parts), sets, 3, GRID, NOISE, weights=triples)
        for a, b in zip(found, expected, strict=True):
            assert_same_sums(a, b)
            assert a.identity == b.identity and a.n_images == b.n_images


def test_one_pass_gives_every_particle_its_weight(generator: torch.Generator) -> None:
    groups = (EVEN, SMALLER)
    batches = [random_batch(4, groups, generator, 0, 3), random_batch(3, groups, generator, 1)]
    weights = torch.rand(7, generator=generator)
    sets = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    noise = noise_model(groups)
    found = accumulate(batches, sets, 2, GRID, noise, weights=weights)
    for number, statistics in enumerate(found):
        accumulator = Accumulator(GRID, noise)
        for batch in batches:
            accumulator.add(batch, weights[batch.index] * (sets[batch.index] == number))
        assert_same_sums(statistics, accumulator.result())
        assert statistics.identity == accumulator.result().identity


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2"])
def test_one_image_and_weight_per_orientation_are_the_triples(
    symmetry: str, generator: torch.Generator
) -> None:
    """B and D (DESIGN 6): every image at every orientation, gridded as one image for each."""
    n, o = 7, 11
    batch = random_batch(n, (EVEN,), generator)
    posterior = torch.rand(n, o, generator=generator, dtype=torch.float64).softmax(1)
    rotations = random_poses(o, generator).rotations
    sums = weighted_images(batch, GRID, NOISE).summed(posterior)
    accumulator = Accumulator(GRID, NOISE, symmetry)
    accumulator.add_sums(sums, rotations)
    found = accumulator.result()
    triples = Assignments(
        batch.index.repeat_interleave(o),
        Poses(rotations.repeat(n, 1, 1), batch.poses.shifts.repeat_interleave(o, 0)),
        posterior.flatten(),
    )
    assert_same_sums(found, _accumulated(batch, triples, symmetry))
    assert (len(sums), found.n_images) == (o, n)
    if symmetry == "C1":
        posed = _posed(batch, triples)
        _assert_is_direct_sum(found, posed, triples.weights, _volume(generator))


def test_sums_of_the_user_are_gridded_as_they_are(generator: torch.Generator) -> None:
    """B and D from anywhere, to a frequency limit, against a direct sum over their frequencies."""
    o, d, radius = 4, 16, 6.5
    values = torch.fft.rfft2(torch.randn(o, d, d, generator=generator))
    precisions = torch.fft.rfft2(torch.randn(o, d, d, generator=generator)).abs()
    rotations = random_poses(o, generator).rotations
    accumulator = Accumulator(GRID, NOISE)
    accumulator.add_sums(WeightedImages(values, precisions, 2.5, radius), rotations)
    form, volume = QuadraticForm(accumulator.result(), 24), _volume(generator)
    axis = np.arange(-7, 8)
    ky, kx = (k.ravel() for k in np.meshgrid(axis, axis, indexing="ij"))
    inside = kx**2 + ky**2 < radius**2
    ky, kx = ky[inside], kx[inside]
    mate = np.where(kx < 0, -1, 1)
    at = (slice(None), mate * ky, mate * kx)
    value, precision = values.numpy()[at], precisions.numpy()[at]
    value = np.where(kx < 0, value.conj(), value)
    k = 2 * np.pi * GRID.pixel_size / (d * 2.5) * np.stack([kx, ky], 1)
    points = (k @ rotations[:, :2].numpy()).reshape(-1, 3)
    slices = nufft_slices(volume, points).reshape(o, -1)
    linear, scale = np.sum((value * slices.conj()).real), np.sum(np.abs(value * slices))
    quadratic = np.sum(precision * np.abs(slices) ** 2)
    v = volume.float()
    relative = tolerances.QUADRATIC_TERM
    assert float((v.double() * form.convolve(v)).sum()) == pytest.approx(quadratic, rel=relative)
    assert float((v * form.linear).sum()) == pytest.approx(linear, abs=relative * scale)


def test_weighted_images_hold_the_likelihood_of_every_slice(generator: torch.Generator) -> None:
    batch, volume = random_batch(3, (EVEN,), generator), _volume(generator)
    ready = weighted_images(batch, GRID, NOISE)
    for i in range(3):
        plane = Plane(batch, i, GRID)
        x, y = plane.k[plane.k[:, 0] >= 0].T
        pairs = np.where(x > 0, 2.0, 1.0)
        slices = nufft_slices(volume, plane.points[plane.k[:, 0] >= 0])
        values = ready.values[i].numpy()[y, x] * slices.conj()
        precisions = ready.precisions[i].numpy()[y, x]
        found = np.sum(pairs * (values.real - 0.5 * precisions * np.abs(slices) ** 2))
        expected, _, _ = direct_sums(batch.select(torch.tensor([i])), volume, GRID, NOISE)
        found = float(ready.energy[i]) - found
        assert found == pytest.approx(expected, rel=tolerances.LIKELIHOOD_FLOAT32)


@pytest.mark.parametrize("symmetry", ["C1", "D7"])
def test_statistics_scale_and_subtract(symmetry: str, generator: torch.Generator) -> None:
    batches = [random_batch(4, (EVEN,), generator) for _ in range(2)]
    a, b = (_accumulated(batch, None, symmetry) for batch in batches)
    back = a + b - b
    assert_same_sums(back, a)
    assert back.identity == a.identity and back.n_images == 4
    weights = torch.tensor([0.9] * 4 + [1.0] * 4, dtype=torch.float64)
    forgotten = 0.9 * a + b
    assert_same_sums(forgotten, _accumulated(Batch.concatenate(batches), weights, symmetry))
    assert forgotten.n_images == 8 and forgotten.weight == pytest.approx(7.6)
    for found, weight in ((2 * a, 2.0), (a * 0.9, 0.9)):
        weights = torch.full((4,), weight, dtype=torch.float64)
        expected = _accumulated(batches[0], weights, symmetry)
        assert_same_sums(found, expected)
        assert found.identity == expected.identity
    nothing = 0.0 * a
    assert_same_sums(nothing, Statistics.zero(GRID))
    assert nothing.n_images == 0 and int(nothing.identity.digest, 16) == 0


def test_python_adds_up_statistics(generator: torch.Generator) -> None:
    batches = [random_batch(2, (EVEN,), generator) for _ in range(3)]
    total = sum(_accumulated(batch) for batch in batches)
    assert isinstance(total, Statistics)
    assert_same_sums(total, statistics_of(batches, GRID, NOISE))
    assert total.identity == statistics_of(batches[::-1], GRID, NOISE).identity


def test_results_may_be_taken_between_batches(generator: torch.Generator) -> None:
    batches = [random_batch(3, (EVEN,), generator) for _ in range(3)]
    accumulator = Accumulator(GRID, NOISE)
    for number, batch in enumerate(batches, 1):
        accumulator.add(batch)
        first, second = accumulator.result(), accumulator.result()
        assert torch.equal(first.backprojection, second.backprojection)
        assert torch.equal(first.transfer, second.transfer)
        assert_same_sums(first, statistics_of(batches[:number], GRID, NOISE))


def _other_pixels(batch: Batch) -> Batch:
    images = batch.images.clone()
    images[1, 2, 3] += 1e-3
    return replace(batch, images=images)


def _other_defocus(batch: Batch) -> Batch:
    defocus = batch.optics.defocus_u.clone()
    defocus[2] += 1.0
    return replace(batch, optics=replace(batch.optics, defocus_u=defocus))


def _other_shift(batch: Batch) -> Batch:
    shifts = batch.poses.shifts.clone()
    shifts[0, 1] += 1e-6
    return replace(batch, poses=replace(batch.poses, shifts=shifts))


def _other_voltage(batch: Batch) -> Batch:
    group = replace(batch.optics.groups[0], voltage=200e3)
    return replace(batch, optics=replace(batch.optics, groups=(group,)))


@pytest.mark.parametrize("change", [_other_pixels, _other_defocus, _other_shift, _other_voltage])
def test_the_digest_knows_other_images(
    change: Callable[[Batch], Batch], generator: torch.Generator
) -> None:
    batch = random_batch(4, (EVEN,), generator)
    assert _accumulated(change(batch)).identity != _accumulated(batch).identity


def test_the_digest_knows_no_order_and_no_position(generator: torch.Generator) -> None:
    batch = random_batch(6, (EVEN,), generator)
    expected = _accumulated(batch).identity
    mixed = batch.select(torch.randperm(6, generator=generator))
    assert _accumulated(mixed).identity == expected
    assert _accumulated(replace(batch, index=batch.index + 100)).identity == expected
    half = [_accumulated(mixed.select(rows)) for rows in torch.arange(6).split(2)]
    assert (half[2] + half[0] + half[1]).identity == expected
    assert _accumulated(batch, torch.full((6,), 0.5)).identity != expected


def test_statistics_of_other_maps_or_noise_do_not_add(generator: torch.Generator) -> None:
    batches = [random_batch(2, (EVEN,), generator) for _ in range(2)]
    c1, d7 = _accumulated(batches[0]), _accumulated(batches[1], None, "D7")
    with pytest.raises(SettingsError, match="different symmetries, C1 and D7"):
        c1 + d7
    louder = NoiseModel(tuple(2.0 * v for v in NOISE.variance), normalise=False)
    other = _accumulated(batches[1], noise=louder)
    names = f"noise models, {NOISE.digest[:12]} and {louder.digest[:12]}"
    with pytest.raises(SettingsError, match=names):
        c1 - other
    for statistics in (c1, d7, other):
        assert (statistics + Statistics.zero(GRID)).identity == statistics.identity


def test_the_same_images_twice_are_a_weight(generator: torch.Generator) -> None:
    batch = random_batch(3, (EVEN,), generator)
    a = _accumulated(batch)
    again = a + _accumulated(batch.select(torch.tensor([2, 0, 1])))
    assert again.identity == (2 * a).identity
    assert_same_sums(again, 2 * a)
    assert_same_sums(2 * a, _accumulated(batch, torch.full((3,), 2.0)))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_weights_that_are_no_weights_are_refused(weight: float, generator: torch.Generator) -> None:
    batch = random_batch(3, (EVEN,), generator)
    weights = torch.tensor([1.0, weight, 1.0])
    sets = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(SettingsError, match=r"weights\[1\] is .*expected a finite number"):
        accumulate([batch], sets, 1, GRID, NOISE, weights=weights)
    with pytest.raises(SettingsError, match=r"weights\[1\] is"):
        Accumulator(GRID, NOISE).add(batch, weights)
    with pytest.raises(SettingsError, match=r"weights\[1\] is"):
        Assignments(batch.index, batch.poses, weights)
    with pytest.raises(SettingsError, match="negative or not finite"):
        weighted_images(batch, GRID, NOISE).summed(weights[:, None])
    with pytest.raises(SettingsError, match="the factor is"):
        weight * Statistics.zero(GRID)


def test_shapes_that_do_not_agree_are_refused(generator: torch.Generator) -> None:
    batch = random_batch(3, (EVEN,), generator)
    sets, ones = torch.zeros(3, dtype=torch.int64), torch.ones(3)
    triples = Assignments(batch.index, batch.poses, ones)
    ready = weighted_images(batch, GRID, NOISE)
    cases: list[tuple[str, Callable[[], object]]] = [
        (r"weights have shape \(2,\), expected \(3,\)",
         lambda: accumulate([batch], sets, 1, GRID, NOISE, weights=ones[:2])),
        (r"sets have shape \(2,\)",
         lambda: accumulate([batch], sets[:2], 1, GRID, NOISE, weights=triples)),
        ("particle 2 was read, but there are sets for 2",
         lambda: accumulate([batch], sets[:2], 1, GRID, NOISE)),
        ("sets have .*float32", lambda: accumulate([batch], ones, 1, GRID, NOISE)),
        ("one for each of the poses", lambda: Assignments(batch.index[:2], batch.poses, ones)),
        ("expected .3,. and int64", lambda: Assignments(ones, batch.poses, ones)),
        (r"weights have shape \(3,\), expected \(3, o\)", lambda: ready.summed(ones)),
        (r"expected \(3, 3, 3\)",
         lambda: Accumulator(GRID, NOISE).add_sums(ready, batch.poses.rotations[:2])),
        ("values have shape", lambda: replace(ready, precisions=ready.precisions[:2])),
        ("expected complex and real", lambda: replace(ready, values=ready.precisions)),
        ("radius is -1.0, expected above 0", lambda: replace(ready, radius=-1.0)),
        ("energy is not 3 finite numbers", lambda: replace(ready, energy=ones[:2])),
        ("poses contain NaN",
         lambda: Assignments(batch.index, Poses(batch.poses.rotations * torch.nan,
                                                batch.poses.shifts), ones)),
    ]  # fmt: skip
    for message, call in cases:
        with pytest.raises(SettingsError, match=message):
            call()


def test_images_for_one_orientation_have_one_pixel_size(generator: torch.Generator) -> None:
    groups = (EVEN, replace(EVEN, name="other", pixel_size=2.1))
    batches = [random_batch(2, groups, generator, group) for group in (0, 1)]
    with pytest.raises(SettingsError, match="expected one pixel size for all"):
        weighted_images(Batch.concatenate(batches), GRID, noise_model(groups))
