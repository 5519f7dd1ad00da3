"""What a user may choose about a reconstruction, as one value."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..errors import SettingsError
from ..symmetry import symmetry_name
from ._rules import (
    check,
    choice,
    file,
    flag,
    folder_or,
    number,
    numbers,
    point_group,
    setting,
    whole,
    wholes,
    wrong,
)
from ._toml import check_names, read_toml, toml_lines

MOST_GAUSSIANS, MOST_STEPS = 2_000_000, 100_000
STEPS, STEPS_OF_HALF = 60, 40
"""Of a fit to all particles, and to a half-set, which holds less that later steps could find."""
MEMBERS = 4
"""Independent fits at most, whose mean is the map; see docs/decisions."""
PAPER_GAUSSIANS = 30_000
PAPER_IMAGES = 500_000  # shown to each mixture: five epochs of 100,000 particles
ENOUGH_IMAGES, MOST_EPOCHS = 20_000, 100  # met over all epochs of a fit of images
MEANS_RATE, OTHERS_RATE = 0.005, 0.003  # for a single image; means in pixels
LAST_RATE = 0.04  # of the rate in the last epoch, relative to the first


@dataclass(frozen=True, slots=True)
class ImageSchedule:
    """How mixtures are fitted to images, a mini-batch at a time.

    ``epochs``: passes over the particles; ``batch_size``: images a step; ``rate``: Adam's step size
    for a single image, in the paper's units (the box is [-1/2, 1/2]), which grows with the batch as
    `step_size` says and is multiplied by ``gamma`` after each epoch. ``factors`` multiply it for
    means, scales, quaternions and amplitudes. Those that are None are left to `resolved`.
    ``split_after``: epochs (from 1) after which every Gaussian is split in two. ``shape``:
    "isotropic" gives each Gaussian one scale. ``weights``: "noise" divides residuals by the variance
    of the noise, "equal" compares pixels. ``floor``: no scale falls below it, in pixels of the map's
    grid.
    """

    epochs: int | None = setting(None, whole(1, 10_000).or_none())
    batch_size: int = setting(16, whole(1, 4096))
    rate: float | None = setting(
        None, number("a number between 0 and 1", lambda v: 0 < v < 1).or_none()
    )
    gamma: float | None = setting(
        None, number("a number above 0 and at most 1", lambda v: 0 < v <= 1).or_none()
    )
    factors: tuple[float, float, float, float] | None = setting(None, numbers(4).or_none())
    split_after: tuple[int, ...] = setting((), wholes(1))
    shape: Literal["anisotropic", "isotropic"] = setting(
        "anisotropic", choice("anisotropic", "isotropic")
    )
    weights: Literal["noise", "equal"] = setting("noise", choice("noise", "equal"))
    floor: float = setting(0.4, number("0 to 10 pixels", lambda v: 0 <= v < 10))

    def __post_init__(self) -> None:
        check(self, "images.")

    @staticmethod
    def paper() -> ImageSchedule:
        """CryoSplat's own (section 4): one image a step, pixels compared, no floor."""
        return ImageSchedule(
            epochs=5, batch_size=1, rate=1e-3, gamma=0.1, factors=(1.0, 1.0, 1.0, 1.0),
            weights="equal", floor=0.0,
        )  # fmt: skip

    @property
    def leaves_open(self) -> bool:
        """Whether the rate is left to `resolved`, and not the paper's or a given one."""
        return self.rate is None

    def resolved(self, n: int, box_size: int) -> ImageSchedule:
        """With values for what is None, those that did best from a start in the statistics.

        Enough epochs over ``n`` particles; slow means, fast shapes and amplitudes: their parameters
        move by 0.005 pixels of a box of ``box_size`` and by 0.003, for a single image.
        """
        epochs = self.epochs or min(max(5, math.ceil(ENOUGH_IMAGES / max(n, 1))), MOST_EPOCHS)
        rate = self.rate or MEANS_RATE / box_size
        factor = OTHERS_RATE / rate
        return replace(
            self,
            epochs=epochs,
            rate=rate,
            gamma=self.gamma or LAST_RATE ** (1.0 / max(epochs - 1, 1)),
            factors=self.factors or (1.0, factor, factor, factor),
        )

    def step_size(self, epoch: int) -> tuple[float, float, float, float]:
        """Adam's rates in an epoch (from 0): ``rate batch_size^(3/4) gamma^epoch`` by factor."""
        if self.rate is None or self.gamma is None or self.factors is None:
            raise SettingsError("ImageSchedule: it has values left open. Remedy: call `resolved`.")
        rate = self.rate * self.batch_size**0.75 * self.gamma**epoch
        means, scales, quaternions, amplitudes = (rate * factor for factor in self.factors)
        return means, scales, quaternions, amplitudes

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's forgetting: its squares last for as many images, whatever the batch."""
        return 0.9 ** (self.batch_size**0.5), 0.999**self.batch_size


