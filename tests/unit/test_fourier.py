"""Fourier conventions: each against a loop over voxels or a direct Fourier sum, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import SettingsError

SEED = 5

ROUNDING = {"rtol": 1e-12, "atol": 1e-12}
SHAPES = [(8, 8), (9, 9), (8, 8, 8), (7, 7, 7)]
BOXES = [(12, 8), (12, 7), (11, 8), (11, 7)]  # larger and smaller, even and odd


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _signed(index: int, size: int) -> int:
    return index if 2 * index < size else index - size


def _half_voxels(shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Each index of a half transform and its frequency in Fourier voxels, in the same order."""
    half = (*shape[:-1], shape[-1] // 2 + 1)
    return [
        (at, [*(_signed(i, n) for i, n in zip(at[:-1], shape[:-1], strict=True)), at[-1]])
        for at in np.ndindex(half)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_frequencies_radii_and_shells_are_those_of_each_voxel(shape: tuple[int, ...]) -> None:
    frequencies = fourier.frequencies(shape, pixel_size=1.7)
    radii, shells = fourier.squared_radii(shape), fourier.shells(shape)
    inside = fourier.below_nyquist(shape)
    for at, k in _half_voxels(shape):
        expected = [i / (n * 1.7) for i, n in zip(k[::-1], shape, strict=True)]  # (x, y, z)
        # the sign at Nyquist is a convention of the layout: -d/2 in rows, +d/2 in columns
        torch.testing.assert_close(frequencies[at].tolist(), expected, **ROUNDING)
        assert radii[at] == sum(i * i for i in k)
        assert shells[at] == math.floor(math.sqrt(sum(i * i for i in k)) + 0.5)
        assert inside[at] == all(2 * abs(i) < n for i, n in zip(k, shape, strict=True))


@pytest.mark.parametrize("size", [10, 15, 30, 49, 98, 100, 192, 250])
def test_radii_are_exact_integers_in_every_box(size: int) -> None:
    k = torch.arange(size // 2 + 1, dtype=torch.float64)
    radii = fourier.squared_radii((size, size))
    assert torch.equal(radii[0], k.square())
    assert torch.equal(radii, radii.round())


@pytest.mark.parametrize("shape", SHAPES)
def test_shell_sums_and_means_are_a_loop_over_voxels(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    values = fourier.transform(_noise(shape, generator), len(shape)).abs()
    counts = fourier.friedel_counts(shape[0])
    n_shells = shape[0] // 2 + 1
    sums, weighted, weights = (np.zeros(2 * n_shells) for _ in range(3))
    for at, k in _half_voxels(shape):
        shell = math.floor(math.sqrt(sum(i * i for i in k)) + 0.5)
        pair = 1 if k[-1] in (0, shape[-1] / 2) else 2
        sums[shell] += float(values[at])
        weighted[shell] += pair * float(values[at])
        weights[shell] += pair
    means = (weighted / np.maximum(weights, 1))[:n_shells]
    torch.testing.assert_close(
        fourier.shell_sums(values), torch.from_numpy(sums[:n_shells]), **ROUNDING
    )
    torch.testing.assert_close(
        fourier.shell_means(values, weights=counts), torch.from_numpy(means), **ROUNDING
    )


def test_shell_sums_of_many_are_those_of_each(generator: torch.Generator) -> None:
    images = _noise((2, 3, 8, 8), generator)
    power = fourier.transform(images, 2).abs().square()
    sums = fourier.shell_sums(power, 2)
    assert sums.shape == (2, 3, 5)
    torch.testing.assert_close(sums[1, 2], fourier.shell_sums(power[1, 2]))
    means = fourier.shell_means(power, 2)
    torch.testing.assert_close(means[0, 1], fourier.shell_means(power[0, 1]))


def test_shells_without_weight_have_mean_zero() -> None:
    weights = (fourier.shells((8, 8)) != 2).double()
    means = fourier.shell_means(torch.full((8, 5), 3.0), weights=weights)
    assert means.tolist() == [3.0, 3.0, 0.0, 3.0, 3.0]


@pytest.mark.parametrize("shape", SHAPES)
def test_friedel_counts_make_the_half_transform_obey_parseval(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    array = _noise(shape, generator)
    power = fourier.transform(array, len(shape)).abs().square()
    total = (power * fourier.friedel_counts(shape[-1])).sum() / array.numel()
    torch.testing.assert_close(total, array.square().sum(), **ROUNDING)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("large, small", BOXES)
def test_padding_undoes_cropping_below_nyquist(
    large: int, small: int, ndim: int, generator: torch.Generator
) -> None:
    array = _noise((small,) * ndim, generator)
    spectrum = fourier.transform(array, ndim)
    padded = fourier.pad(spectrum, large, ndim)
    back = fourier.crop(padded, small, ndim)
    torch.testing.assert_close(back, spectrum * fourier.below_nyquist((small,) * ndim))
    assert fourier.pad(spectrum, small, ndim) is spectrum
    # a transform of a real array: there and back changes nothing
    larger = fourier.inverse(padded, large, ndim)
    torch.testing.assert_close(fourier.transform(larger, ndim), padded, **ROUNDING)


@pytest.mark.parametrize("large, small", BOXES)
def test_cropping_is_the_adjoint_of_padding(
    large: int, small: int, generator: torch.Generator
) -> None:
    a, b = _noise((large,) * 3, generator), _noise((small,) * 3, generator)
    cropped, padded = fourier.resample(a, small, 3), fourier.resample(b, large, 3)
    left = (cropped * b).sum() * small**3
    right = (a * padded).sum() * large**3
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("large, small", BOXES)
@pytest.mark.parametrize("down", [True, False])
def test_resampling_keeps_the_sum_and_the_rotation_centre(
    large: int, small: int, ndim: int, down: bool
) -> None:
    source, target = (large, small) if down else (small, large)

    def waves(size: int) -> Tensor:
        # below both Nyquist frequencies, with phases that count from the rotation centre
        turns = (torch.arange(size, dtype=torch.float64) - size // 2) / size
        profile = 1.0 + sum(torch.cos(2.0 * math.pi * k * (turns - 0.03 * k)) for k in (1, 2, 3))
        values = profile
        for _ in range(ndim - 1):
            values = values[..., None] * profile
        return values / size**ndim

    resampled = fourier.resample(waves(source), target, ndim)
    torch.testing.assert_close(resampled.sum(), waves(source).sum(), **ROUNDING)
    torch.testing.assert_close(resampled, waves(target), **ROUNDING)


@pytest.mark.parametrize("large, small", BOXES)
def test_low_frequencies_are_the_cropped_transform(
    large: int, small: int, generator: torch.Generator
) -> None:
    volume = _noise((large,) * 3, generator)
    expected = fourier.crop(fourier.transform(volume, 3), small, 3)
    torch.testing.assert_close(fourier.low_frequencies(volume, small, 3), expected, **ROUNDING)


@pytest.mark.parametrize("large, small", BOXES)
def test_resampling_is_differentiable(large: int, small: int, generator: torch.Generator) -> None:
    images = _noise((2, large, large), generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fourier.resample(x, small, 2), (images,))


@pytest.mark.parametrize("box_size", [8, 9])
def test_a_filter_multiplies_the_transform(box_size: int, generator: torch.Generator) -> None:
    images = _noise((2, box_size, box_size), generator).float()
    gain = torch.exp(-0.1 * fourier.squared_radii((box_size, box_size)))
    expected = torch.fft.irfft2(torch.fft.rfft2(images.double()) * gain, s=images.shape[1:])
    smooth = fourier.filter(images, gain, 2)
    assert smooth.dtype == torch.float32
    torch.testing.assert_close(smooth.double(), expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(("least", "size"), [(7.2, 8), (44, 48), (48, 48), (97, 100), (250, 250)])
def test_fast_box_sizes_are_even_and_have_small_factors(least: float, size: int) -> None:
    assert fourier.fast_box_size(least) == size


def test_a_wave_at_nyquist_is_left_out_and_one_below_is_kept() -> None:
    x = torch.arange(16, dtype=torch.float64)
    for axis in (0, 1):
        for k, amplitude in ((4, 0.0), (3, 1.0)):  # the Nyquist frequency of 8 pixels is 4
            wave = torch.cos(2.0 * math.pi * k * (x - 8) / 16).expand(16, 16)
            wave = wave.T if axis == 0 else wave
            expected = amplitude * torch.cos(2.0 * math.pi * k * (x[:8] - 4) / 8).expand(8, 8)
            expected = expected.T if axis == 0 else expected
            torch.testing.assert_close(0.25 * fourier.resample(wave, 8, 2), expected, **ROUNDING)


@pytest.mark.parametrize("shape", [(6, 6), (7, 7, 7)])
def test_distances_are_from_the_rotation_centre(shape: tuple[int, ...]) -> None:
    distances = fourier.distances(shape)
    for at in np.ndindex(shape):
        assert distances[at] == math.dist(at, [n // 2 for n in shape])


def test_raised_cosine_falls_from_one_to_zero() -> None:
    distance = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 9.0], dtype=torch.float64)
    edge = fourier.raised_cosine(distance, 4.0)
    middle = [0.5 + 0.5 * math.sqrt(0.5), 0.5, 0.5 - 0.5 * math.sqrt(0.5)]
    torch.testing.assert_close(edge.tolist(), [1.0, 1.0, *middle, 0.0, 0.0], **ROUNDING)
    assert fourier.raised_cosine(distance, 0.0).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_everything_stays_on_its_device() -> None:
    """On the meta device, which computes shapes alone: a tensor of another device would fail."""
    array = torch.empty(2, 8, 8, device="meta")
    spectrum = fourier.transform(array, 2)
    made = [
        spectrum, fourier.inverse(spectrum, 8, 2), fourier.crop(spectrum, 6, 2),
        fourier.pad(spectrum, 10, 2), fourier.resample(array, 7, 2),
        fourier.frequencies((8, 8), device="meta"), fourier.squared_radii((8, 8), device="meta"),
        fourier.shells((8, 8), device="meta"), fourier.friedel_counts(8, device="meta"),
        fourier.below_nyquist((8, 8), device="meta"), fourier.distances((8, 8), device="meta"),
        fourier.signed_indices(8, device="meta"), fourier.raised_cosine(array),
    ]  # fmt: skip
    assert {tensor.device.type for tensor in made} == {"meta"}


def test_other_layouts_and_directions_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"shape \(8, 8\), expected \(\.\.\., 8, 5\)"):
        fourier.shell_sums(torch.zeros(8, 8))
    spectrum = fourier.transform(torch.zeros(8, 8), 2)
    with pytest.raises(SettingsError, match="crop: box_size is 10, expected at most 8"):
        fourier.crop(spectrum, 10, 2)
    with pytest.raises(SettingsError, match="pad: box_size is 6, expected at least 8"):
        fourier.pad(spectrum, 6, 2)


def test_values_of_shells_are_read_between_them_by_straight_lines() -> None:
    curve = torch.tensor([4.0, 2.0, 3.0])
    radii = torch.tensor([0.0, 0.5, 1.0, 1.25, 2.0, 9.0], dtype=torch.float64)
    expected = torch.tensor([4.0, 3.0, 2.0, 2.25, 3.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(fourier.at_radii(curve, radii), expected)
    torch.testing.assert_close(fourier.at_radii(curve[:1], radii), torch.full_like(radii, 4.0))
