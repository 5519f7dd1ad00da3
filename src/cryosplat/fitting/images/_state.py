"""How images are fitted, and where a fit of images stands: two values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ...errors import InputError
from ...mixture import GaussianMixture
from ...settings import ImageSchedule
from ._model import Units, decoded

SETS = ("full", "half 1", "half 2")


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the images found.

    ``misfit``: mean squared residual per Fourier coefficient in units of the noise variance, for
    each mixture, measured as the images were met; ``gaussians`` of each mixture.
    """

    number: int
    misfit: tuple[float, ...]
    gaussians: int


@dataclass(frozen=True, slots=True)
class ImageState:
    """Where a fit stands: all that its future depends on, besides the images.

    ``seed`` sets the order of the images; ``epoch``, ``pool`` and ``batch`` say what comes next;
    ``tensors`` hold parameters and moments as "full.means", "half 1.scales.exp_avg" and the like;
    ``sums`` the residuals of this epoch and how many coefficients they were summed over, for each
    mixture; ``symmetry`` that of all of them.
    """

    schedule: ImageSchedule
    seed: int
    units: Units
    epoch: int
    pool: int
    batch: int
    tensors: dict[str, Tensor]
    sums: tuple[tuple[float, float], ...]
    history: tuple[Epoch, ...]
    symmetry: str = "C1"

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the mixtures: "full", and with half-sets "half 1" and "half 2"."""
        return SETS[: len(self.sums)]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= (self.schedule.epochs or 0)

    def of_set(self, name: str) -> dict[str, Tensor]:
        """The tensors of one mixture."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }

    def mixtures(self) -> list[GaussianMixture]:
        """The mixtures as they stand, detached."""
        return [decoded(self.of_set(name), self.units, self.symmetry) for name in self.sets]

    def scalars(self) -> dict[str, Any]:
        """Everything but the tensors, as plain values."""
        return {
            "schedule": asdict(self.schedule), "seed": self.seed, "units": asdict(self.units),
            "epoch": self.epoch, "pool": self.pool, "batch": self.batch, "sums": self.sums,
            "history": [asdict(e) for e in self.history], "symmetry": self.symmetry,
        }  # fmt: skip

    @staticmethod
    def of(scalars: Mapping[str, Any], tensors: dict[str, Tensor]) -> ImageState:
        """The state that `scalars` and ``tensors`` were taken from; raises `InputError`."""
        try:
            return ImageState(
                ImageSchedule(**_tuples(scalars["schedule"])),
                int(scalars["seed"]),
                Units(**scalars["units"]),
                scalars["epoch"], scalars["pool"], scalars["batch"],
                tensors,
                tuple((float(a), float(b)) for a, b in scalars["sums"]),
                tuple(Epoch(**_tuples(e)) for e in scalars["history"]),
                str(scalars["symmetry"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"checkpoint: not the state of a fit of images ({error!r}). "
                f"Remedy: begin the fit anew; it was perhaps written by another version."
            ) from error


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