@dataclass(frozen=True, slots=True)
class ReconstructionSettings:
    """How to reconstruct.

    ``gaussians``: their number in the whole map, None for as many as the particles inform; ``start``:
    first positions from the statistics of the data, at random, or the folder of an earlier run of
    the same half-sets; ``contrast``: how the molecule looks in the images, "auto" to let the data
    decide; ``solvent``: "none" takes the molecule to be in vacuum, as CryoSplat does, "auto" lets the
    data decide; ``seed`` of every random choice; ``steps`` of each fit, None for
    `STEPS` and `STEPS_OF_HALF`; ``solver``: descent on the statistics of all particles, or on
    mini-batches of images as ``images`` says; ``quick``: leave out the control that fits everything a
    second time; ``mask``: file of the mask of the FSC, None to find
    one; ``model``: file of an atomic model to compare the map with; ``particle_diameter`` in Angstrom
    of a sphere that the molecule lies in, None to find where it is; ``symmetry``: the point group of
    the map, about RELION's axes, as `symmetry_name` takes it; ``device`` that statistics and fits are
    computed on, "auto" for the CUDA device where there is one;
    ``particle_weights``: whether each particle counts by its posterior and with its own scale, where
    the half-maps agree better so, or all count alike.

    Raises
    ------
    SettingsError
        A value is outside its range or of another type.
    """

    gaussians: int | None = setting(None, whole(8, MOST_GAUSSIANS).or_none())
    start: str = setting("statistics", folder_or("statistics", "random"))
    contrast: Literal["auto", "bright", "dark"] = setting("auto", choice("auto", "bright", "dark"))
    solvent: Literal["auto", "none"] = setting("auto", choice("auto", "none"))
    seed: int = setting(0, whole(0))
    steps: int | None = setting(None, whole(1, MOST_STEPS).or_none())
    solver: Literal["statistics", "images"] = setting("statistics", choice("statistics", "images"))
    quick: bool = setting(False, flag())
    mask: str | None = setting(None, file().or_none())
    model: str | None = setting(None, file().or_none())
    particle_diameter: float | None = setting(
        None, number("a number of Angstrom above 0", lambda v: v > 0).or_none()
    )
    symmetry: str = setting("C1", point_group())
    device: Literal["auto", "cpu", "cuda"] = setting("auto", choice("auto", "cpu", "cuda"))
    particle_weights: Literal["auto", "equal"] = setting("auto", choice("auto", "equal"))
    images: ImageSchedule = ImageSchedule()

    def __post_init__(self) -> None:
        check(self)
        if not isinstance(self.images, ImageSchedule):
            raise wrong("images", self.images, "an ImageSchedule")
        object.__setattr__(self, "symmetry", symmetry_name(self.symmetry))

    @staticmethod
    def paper(gaussians: int | None = None, seed: int = 0) -> ReconstructionSettings:
        """CryoSplat's setting (section 4): random start, one image a step, 30,000 Gaussians."""
        return ReconstructionSettings(
            gaussians=gaussians or PAPER_GAUSSIANS, start="random", seed=seed, solver="images",
            particle_weights="equal", solvent="none", images=ImageSchedule.paper(),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values; those left to the data are None."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> ReconstructionSettings:
        """The settings with these values, the others at their defaults.

        Raises `SettingsError` for a name that is no setting and for a value that is none of it.
        """
        check_names(ReconstructionSettings, values, "settings")
        images = values.get("images", {})
        if isinstance(images, Mapping):
            check_names(ImageSchedule, images, "settings, images")
            images = ImageSchedule(**images)
        elif not isinstance(images, ImageSchedule):
            raise wrong("images", images, "a table of settings")
        return ReconstructionSettings(**{**values, "images": images})

    def to_toml(self) -> str:
        """The settings as a TOML document; those left to the data are left out."""
        values = self.to_dict()
        images = values.pop("images")
        return "\n".join([*toml_lines(values), "", "[images]", *toml_lines(images)]) + "\n"

    @staticmethod
    def from_toml(path: str | os.PathLike[str]) -> ReconstructionSettings:
        """The settings in a TOML file, as `to_toml` writes them.

        Raises `SettingsError` when the file cannot be read, is no TOML or holds no settings.
        """
        values = read_toml(path)
        try:
            return ReconstructionSettings.from_dict(values)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None
