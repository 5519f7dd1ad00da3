"""Values at a prompt: numpy or torch in, our errors for what does not fit, a short text out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cryosplat import (
    Batch,
    GaussianMixture,
    Grid,
    Optics,
    OpticsGroup,
    Poses,
    SettingsError,
    voxelize,
)

TURN = [1.0, 0.0, 0.0, 0.0]


def _mixture(**changed: object) -> GaussianMixture:
    parts: dict[str, object] = {
        "means": np.zeros((2, 3)),
        "scales": [[1.0, 2.0, 3.0]] * 2,
        "quaternions": [TURN, TURN],
        "amplitudes": (1, 2),
    }
    return GaussianMixture(**(parts | changed))  # type: ignore[arg-type]


def _optics(n: int) -> Optics:
    zero = torch.zeros(n, dtype=torch.float64)
    group = OpticsGroup("one", 1.5, 8, 300e3, 2.7e7, 0.1)
    return Optics((group,), zero.long(), zero + 15e3, zero + 14e3, zero, zero, zero, zero + 1.0)


def _poses(n: int) -> Poses:
    return Poses(torch.eye(3).repeat(n, 1, 1), torch.zeros(n, 2))


def test_arrays_and_lists_become_tensors() -> None:
    mixture = _mixture()
    assert mixture.means.dtype == torch.float64 and mixture.amplitudes.dtype == torch.float32
    assert mixture.amplitudes.tolist() == [1.0, 2.0]
    poses = Poses(np.eye(3)[None], [[0.0, 1.5]])  # type: ignore[arg-type]
    assert poses.shifts.shape == (1, 2)


def test_tensors_stay_the_same_objects() -> None:
    means = torch.zeros(2, 3, requires_grad=True)
    assert _mixture(means=means).means is means


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: _mixture(scales=-np.ones((2, 3))), "scales are -1 Å, expected standard deviations"),
        (lambda: _mixture(scales=np.ones((2, 2))), r"scales has shape \(2, 2\), expected \(2, 3\)"),
        (lambda: _mixture(amplitudes=[1.0]), r"amplitudes has shape \(1,\), expected \(2,\)"),
        (lambda: _mixture(means="here"), "means is str, expected an array of numbers"),
        (lambda: _mixture(means=np.zeros((2, 3), complex)), "expected real numbers"),
        (lambda: _mixture(means=torch.zeros(2, 3, device="meta")), "expected one device"),
        (lambda: Poses(np.eye(3), [[0, 0]]), r"rotations has shape \(3, 3\), expected \(n, 3, 3\)"),  # type: ignore[arg-type]
        (
            lambda: Batch(torch.arange(2), torch.zeros(2, 8, 8), _poses(1), _optics(2)),
            "1 poses and the optics of 2 particles for 2 images",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_at_construction(
    build: Callable[[], object], expected: str
) -> None:
    with pytest.raises(SettingsError, match=expected):
        build()


def test_texts_are_short() -> None:
    poses = Poses(torch.eye(3).repeat(3, 1, 1), torch.arange(6.0).reshape(3, 2))
    batch = Batch(torch.arange(3), torch.zeros(3, 8, 8), poses, _optics(3))
    assert repr(_mixture()) == "GaussianMixture(2 Gaussians, scales 1 to 3 Å)"
    assert repr(_mixture(symmetry="D2")) == (
        "GaussianMixture(8 Gaussians, D2, 2 stored, scales 1 to 3 Å)"
    )
    assert repr(poses) == "Poses(3 orientations, shifts 0 to 5 Å)"
    assert repr(_optics(3)) == "Optics(3 particles, 1 group, defocus 1.5 µm)"
    assert repr(batch) == "Batch(3 images of 8 px)"


def test_a_mixture_is_saved_and_loaded(tmp_path: Path) -> None:
    mixture = _mixture(symmetry="C3", means=np.arange(6.0).reshape(2, 3))
    mixture.save(tmp_path / "m.ply")
    loaded = GaussianMixture.load(tmp_path / "m.ply")
    grid = Grid(16, 2.0)
    assert loaded.symmetry == "C3"
    assert torch.equal(voxelize(loaded, grid), voxelize(mixture.to(dtype=torch.float32), grid))
