"""A mixture in the paper's units while images teach it: parameters, splitting, Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError
from ...mixture import GaussianMixture, concatenate, quaternions_to_matrices
from .._parameters import inverse_softplus

NAMES = ("means", "scales", "quaternions", "amplitudes")
SMALLEST = 1e-9  # of an amplitude or a scale in the paper's units
SPLIT = 0.8  # width of each half of a Gaussian along its longest axis, in widths of the whole


@dataclass(frozen=True, slots=True)
class Units:
    """The paper's units: the box is [-1/2, 1/2], and an image of mean grey level 1 has mass 1.

    ``length``: side of the box in Angstrom; ``mass``: sum of the pixels of an image all of whose
    pixels are at the grey level; ``floor``: no scale falls below it (units of ``length``).
    """

    length: float
    mass: float
    floor: float


def encoded(mixture: GaussianMixture, units: Units, isotropic: bool) -> dict[str, Tensor]:
    """Unconstrained parameters: means, scales (softplus), quaternions, amplitudes (softplus).

    Isotropic Gaussians have one scale, the geometric mean of the three (CryoSplat, section 3).
    """
    scales = mixture.scales.log().mean(1, keepdim=True).exp() if isotropic else mixture.scales
    excess = (scales / units.length - units.floor).clamp_min(0.02 * units.floor + SMALLEST)
    amplitudes = (mixture.amplitudes / units.mass).clamp_min(SMALLEST)
    return {
        "means": mixture.means / units.length,
        "scales": inverse_softplus(excess),
        "quaternions": mixture.quaternions.clone(),
        "amplitudes": inverse_softplus(amplitudes),
    }


def decoded(
    parameters: Mapping[str, Tensor], units: Units, symmetry: str = "C1"
) -> GaussianMixture:
    """The mixture in physical units, differentiable by the parameters."""
    scales = units.floor + functional.softplus(parameters["scales"])
    return GaussianMixture(
        parameters["means"] * units.length,
        scales.expand(-1, 3) * units.length,
        functional.normalize(parameters["quaternions"], dim=-1),
        functional.softplus(parameters["amplitudes"]) * units.mass,
        symmetry,
    )


def split(mixture: GaussianMixture) -> GaussianMixture:
    """Every Gaussian as two halves along its longest axis: same mass, mean and covariance."""
    axis = mixture.scales.argmax(1)
    longest = torch.arange(3, device=axis.device) == axis[:, None]
    axes = quaternions_to_matrices(mixture.quaternions)
    offsets = torch.einsum("gij,gj->gi", axes, longest * mixture.scales) * (1.0 - SPLIT**2) ** 0.5
    narrower = torch.where(longest, SPLIT * mixture.scales, mixture.scales)
    return concatenate(
        [
            replace(
                mixture, means=mixture.means + sign * offsets, scales=narrower,
                amplitudes=mixture.amplitudes / 2,
            )
            for sign in (1.0, -1.0)
        ]
    )  # fmt: skip


class Learner:
    """The parameters of one mixture, and Adam's moments of them."""

    def __init__(self, parameters: Mapping[str, Tensor], betas: tuple[float, float]) -> None:
        self.parameters = {
            name: parameters[name].detach().clone().requires_grad_() for name in NAMES
        }
        groups = [{"params": [value]} for value in self.parameters.values()]
        self.adam = torch.optim.Adam(groups, lr=0.0, betas=betas, fused=True)

    def step(self, rates: tuple[float, ...]) -> None:
        """One step of Adam with these rates for means, scales, quaternions and amplitudes."""
        for group, rate in zip(self.adam.param_groups, rates, strict=True):
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all that a later step depends on: "means", "means.exp_avg" and so on."""
        found = {}
        for name, parameter in self.parameters.items():
            found[name] = parameter.detach().clone()
            for moment, value in self.adam.state.get(parameter, {}).items():
                found[f"{name}.{moment}"] = value.detach().clone()
        return found

    @staticmethod
    def of(tensors: Mapping[str, Tensor], betas: tuple[float, float]) -> Learner:
        """The learner that `tensors` was taken from; raises `InputError` if some are missing."""
        missing = [name for name in NAMES if name not in tensors]
        if missing:
            raise InputError(
                f"checkpoint: it has no {missing[0]} of the Gaussians. Likely cause: the file is "
                f"no checkpoint of a fit of images. Remedy: begin the fit anew."
            )
        learner = Learner(tensors, betas)
        for name, parameter in learner.parameters.items():
            moments = {
                key.removeprefix(f"{name}."): value.clone()
                for key, value in tensors.items()
                if key.startswith(f"{name}.")
            }
            if moments:
                learner.adam.state[parameter] = moments
        return learner
