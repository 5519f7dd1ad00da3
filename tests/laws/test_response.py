"""The response against independent formulas, its gradient, and its kernels against the definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import tolerances
import torch
from problems import ABERRATIONS, odd_polynomials, random_optics
from torch import Tensor

from cryosplat.errors import SettingsError
from cryosplat.optics import (
    Optics,
    OpticsGroup,
    Processing,
    ctf,
    form,
    image_ctf,
    image_frequencies,
    operators,
    processed,
    residuals_,
    response,
    weigh,
)

SEED = 5

GROUPS = (
    OpticsGroup("300 kV", 1.1, 32, 300e3, 2.7e7, 0.1),
    OpticsGroup("200 kV, odd box", 1.1, 33, 200e3, 0.01e7, 0.07),
    OpticsGroup("phase contrast", 1.1, 32, 120e3, 0.0, 0.0),
    OpticsGroup("aberrant", 1.1, 32, 300e3, 2.7e7, 0.1, **ABERRATIONS),
    OpticsGroup("flipped", 1.1, 32, 300e3, 2.7e7, 0.1, processing="phase-flipped", **ABERRATIONS),
    OpticsGroup(
        "multiplied", 1.1, 32, 300e3, 2.7e7, 0.1, processing="premultiplied", **ABERRATIONS
    ),
)
N = 6


def _shifts(generator: torch.Generator) -> Tensor:
    return 8.0 * torch.rand(N, 2, generator=generator, dtype=torch.float64) - 4.0


def _spectra(box: int, generator: torch.Generator) -> Tensor:
    return torch.fft.rfft2(torch.randn(N, box, box, generator=generator))


@pytest.mark.parametrize("number", range(len(GROUPS)))
@pytest.mark.parametrize("origin", [0, 16])
def test_the_response_is_ctf_times_odd_phase_times_shift(
    number: int, origin: int, generator: torch.Generator
) -> None:
    group, optics = GROUPS[number], random_optics(N, GROUPS, generator, number)
    box, shifts = group.box_size, _shifts(generator)
    found = response(shifts, optics, box, origin)
    ky, kx = torch.meshgrid(
        (torch.arange(box) + box // 2) % box - box // 2, torch.arange(box // 2 + 1), indexing="ij"
    )
    inside = kx**2 + ky**2 < (box / 2) ** 2
    k = torch.stack([kx, ky], -1)[inside].double() / (box * group.pixel_size)
    stretched = k @ torch.tensor(group.magnification, dtype=torch.float64).reshape(2, 2).T
    odd = torch.zeros(len(k), dtype=torch.float64)
    for coefficient, polynomial in zip(
        group.odd, odd_polynomials(*stretched.numpy().T), strict=False
    ):
        odd += coefficient * torch.as_tensor(polynomial)
    turns = (shifts - origin * group.pixel_size) @ k.T
    phase = torch.exp(1j * (2.0 * torch.pi * turns + odd))
    torch.testing.assert_close(found[:, inside], ctf(optics, k) * phase, **tolerances.CTF_FLOAT64)
    assert not found[:, ~inside].any()


def test_a_shift_by_whole_pixels_rolls_the_image(generator: torch.Generator) -> None:
    box, pixel = 24, 1.5
    group = OpticsGroup("nothing", pixel, box, 300e3, 0.0, 1.0)
    zero = torch.zeros(1, dtype=torch.float64)
    optics = Optics((group,), zero.long(), zero, zero, zero, zero, zero, zero + 1.0)
    image = torch.randn(box, box, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.rfft2(image)
    still, moved = (
        torch.fft.irfft2(spectrum * response(shift, optics, box)[0], s=(box, box))
        for shift in (torch.zeros(1, 2), pixel * torch.tensor([[3.0, -2.0]]))
    )
    torch.testing.assert_close(moved, still.roll((2, -3), (0, 1)))


@pytest.mark.parametrize("astigmatism", [900.0, 0.0])
@pytest.mark.parametrize("shift", [1.7, 0.0])
def test_the_gradient_of_the_response(astigmatism: float, shift: float) -> None:
    groups = (OpticsGroup("g", 2.0, 6, 300e3, 2.7e7, 0.1, **ABERRATIONS),)

    def number(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    inputs = (
        torch.tensor([[shift, -shift], [0.0, 0.0]], dtype=torch.float64, requires_grad=True),
        number(12000.0, 9000.0), number(12000.0 - astigmatism, 9000.0), number(0.4, -1.2),
        number(0.0, 0.3), number(20.0, 0.0), number(1.0, 0.8),
    )  # fmt: skip

    def value(shifts: Tensor, *columns: Tensor) -> Tensor:
        return response(shifts, Optics(groups, torch.tensor([0, 0]), *columns), 6)

    assert torch.autograd.gradcheck(value, inputs)


@pytest.mark.parametrize("box", [25, 50, 70, 78, 98, 100])
def test_at_and_beyond_nyquist_nothing_is_compared(box: int, generator: torch.Generator) -> None:
    """To the last voxel, in boxes where squares of other sides add up to that of Nyquist."""
    group = OpticsGroup("g", 1.1, box, 300e3, 2.7e7, 0.1)
    optics, shifts = random_optics(1, (group,), generator), torch.zeros(1, 2)
    k = torch.cat([torch.arange((box + 1) // 2), torch.arange(-(box // 2), 0)])
    squared = k[:, None] ** 2 + torch.arange(box // 2 + 1) ** 2
    beyond = 4 * squared >= box**2
    assert not bool(response(shifts, optics, box)[:, beyond].any())
    assert bool((response(shifts, optics, box)[:, ~beyond] != 0).all())
    transforms = torch.ones(1, box, box // 2 + 1)
    precision, radii = torch.ones(1, box // 2 + 1), torch.full((1,), box / 2)
    expected = int((2 * (~beyond).sum()) - (~beyond[:, 0]).sum())
    for dtype in (torch.complex64, torch.complex128):  # the kernel and the definition
        weighed = weigh(transforms.to(dtype), shifts, optics, precision, radii)
        assert int(weighed.n_frequencies) == expected


def test_particles_of_two_pixel_sizes_are_refused(generator: torch.Generator) -> None:
    groups = (GROUPS[0], replace(GROUPS[0], pixel_size=2.0))
    optics = replace(random_optics(N, groups, generator), group=torch.arange(N) % 2)
    with pytest.raises(SettingsError, match=r"2 pixel sizes, expected one.*at a time"):
        response(_shifts(generator), optics, 32)


def _close(found: Tensor, expected: Tensor) -> None:
    error = (found - expected).abs().max() / expected.abs().max()
    assert float(error) < tolerances.RESPONSE_KERNEL


Use = Callable[[torch.dtype], list[Tensor]]


def _uses(optics: Optics, box: int, generator: torch.Generator) -> dict[str, Use]:
    """Each use of the response on the same inputs, in the precision that is asked for."""
    shifts = _shifts(generator)
    first, second = _spectra(box, generator), _spectra(box, generator)
    if len({group.pixel_size for group in optics.present()[0]}) == 1:
        first, second = processed(first, optics), processed(second, optics)
    precision = 0.5 + torch.rand(len(optics.groups), box // 2 + 1, generator=generator)
    radii = torch.linspace(0.3 * box, 0.5 * box, N)

    def formed(dtype: torch.dtype) -> list[Tensor]:
        slices = first.to(dtype).requires_grad_()
        images = form(slices, shifts, optics, box // 2)
        (gradient,) = torch.autograd.grad(images, slices, second.to(dtype))
        return [images.detach(), gradient]

    def weighed(dtype: torch.dtype) -> list[Tensor]:
        found = weigh(first.to(dtype), shifts, optics, precision, radii)
        return [found.values[..., :2], found.values[..., 2], found.energy, found.n_frequencies]

    def residuals(dtype: torch.dtype) -> list[Tensor]:
        derivative = first.to(dtype).clone()
        data = second.to(dtype)
        losses = residuals_(derivative, data, shifts, optics, precision, 0.45 * box)
        return [losses, derivative]

    return {"form": formed, "weigh": weighed, "residuals": residuals}


@pytest.mark.parametrize("use", ["form", "weigh", "residuals"])
@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_the_kernel_is_the_definition(number: int, use: str, generator: torch.Generator) -> None:
    optics = random_optics(N, GROUPS, generator, number)
    evaluate = _uses(optics, GROUPS[number].box_size, generator)[use]
    for found, expected in zip(evaluate(torch.complex64), evaluate(torch.complex128), strict=True):
        _close(found, expected)


@pytest.mark.parametrize("use", ["weigh", "residuals"])
def test_groups_of_one_box_each_have_their_own_pixels_and_aberrations(
    use: str, generator: torch.Generator
) -> None:
    groups = (GROUPS[0], replace(GROUPS[4], pixel_size=1.4), replace(GROUPS[3], pixel_size=1.2))
    optics = replace(random_optics(N, groups, generator), group=torch.arange(N) % 3)
    evaluate = _uses(optics, 32, generator)[use]
    for found, expected in zip(evaluate(torch.complex64), evaluate(torch.complex128), strict=True):
        _close(found, expected)


@pytest.mark.parametrize("use", ["form", "weigh", "residuals"])
def test_the_definition_in_parts_is_the_definition(
    use: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    optics = random_optics(N, GROUPS, generator, 3)
    evaluate = _uses(optics, 32, generator)[use]
    whole = evaluate(torch.complex128)
    monkeypatch.setattr(operators, "PART_BYTES", 1)
    for found, expected in zip(evaluate(torch.complex128), whole, strict=True):
        torch.testing.assert_close(found, expected, **tolerances.CTF_FLOAT64)


@pytest.mark.parametrize("processing", ["phase-flipped", "premultiplied"])
def test_stored_images_say_what_recorded_ones_do(
    processing: Processing, generator: torch.Generator
) -> None:
    """Statistics but for the energy, which lacks what lies near zeros; derivatives of residuals."""
    plain = random_optics(N, GROUPS, generator, 3)
    stored = replace(plain, groups=tuple(replace(group, processing=processing) for group in GROUPS))
    shifts, images = _shifts(generator), _spectra(32, generator).to(torch.complex128)
    model, precision = _spectra(32, generator).to(torch.complex128), torch.ones(len(GROUPS), 17)
    radii = torch.full((N,), 14.0)
    one = weigh(images, shifts, plain, precision, radii)
    other = weigh(processed(images, stored), shifts, stored, precision, radii)
    torch.testing.assert_close(other.values, one.values, **tolerances.ROUND_OFF_SPECTRA)
    first, second = model.clone(), model.clone()
    losses = [
        residuals_(first, images, shifts, plain, precision, 14.0),
        residuals_(second, processed(images, stored), shifts, stored, precision, 14.0),
    ]
    torch.testing.assert_close(second, first, **tolerances.ROUND_OFF_SPECTRA)
    # losses differ by the energies, which no model changes
    torch.testing.assert_close(losses[1] - losses[0], other.energy - one.energy)
    if processing == "phase-flipped":
        torch.testing.assert_close(other.energy, one.energy)


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_the_ctf_of_images_is_the_ctf(number: int, generator: torch.Generator) -> None:
    optics, box = random_optics(N, GROUPS, generator, number), GROUPS[number].box_size
    _close(image_ctf(optics, box), ctf(optics, image_frequencies(optics, box)))
