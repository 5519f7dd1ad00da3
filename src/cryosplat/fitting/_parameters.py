"""The eleven learnable numbers of each Gaussian, without constraints (CryoSplat, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..mixture import TENSORS, GaussianMixture
from ._schedule import Schedule

SMALLEST = 1e-9  # of an amplitude, in units of mass
NARROWEST = 0.02  # of the floor: how far above it the narrowest scale begins


def inverse_softplus(values: Tensor) -> Tensor:
    """``x`` with ``softplus(x) == values``."""
    return values + torch.log(-torch.expm1(-values))


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the numbers of a Gaussian are learned: means, scales (softplus), quaternions, amplitudes
    (softplus).

    ``length`` (Angstrom) and ``mass`` are the units of lengths and amplitudes, so that one step size
    suits every data set; no scale falls below ``floor`` (in units of ``length``), for narrower
    Gaussians alias on the grid. "isotropic" Gaussians have one scale, the geometric mean of three.
    """

    length: float
    mass: float
    floor: float
    shape: Literal["anisotropic", "isotropic"] = "anisotropic"

    @staticmethod
    def of(mixtures: Sequence[GaussianMixture], length: float, floor: float) -> Encoding:
        """In units of ``length`` and of the mean amplitude of ``mixtures``; ``floor`` in lengths."""
        amplitudes = torch.cat([mixture.amplitudes for mixture in mixtures])
        return Encoding(length, float(amplitudes.mean()), floor)

    def encode(self, mixture: GaussianMixture) -> dict[str, Tensor]:
        """The unconstrained parameters of a mixture, by the names of its tensors."""
        scales, amplitudes = mixture.scales / self.length, mixture.amplitudes / self.mass
        if self.shape == "isotropic":
            scales = scales.log().mean(1, keepdim=True).exp()
        excess = (scales - self.floor).clamp_min(NARROWEST * self.floor + SMALLEST)
        return {
            "means": mixture.means / self.length,
            "scales": inverse_softplus(excess),
            "quaternions": mixture.quaternions.clone(),
            "amplitudes": inverse_softplus(amplitudes.clamp_min(SMALLEST)),
        }

    def decode(self, parameters: Mapping[str, Tensor], symmetry: str = "C1") -> GaussianMixture:
        """The mixture in physical units, differentiable by the parameters."""
        scales = self.floor + functional.softplus(parameters["scales"])
        return GaussianMixture(
            parameters["means"] * self.length,
            scales.expand(-1, 3) * self.length,
            functional.normalize(parameters["quaternions"], dim=-1),
            functional.softplus(parameters["amplitudes"]) * self.mass,
            symmetry,
        )


class Learner:
    """Mixtures while they are learned: their parameters, Adam's moments of them, and the step."""

    def __init__(
        self,
        parameters: Sequence[Mapping[str, Tensor]],
        symmetries: Sequence[str],
        encoding: Encoding,
        schedule: Schedule,
        step: int,
    ) -> None:
        self.symmetries, self.encoding, self.schedule = tuple(symmetries), encoding, schedule
        self.step = step
        self.parameters = [
            {name: values[name].detach().clone().requires_grad_() for name in TENSORS}
            for values in parameters
        ]
        kinds = ([values[name] for values in self.parameters] for name in TENSORS)
        groups = [{"params": kind} for kind in kinds]
        self.adam = torch.optim.Adam(groups, lr=0.0, betas=schedule.betas, fused=True)

    def mixtures(self) -> tuple[GaussianMixture, ...]:
        """The mixtures as they stand, differentiable by the parameters."""
        pairs = zip(self.parameters, self.symmetries, strict=True)
        return tuple(self.encoding.decode(values, symmetry) for values, symmetry in pairs)

    def update(self) -> None:
        """One step of Adam; mixtures that no gradient has reached stay as they are."""
        rates = self.schedule.rates_at(self.step)
        for group, rate in zip(self.adam.param_groups, rates, strict=True):
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.step += 1

    def forget(self) -> None:
        """No step follows: Adam's moments are of no more use."""
        self.adam.state.clear()

    def state(self) -> dict[str, Any]:
        """All that later steps depend on, besides the schedule."""
        moments = [
            {name: dict(self.adam.state.get(value, {})) for name, value in values.items()}
            for values in self.parameters
        ]
        return {
            "step": self.step, "encoding": asdict(self.encoding), "symmetries": self.symmetries,
            "parameters": self.parameters, "moments": moments,
        }  # fmt: skip

    @staticmethod
    def of(state: Mapping[str, Any], schedule: Schedule) -> Learner:
        """The learner that `state` was taken from."""
        learner = Learner(
            state["parameters"], state["symmetries"], Encoding(**state["encoding"]), schedule,
            state["step"],
        )  # fmt: skip
        for values, moments in zip(learner.parameters, state["moments"], strict=True):
            for name, value in values.items():
                if moments[name]:
                    learner.adam.state[value] = {k: m.clone() for k, m in moments[name].items()}
        return learner
