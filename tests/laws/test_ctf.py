"""The contrast transfer function against independent formulas, and its gradient."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tolerances
import torch
from numpy.typing import NDArray
from problems import ABERRATIONS, even_polynomials, odd_polynomials, random_optics
from torch import Tensor

from cryosplat.optics import (
    Optics,
    OpticsGroup,
    beam_tilt,
    ctf,
    dose_exponent,
    even_phase,
    odd_phase,
    seen_rotations,
    zernike,
)
from cryosplat.poses import random_poses

SEED = 2

GROUPS = (
    OpticsGroup("300 kV", 1.1, 32, 300e3, 2.7e7, 0.1),
    OpticsGroup("200 kV", 1.1, 33, 200e3, 0.01e7, 0.07),
    OpticsGroup("no aberration, phase contrast", 1.1, 32, 120e3, 0.0, 0.0),
    OpticsGroup("aberrant", 1.1, 32, 300e3, 2.7e7, 0.1, **ABERRATIONS),
)
PLAIN = range(3)


def _frequencies(box: int, pixel: float) -> Tensor:
    """All frequencies of the half transform, (box, box // 2 + 1, 2), in 1/Angstrom."""
    ky = torch.fft.fftfreq(box, pixel, dtype=torch.float64)[:, None].expand(-1, box // 2 + 1)
    kx = torch.fft.rfftfreq(box, pixel, dtype=torch.float64)[None].expand(box, -1)
    return torch.stack([kx, ky], -1)


def _relion(optics: Optics, i: int, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """RELION's formula with its matrix of defoci, in its units: kV, mm, degree (src/ctf.cpp)."""
    group = optics.groups[int(optics.group[i])]
    volt, cs = group.voltage, group.spherical_aberration
    wavelength = 12.2643247 / math.sqrt(volt * (1.0 + volt * 0.978466e-6))
    angle = float(optics.defocus_angle[i])
    s = s @ np.array(group.magnification).reshape(2, 2).T
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    defoci = np.diag([-float(optics.defocus_u[i]), -float(optics.defocus_v[i])])
    astigmatism = turn.T @ defoci @ turn
    squared = (s**2).sum(-1)
    q0 = group.amplitude_contrast
    gamma = (
        math.pi * wavelength * np.einsum("...i,ij,...j->...", s, astigmatism, s)
        + 0.5 * math.pi * cs * wavelength**3 * squared**2
        - float(optics.phase_shift[i])
        - math.atan(q0 / math.sqrt(1.0 - q0 * q0))
    )
    for coefficient, polynomial in zip(group.even, even_polynomials(*s.T), strict=False):
        gamma += coefficient * polynomial.T
    envelope = np.exp(-float(optics.b_factor[i]) * squared / 4.0) * float(optics.scale[i])
    dose = float(optics.dose[i])
    if dose > 0.0:  # Grant & Grigorieff's critical exposure, as RELION writes it
        s_norm = np.maximum(np.sqrt(squared), 1e-6)
        envelope = np.exp(-0.5 * dose / (0.245 * s_norm**-1.665 + 2.81)) * float(optics.scale[i])
    return -np.sin(gamma) * envelope


def _cryodrgn(optics: Optics, i: int, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """cryoDRGN's formula, with the wavelength given: the sign is the opposite of RELION's."""
    group = optics.groups[int(optics.group[i])]
    angle = np.arctan2(s[..., 1], s[..., 0])
    squared = (s**2).sum(-1)
    u, v = float(optics.defocus_u[i]), float(optics.defocus_v[i])
    defocus = 0.5 * (u + v + (u - v) * np.cos(2.0 * (angle - float(optics.defocus_angle[i]))))
    wavelength = group.wavelength
    gamma = 2.0 * np.pi * (
        -0.5 * defocus * wavelength * squared
        + 0.25 * group.spherical_aberration * wavelength**3 * squared**2
    ) - float(optics.phase_shift[i])
    w = group.amplitude_contrast
    envelope = np.exp(-float(optics.b_factor[i]) * squared / 4.0) * float(optics.scale[i])
    return (math.sqrt(1.0 - w * w) * np.sin(gamma) - w * np.cos(gamma)) * envelope


@pytest.mark.parametrize("group", PLAIN)
def test_the_ctf_is_relions_and_the_negative_of_cryodrgns(
    group: int, generator: torch.Generator
) -> None:
    optics = random_optics(5, GROUPS, generator, group)
    s = _frequencies(32, 1.1)
    ours = ctf(optics, s).numpy()
    for i in range(5):
        np.testing.assert_allclose(ours[i], _relion(optics, i, s.numpy()), **tolerances.CTF_FLOAT64)
        np.testing.assert_allclose(
            ours[i], -_cryodrgn(optics, i, s.numpy()), **tolerances.CTF_FLOAT64
        )


def test_the_ctf_has_even_aberrations_magnification_and_dose(generator: torch.Generator) -> None:
    optics = random_optics(5, GROUPS, generator, 3)
    assert bool((optics.dose > 0.0).any())
    assert bool((optics.dose == 0.0).any())
    s = _frequencies(32, 1.1)
    ours = ctf(optics, s).numpy()
    for i in range(5):
        np.testing.assert_allclose(ours[i], _relion(optics, i, s.numpy()), **tolerances.CTF_FLOAT64)


def test_zernike_polynomials_are_relions_in_its_order(generator: torch.Generator) -> None:
    assert [zernike(i, odd=True) for i in range(6)] == [
        (1, -1), (1, 1), (3, -3), (3, -1), (3, 1), (3, 3)
    ]  # fmt: skip
    assert [zernike(i, odd=False) for i in (0, 1, 3, 4, 8, 9)] == [
        (0, 0), (2, -2), (2, 2), (4, -4), (4, 4), (6, -6)
    ]  # fmt: skip
    s = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    x, y = s.numpy().T
    for phase, field, polynomials in (
        (odd_phase, "odd", odd_polynomials(x, y)), (even_phase, "even", even_polynomials(x, y)),
    ):  # fmt: skip
        for index, expected in enumerate(polynomials):
            one = tuple(float(i == index) for i in range(len(polynomials)))
            group = dataclasses.replace(GROUPS[0], **{field: one})
            np.testing.assert_allclose(phase(group, s), expected, **tolerances.CTF_FLOAT64)


def test_a_tilted_beam_is_coma(generator: torch.Generator) -> None:
    """``-2 pi Cs lambda^2 (t.s) |s|^2``, whatever the polynomials it is made of."""
    group, (x, y) = GROUPS[0], (0.4e-3, -1.1e-3)
    s = torch.rand(50, 2, generator=generator, dtype=torch.float64) - 0.5
    tilted = dataclasses.replace(group, odd=beam_tilt(group, x, y))
    coma = group.spherical_aberration * group.wavelength**2 * (x * s[:, 0] + y * s[:, 1])
    expected = -2.0 * math.pi * coma * s.square().sum(1)
    torch.testing.assert_close(odd_phase(tilted, s), expected, rtol=1e-9, atol=1e-9)


def test_the_dose_halves_what_the_critical_exposure_says() -> None:
    # 6.38 e/A^2 at 5 Angstrom: eq. 3 of Grant & Grigorieff with its constants, by hand
    critical = 0.245 * 0.2**-1.665 + 2.81
    assert critical == pytest.approx(6.383, abs=5e-3)
    assert dose_exponent(0.2) * critical == pytest.approx(0.5)


def test_a_stretched_image_sees_points_through_the_transpose(generator: torch.Generator) -> None:
    optics = random_optics(4, GROUPS, generator, 3)
    poses = random_poses(4, generator)
    seen = seen_rotations(poses, optics)
    matrix = torch.tensor(ABERRATIONS["magnification"], dtype=torch.float64).reshape(2, 2)
    expected = torch.einsum("ji,njk->nik", matrix, poses.rotations[:, :2])
    torch.testing.assert_close(seen.rotations[:, :2], expected)
    assert torch.equal(seen.rotations[:, 2], poses.rotations[:, 2])


def test_the_contrast_at_the_origin_is_plus_the_amplitude_contrast(
    generator: torch.Generator,
) -> None:
    optics = dataclasses.replace(
        random_optics(3, GROUPS, generator), phase_shift=torch.zeros(3, dtype=torch.float64)
    )
    origin = ctf(optics, torch.zeros(1, 2, dtype=torch.float64))[:, 0]
    torch.testing.assert_close(origin, 0.1 * optics.scale, **tolerances.CTF_FLOAT64)


@pytest.mark.parametrize("astigmatism", [900.0, 0.0])
def test_the_gradient_of_the_ctf(astigmatism: float) -> None:
    defocus = torch.tensor([12000.0, 9000.0], dtype=torch.float64)
    angle = torch.tensor([0.4, -1.2], dtype=torch.float64)
    s = torch.tensor([[0.0, 0.0], [0.05, -0.02], [0.0, 0.11]], dtype=torch.float64)

    def value(*columns: Tensor) -> Tensor:
        return ctf(Optics(GROUPS, torch.tensor([0, 1]), *columns), s)

    columns = (
        defocus, defocus - astigmatism, angle, torch.tensor([0.0, 0.3], dtype=torch.float64),
        torch.tensor([20.0, 0.0], dtype=torch.float64), torch.ones(2, dtype=torch.float64),
    )  # fmt: skip
    inputs = tuple(c.clone().requires_grad_() for c in columns)
    assert torch.autograd.gradcheck(value, inputs)


def test_the_wavelength_is_the_relativistic_one() -> None:
    # CODATA: 0.01968749 Angstrom at 300 kV; RELION's constants give 0.01968762
    assert GROUPS[0].wavelength == pytest.approx(0.01968762, abs=5e-9)
    assert GROUPS[0].wavelength == pytest.approx(0.01968749, rel=tolerances.WAVELENGTH)
