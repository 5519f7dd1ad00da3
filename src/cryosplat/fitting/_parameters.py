"""The eleven learnable numbers of each Gaussian, without constraints (CryoSplat, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..mixture import GaussianMixture


def inverse_softplus(values: Tensor) -> Tensor:
    """``x`` with ``softplus(x) == values``."""
    return values + torch.log(-torch.expm1(-values))


class MixtureParameters(nn.Module):
    """Unconstrained parameters: mean (3), scales (3, softplus), quaternion (4), amplitude (softplus).

    Lengths are held in units of ``length`` (the pixel of the grid that is fitted) and amplitudes in
    units of ``mass``, so that one step size suits every data set. Scales never fall below ``floor``
    units: narrower Gaussians alias on the grid. A symmetric mixture has those of one asymmetric unit.
    """

    def __init__(self, mixture: GaussianMixture, length: float, floor: float) -> None:
        super().__init__()
        self.length, self.floor, self.symmetry = length, floor, mixture.symmetry
        self.mass = float(mixture.amplitudes.mean())
        excess = (mixture.scales / length - floor).clamp_min(1e-3)
        self.means = nn.Parameter(mixture.means / length)
        self.scales = nn.Parameter(inverse_softplus(excess))
        self.quaternions = nn.Parameter(mixture.quaternions.clone())
        self.amplitudes = nn.Parameter(
            inverse_softplus((mixture.amplitudes / self.mass).clamp_min(1e-6))
        )

    def mixture(self) -> GaussianMixture:
        """The mixture in physical units, differentiable by the parameters."""
        return GaussianMixture(
            self.means * self.length,
            (self.floor + functional.softplus(self.scales)) * self.length,
            functional.normalize(self.quaternions, dim=-1),
            functional.softplus(self.amplitudes) * self.mass,
            self.symmetry,
        )
