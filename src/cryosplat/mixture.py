"""The map as a mixture of anisotropic Gaussians: a value in physical units."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import Columns, described, one_device, real_tensor, span
from .errors import SettingsError
from .io.ply import read_ply, write_ply
from .symmetry import order_of, rotations_of, symmetry_name

TENSORS = ("means", "scales", "quaternions", "amplitudes")


@dataclass(frozen=True, slots=True, repr=False)
class GaussianMixture(Columns):
    """``V(r) = sum_g A_g N(r; mu_g, Sigma_g)``, with normalised Gaussians N (CryoSplat, section 3).

    ``means`` (k, 3) as (x, y, z) in Angstrom from the rotation centre; ``scales`` (k, 3), standard
    deviations in Angstrom along the axes of the Gaussian; ``quaternions`` (k, 4) as (w, x, y, z),
    unit length, turning those axes into the map's; ``amplitudes`` (k,), each the Gaussian's
    integral. A voxel of the map holds the mass inside it: ``sum(map) == sum(amplitudes)``.

    With a ``symmetry`` (a point group, see `symmetry`) the Gaussians are those of one asymmetric
    unit, and the map is the sum over the group's rotations, ``sum_S V(S^-1 r)``: what `whole` holds.
    """

    means: Tensor
    scales: Tensor
    quaternions: Tensor
    amplitudes: Tensor
    symmetry: str = "C1"

    def __post_init__(self) -> None:
        k = None
        for name, width in zip(TENSORS, (3, 3, 4, None), strict=True):
            shape = (k,) if width is None else (k, width)
            tensor = real_tensor("GaussianMixture", name, getattr(self, name), shape)
            object.__setattr__(self, name, tensor)
            k = len(tensor)
        one_device("GaussianMixture", (getattr(self, name) for name in TENSORS))
        known = self.scales.device.type != "meta"  # which has shapes and no values
        if known and bool((self.scales.detach() < 0.0).any()):
            raise SettingsError(
                f"GaussianMixture: scales are {span(self.scales.detach())} Å, expected standard "
                f"deviations above 0.\n"
                f"  Likely cause: logarithms, as files of 3-D Gaussian splatting hold. "
                f"Remedy: give exp(scales)."
            )
        object.__setattr__(self, "symmetry", symmetry_name(self.symmetry))

    def __repr__(self) -> str:
        n = len(self) * self.copies
        of = "" if self.copies == 1 else f"{self.symmetry}, {len(self):,} stored"
        widths = span(self.scales.detach())
        where = "" if self.means.device.type == "cpu" else str(self.means.device)
        return described(
            "GaussianMixture", f"{n:,} Gaussians", of, f"scales {widths} Å" if widths else "", where
        )

    @staticmethod
    def load(path: str | os.PathLike[str]) -> GaussianMixture:
        """The mixture in a file that `save` wrote, or in a run's ``gaussians.ply``.

        Raises `InputError` as `io.ply.read_ply` does.
        """
        ply = read_ply(path)
        return GaussianMixture(ply.means, ply.scales, ply.quaternions, ply.amplitudes, ply.symmetry)  # pyright: ignore[reportArgumentType]

    def save(
        self,
        path: str | os.PathLike[str],
        comments: tuple[str, ...] = (),
        extra: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Write the mixture as a PLY file in float32, whole or not at all.

        ``comments`` go into its header, ``extra`` columns (k,) into its rows. Raises `InputError`
        for values that are not finite or columns that do not fit, and `OutputError`.
        """
        means, scales, quaternions, amplitudes = (
            getattr(self, name).detach().cpu().numpy() for name in TENSORS
        )
        write_ply(path, means, scales, quaternions, amplitudes, comments, extra, self.symmetry)

    def __len__(self) -> int:
        """How many Gaussians are stored, those of one asymmetric unit."""
        return self.means.shape[0]

    @property
    def copies(self) -> int:
        """How many asymmetric units the map has."""
        return order_of(self.symmetry)

    def whole(self) -> GaussianMixture:
        """All Gaussians of the map, one asymmetric unit after the other, the stored one first.

        Without symmetry of its own; differentiable by the stored Gaussians.
        """
        if self.symmetry == "C1":
            return self
        turns = torch.from_numpy(rotations_of(self.symmetry).copy()).to(self.means)
        quaternions = quaternion_products(
            matrices_to_quaternions(turns)[:, None], self.quaternions[None]
        )
        return GaussianMixture(
            torch.einsum("sij,kj->ski", turns, self.means).reshape(-1, 3),
            self.scales.repeat(self.copies, 1),
            quaternions.reshape(-1, 4),
            self.amplitudes.repeat(self.copies),
        )

    def covariances(self) -> Tensor:
        """``Sigma = Q S S^T Q^T``, (k, 3, 3) in square Angstrom."""
        half = quaternions_to_matrices(self.quaternions) * self.scales[:, None, :]
        return half @ half.transpose(1, 2)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GaussianMixture:
        """The same on a device, or in another precision."""
        moved = {name: getattr(self, name).to(device=device, dtype=dtype) for name in TENSORS}
        return replace(self, **moved)

    def rotated(self, rotation: Tensor) -> GaussianMixture:
        """The mixture turned by ``rotation`` (3, 3): ``mu -> R mu``, ``Sigma -> R Sigma R^T``.

        All of its Gaussians, without symmetry: the axes would turn with them.
        """
        whole = self.whole()
        turned = rotation @ quaternions_to_matrices(whole.quaternions)
        return GaussianMixture(
            whole.means @ rotation.T, whole.scales, matrices_to_quaternions(turned),
            whole.amplitudes,
        )  # fmt: skip


def concatenate(mixtures: Sequence[GaussianMixture]) -> GaussianMixture:
    """All Gaussians of several mixtures of one symmetry in one.

    Raises `SettingsError` for mixtures of different symmetries.
    """
    names = sorted({m.symmetry for m in mixtures})
    if len(names) > 1:
        raise SettingsError(
            f"concatenate: the mixtures have the symmetries {' and '.join(names)}, expected one. "
            f"Remedy: take their whole() first."
        )
    return GaussianMixture.concatenate(mixtures)


def mean_of(mixtures: Sequence[GaussianMixture]) -> GaussianMixture:
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


def quaternion_products(first: Tensor, second: Tensor) -> Tensor:
    """Quaternions (..., 4) of the ``second`` turn, then the ``first``; shapes broadcast."""
    w, x, y, z = first.unbind(-1)
    a, b, c, d = second.unbind(-1)
    return torch.stack(
        [
            w * a - x * b - y * c - z * d, w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b, w * d + x * c - y * b + z * a,
        ], -1,
    )  # fmt: skip


def matrices_to_quaternions(matrices: Tensor) -> Tensor:
    """Unit quaternions (k, 4) as (w, x, y, z) with w >= 0 from rotation matrices (k, 3, 3)."""
    from scipy.spatial.transform import Rotation

    xyzw = Rotation.from_matrix(matrices.detach().cpu().numpy()).as_quat(canonical=True)
    return torch.as_tensor(xyzw[:, [3, 0, 1, 2]], dtype=matrices.dtype, device=matrices.device)
