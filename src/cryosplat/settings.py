"""What a user may choose about a reconstruction, as one value; in and out of TOML."""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from .errors import SettingsError
from .symmetry import symmetry_name

FEWEST_GAUSSIANS, MOST_GAUSSIANS = 8, 2_000_000
MOST_STEPS = 100_000
PAPER_GAUSSIANS = 30_000
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
    ``split_after``: epochs (from 1) after which every
    Gaussian is split in two. ``shape``: "isotropic" gives each Gaussian one scale. ``weights``:
    "noise" divides residuals by the variance of the noise, "equal" compares pixels. ``floor``: no
    scale falls below it, in pixels of the map's grid. ``seed`` of the order of the images.
    """

    epochs: int | None = None
    batch_size: int = 16
    rate: float | None = None
    gamma: float | None = None
    factors: tuple[float, float, float, float] | None = None
    split_after: tuple[int, ...] = ()
    shape: Literal["anisotropic", "isotropic"] = "anisotropic"
    weights: Literal["noise", "equal"] = "noise"
    floor: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        checks = (
            ("epochs", self.epochs is None or 1 <= self.epochs <= 10_000, "1 to 10,000"),
            ("batch_size", 1 <= self.batch_size <= 4096, "1 to 4,096 images"),
            ("rate", self.rate is None or 0.0 < self.rate < 1.0, "between 0 and 1"),
            ("gamma", self.gamma is None or 0.0 < self.gamma <= 1.0, "above 0 and at most 1"),
            ("shape", self.shape in ("anisotropic", "isotropic"), "'anisotropic' or 'isotropic'"),
            ("weights", self.weights in ("noise", "equal"), "'noise' or 'equal'"),
            ("floor", 0.0 <= self.floor < 10.0, "0 to 10 pixels"),
            ("seed", self.seed >= 0, "0 or more"),
        )
        for name, valid, expected in checks:
            if not valid:
                raise SettingsError(
                    f"ImageSchedule: {name} is {getattr(self, name)!r}, expected {expected}."
                )

    @staticmethod
    def paper() -> ImageSchedule:
        """CryoSplat's own (section 4): one image a step, pixels compared, no floor."""
        return ImageSchedule(
            epochs=5, batch_size=1, rate=1e-3, gamma=0.1, factors=(1.0, 1.0, 1.0, 1.0),
            weights="equal", floor=0.0,
        )  # fmt: skip

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

    ``gaussians``: their number in the whole map, None to let held-out particles choose; ``start``:
    first positions from the statistics of the data, at random, or the folder of an earlier run of
    the same half-sets; ``contrast``: how the molecule looks in the images, "auto" to let the data
    decide; ``seed`` of every random choice; ``steps`` of each fit, None to let held-out particles
    choose; ``held_out``: the share of each half-set that chooses; ``solver``: descent on the
    statistics of all particles, or on mini-batches of images as ``images`` says; ``quick``: leave out
    the control that fits everything a second time; ``mask``: file of the mask of the FSC, None to find
    one; ``model``: file of an atomic model to compare the map with; ``symmetry``: the point group of
    the map, about RELION's axes, as `symmetry_name` takes it.

    Raises
    ------
    SettingsError
        A value is outside its range or of another type.
    """

    gaussians: int | None = None
    start: str = "statistics"
    contrast: Literal["auto", "bright", "dark"] = "auto"
    seed: int = 0
    steps: int | None = None
    held_out: float = 0.1
    solver: Literal["statistics", "images"] = "statistics"
    quick: bool = False
    mask: str | None = None
    model: str | None = None
    symmetry: str = "C1"
    images: ImageSchedule = ImageSchedule()

    def __post_init__(self) -> None:
        counts = (
            ("gaussians", self.gaussians, FEWEST_GAUSSIANS, MOST_GAUSSIANS),
            ("steps", self.steps, 1, MOST_STEPS),
        )
        for name, given, low, high in counts:
            if given is not None and not (_is_whole(given) and low <= given <= high):
                raise _wrong(name, given, f"a whole number from {low:,} to {high:,}")
        choices = (
            ("contrast", self.contrast, ("auto", "bright", "dark")),
            ("solver", self.solver, ("statistics", "images")),
            ("quick", self.quick, (False, True)),
        )
        for name, given, allowed in choices:
            if given not in allowed:
                raise _wrong(name, given, "one of " + ", ".join(map(repr, allowed)))
        for name, given in (("mask", self.mask), ("model", self.model)):
            if given is not None and not Path(given).is_file():
                raise _wrong(name, given, "an existing file")
        if self.start not in ("statistics", "random") and not Path(self.start).is_dir():
            raise _wrong("start", self.start, "'statistics', 'random' or the folder of a run")
        if not (_is_whole(self.seed) and 0 <= self.seed < 2**63):
            raise _wrong("seed", self.seed, "a whole number, 0 or more")
        number = isinstance(self.held_out, (int, float)) and not isinstance(self.held_out, bool)
        if not (number and 0.0 < self.held_out <= 0.5):
            raise _wrong("held_out", self.held_out, "a share above 0 and at most 0.5")
        try:
            object.__setattr__(self, "symmetry", symmetry_name(self.symmetry))
        except SettingsError as error:
            raise SettingsError(f"settings: {error}") from None

    @staticmethod
    def paper(gaussians: int | None = None, seed: int = 0) -> ReconstructionSettings:
        """CryoSplat's setting (section 4): random start, one image a step, 30,000 Gaussians."""
        return ReconstructionSettings(
            gaussians=gaussians or PAPER_GAUSSIANS, start="random", seed=seed, solver="images",
            images=ImageSchedule.paper(),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values; those left to the data are None."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> ReconstructionSettings:
        """The settings with these values, the others at their defaults.

        Raises `SettingsError` for a name that is no setting.
        """
        _check_names(ReconstructionSettings, values, "settings")
        images = values.get("images", {})
        if isinstance(images, ImageSchedule):
            return ReconstructionSettings(**values)
        if not isinstance(images, Mapping):
            raise _wrong("images", images, "a table of settings")
        _check_names(ImageSchedule, images, "settings, images")
        # TOML has lists, settings have tuples
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in images.items()
        }
        try:
            schedule = ImageSchedule(**plain)
        except TypeError as error:
            raise SettingsError(
                f"settings, images: a value is of the wrong kind ({error})."
            ) from None
        return ReconstructionSettings(**{**values, "images": schedule})

    def to_toml(self) -> str:
        """The settings as a TOML document; those left to the data are left out."""
        values = self.to_dict()
        images = values.pop("images")
        lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
        lines += ["", "[images]"]
        lines += [f"{name} = {_toml(value)}" for name, value in images.items() if value is not None]
        return "\n".join(lines) + "\n"

    @staticmethod
    def from_toml(path: str | os.PathLike[str]) -> ReconstructionSettings:
        """The settings in a TOML file, as `to_toml` writes them.

        Raises `SettingsError` when the file cannot be read or is no TOML.
        """
        try:
            values = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path}: not a TOML file ({error}).\n"
                f"  Remedy: one setting a line, such as seed = 0"
            ) from error
        try:
            return ReconstructionSettings.from_dict(values)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None


def _check_names(kind: type, values: Mapping[str, Any], where: str) -> None:
    names = [field.name for field in fields(kind)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"{where}: {name!r} is no setting, expected some of {', '.join(names)}.{meant}"
            )


def _toml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value) if isinstance(value, (str, bool)) else repr(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(name: str, given: object, expected: str) -> SettingsError:
    return SettingsError(f"settings: {name} is {given!r}, expected {expected}.")
