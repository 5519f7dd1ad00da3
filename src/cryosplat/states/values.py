"""What is asked of states, and what is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..devices import NAMES
from ..errors import SettingsError
from ..mixture import GaussianMixture
from ..notes import Note

MOST_CLASSES = 8
MOST_COORDINATES = 3


@dataclass(frozen=True, slots=True)
class StateSettings:
    """How states are looked for.

    ``box``: side in pixels that images are cropped to. ``starts``: random ones of each half-set.
    ``gaussians``: shared by all states; by default as many as the density has room for.
    ``contrast``: protein is "bright" or "dark" in the images, or "auto". ``refine_box``: side of a
    larger box in which states are refined; by default one that shows what half-maps resolve, if
    they are true.
    ``device``: where images are compared with states and these are learned.
    """

    box: int = 32
    starts: int = 3
    gaussians: int | None = None
    contrast: Literal["auto", "bright", "dark"] = "auto"
    seed: int = 0
    refine_box: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name, valid, expected in (
            ("box", self.box % 2 == 0 and 16 <= self.box <= 64, "an even number from 16 to 64"),
            ("starts", 1 <= self.starts <= 20, "1 to 20"),
            (
                "refine-box",
                self.refine_box is None
                or (16 <= self.refine_box <= 128 and self.refine_box % 2 == 0),
                "an even number from 16 to 128",
            ),
            ("device", self.device in NAMES, ", ".join(NAMES)),
            ("gaussians", self.gaussians is None or 20 <= self.gaussians <= 20_000, "20 to 20000"),
        ):
            if not valid:
                given = getattr(self, name.replace("-", "_"))
                raise SettingsError(f"--{name} {given}: expected {expected}.")


@dataclass(frozen=True, slots=True)
class Gain:
    """By how many nats an image prefers states to one map, with its standard error."""

    mean: float
    error: float

    @staticmethod
    def of(differences: NDArray[np.float64]) -> Gain:
        """The mean of one difference an image."""
        n = max(2, len(differences))
        return Gain(float(differences.mean()), float(differences.std() / np.sqrt(n - 1)))

    @property
    def deviations(self) -> float:
        """How many standard errors the mean is from zero."""
        return self.mean / max(self.error, 1e-12)

    def __str__(self) -> str:
        return f"{round(self.mean, 2) + 0.0:.2f} ± {self.error:.2f}"  # no -0.00


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether there are states. ``gains``: of the model of each half-set, on images of the other.

    ``agreement``: of the two half-sets' models on what each image shows, 0 for none to 1.
    ``rival``: what wrong poses alone would explain. ``cause``: what it is if no states.
    """

    found: bool
    gains: tuple[Gain, Gain]
    agreement: float
    rival: Gain
    cause: str = ""
    notes: tuple[Note, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class States:
    """Mixtures of the states of all particles and of both half-sets, those of halves in the same order.

    ``posterior`` (n, J) of each particle by the model of all; ``by_halves`` (2, n, J) by those of the
    half-sets. ``absent`` (n,): the probability that an image holds none of it.
    """

    full: list[GaussianMixture]
    halves: tuple[list[GaussianMixture], list[GaussianMixture]]
    shares: NDArray[np.float64]
    posterior: NDArray[np.float64]
    by_halves: NDArray[np.float64]
    absent: NDArray[np.float64]

    def faintest(self) -> float:
        """What is left, where it is least, of the tenth of the mass that changes most, 0 to 1."""
        amplitudes = np.stack([m.amplitudes.numpy() for m in self.full]).astype(float)
        most = amplitudes.max(0)
        left = amplitudes.min(0) / np.maximum(most, 1e-30)
        order = np.argsort(left)
        mass = np.cumsum(most[order])
        return float(left[order[np.searchsorted(mass, 0.1 * mass[-1])]])
