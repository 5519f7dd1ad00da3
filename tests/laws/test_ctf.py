"""The contrast transfer function against independent formulas, its twin, and its own gradient."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tolerances
import torch
from numpy.typing import NDArray
from problems import random_optics
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.optics import Optics, OpticsGroup, ctf
from cryosplat.poses import Poses
from cryosplat.statistics._weighting import optics_columns, weigh

GROUPS = (
    OpticsGroup("300 kV", 1.1, 32, 300e3, 2.7e7, 0.1),
    OpticsGroup("200 kV", 1.1, 33, 200e3, 0.01e7, 0.07),
    OpticsGroup("no aberration, phase contrast", 1.1, 32, 120e3, 0.0, 0.0),
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


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
    envelope = np.exp(-float(optics.b_factor[i]) * squared / 4.0) * float(optics.scale[i])
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


@pytest.mark.parametrize("group", range(len(GROUPS)))
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


def test_the_contrast_at_the_origin_is_plus_the_amplitude_contrast(
    generator: torch.Generator,
) -> None:
    optics = dataclasses.replace(
        random_optics(3, GROUPS, generator), phase_shift=torch.zeros(3, dtype=torch.float64)
    )
    origin = ctf(optics, torch.zeros(1, 2, dtype=torch.float64))[:, 0]
    torch.testing.assert_close(origin, 0.1 * optics.scale, **tolerances.CTF_FLOAT64)


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_the_kernels_ctf_is_the_definition(group: int, generator: torch.Generator) -> None:
    box, n = GROUPS[group].box_size, 4
    optics = random_optics(n, GROUPS, generator, group)
    poses = Poses(torch.eye(3).expand(n, 3, 3), torch.zeros(n, 2))
    batch = Batch(torch.arange(n), torch.zeros(n, box, box), poses, optics)
    transforms = np.ones((n, box, box // 2 + 1), np.complex64)
    out = np.empty((n, box, box // 2 + 1, 3), np.float32)
    precision = np.ones((len(GROUPS), box // 2 + 1), np.float32)
    shifts = np.full((n, 2), box // 2, float)  # the phase origin at pixel 0: no ramp
    radii, energy, count = np.full(n, box / 2.0), np.empty(n), np.empty(n, np.int64)
    columns, groups = optics_columns(batch.optics), optics.group.numpy()
    weigh(transforms, columns, shifts, precision, groups, radii, out, energy, count)
    expected = ctf(optics, _frequencies(box, 1.1)).numpy()
    np.testing.assert_allclose(out[..., 0], expected, **tolerances.CTF_KERNEL)
    np.testing.assert_allclose(out[..., 1], 0.0, **tolerances.CTF_KERNEL)
    np.testing.assert_allclose(out[..., 2], expected**2, **tolerances.CTF_KERNEL)


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
