"""The map as a mixture of anisotropic Gaussians: a value in physical units."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .errors import SettingsError


@dataclass(frozen=True, slots=True)
class GaussianMixture:
    """``V(r) = sum_g A_g N(r; mu_g, Sigma_g)``, with normalised Gaussians N (CryoSplat, section 3).

    ``means`` (k, 3) as (x, y, z) in Angstrom from the rotation centre; ``scales`` (k, 3), standard
    deviations in Angstrom along the axes of the Gaussian; ``quaternions`` (k, 4) as (w, x, y, z),
    unit length, turning those axes into the map's; ``amplitudes`` (k,), each the Gaussian's
    integral. A voxel of the map holds the mass inside it: ``sum(map) == sum(amplitudes)``.
    """

    means: Tensor
    scales: Tensor
    quaternions: Tensor
    amplitudes: Tensor

    def __post_init__(self) -> None:
        k = self.means.shape[0]
        expected = {"means": (k, 3), "scales": (k, 3), "quaternions": (k, 4), "amplitudes": (k,)}
        for field, shape in expected.items():
            given = tuple(getattr(self, field).shape)
            if given != shape:
                raise SettingsError(
                    f"GaussianMixture: {field} has shape {given}, expected {shape}."
                )

    def __len__(self) -> int:
        return self.means.shape[0]

    def covariances(self) -> Tensor:
        """``Sigma = Q S S^T Q^T``, (k, 3, 3) in square Angstrom."""
        half = quaternions_to_matrices(self.quaternions) * self.scales[:, None, :]
        return half @ half.transpose(1, 2)

    def select(self, index: Tensor) -> GaussianMixture:
        """The Gaussians ``index``."""
        return GaussianMixture(*(getattr(self, f.name)[index] for f in fields(self)))

    def rotated(self, rotation: Tensor) -> GaussianMixture:
        """The mixture turned by ``rotation`` (3, 3): ``mu -> R mu``, ``Sigma -> R Sigma R^T``."""
        turned = rotation @ quaternions_to_matrices(self.quaternions)
        return GaussianMixture(
            self.means @ rotation.T, self.scales, matrices_to_quaternions(turned), self.amplitudes
        )


def concatenate(mixtures: list[GaussianMixture]) -> GaussianMixture:
    """All Gaussians of several mixtures in one."""
    names = [f.name for f in fields(GaussianMixture)]
    return GaussianMixture(*(torch.cat([getattr(m, n) for m in mixtures]) for n in names))


def mean_of(mixtures: list[GaussianMixture]) -> GaussianMixture:
    """The mean of several mixtures: all their Gaussians, amplitudes divided by their number."""
    merged = concatenate(mixtures)
    return replace(merged, amplitudes=merged.amplitudes / len(mixtures))


def quaternions_to_matrices(quaternions: Tensor) -> Tensor:
    """Rotation matrices (k, 3, 3) from quaternions (k, 4) as (w, x, y, z), normalised here."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).reshape(*quaternions.shape[:-1], 3, 3)


def matrices_to_quaternions(matrices: Tensor) -> Tensor:
    """Unit quaternions (k, 4) as (w, x, y, z) with w >= 0 from rotation matrices (k, 3, 3)."""
    from scipy.spatial.transform import Rotation

    xyzw = Rotation.from_matrix(matrices.detach().cpu().numpy()).as_quat(canonical=True)
    return torch.as_tensor(xyzw[:, [3, 0, 1, 2]], dtype=matrices.dtype, device=matrices.device)
