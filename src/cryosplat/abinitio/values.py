"""What poses are sought with, and what is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor

from ..devices import NAMES
from ..errors import SettingsError
from ..mixture import GaussianMixture
from ..notes import Note
from ..particles import Particles
from ..poses import Poses
from ..settings import RefinementSettings
from ..symmetry import symmetry_name
from ..validation.polarity import BRIGHT, Polarity


@dataclass(frozen=True, slots=True)
class AbinitSettings:
    """How poses are sought.

    ``starts``: first maps, each from other random numbers, at most: no more are made once the two
    best cannot be told apart. Of those that cannot, the best ``carried`` go on to the next level.
    ``shift``: deviation of the particles' centres along each axis in Angstrom, by default 8 or, if
    that is more, 4 % of the box. ``contrast``: protein is "bright" or "dark" in the images; None: as
    the images show. ``flip``: give the other hand. ``symmetry``: "auto" looks for a point group, and
    turns map and poses to RELION's axes, a name turns them to the best axes for that group; "C1" does
    not. ``device``: where images are compared with maps, "auto" for a CUDA device where there is one.
    """

    seed: int = 0
    starts: int = 3
    carried: int = 2
    shift: float | None = None
    contrast: Literal["bright", "dark"] | None = None
    flip: bool = False
    symmetry: str = "C1"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        checks = (
            ("starts", 1 <= self.starts <= 100, "1 to 100"),
            ("carried", 1 <= self.carried <= self.starts, "1 to the number of starts"),
            ("shift", self.shift is None or 0.0 < self.shift < 1e4, "Angstrom, above 0"),
            ("device", self.device in NAMES, ", ".join(NAMES)),
            ("contrast", self.contrast in (None, "bright", "dark"), "bright, dark or None"),
        )
        if self.symmetry != "auto":
            symmetry_name(self.symmetry)
        for name, valid, expected in checks:
            if not valid:
                raise SettingsError(
                    f"abinit: {name} is {getattr(self, name)!r}, expected {expected}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return asdict(self)


Show = Callable[[str, Tensor, float], None]
"""What is told of the growing map: how far it is, the map (d, d, d), its pixel size in Angstrom."""


def unseen(title: str, volume: Tensor, pixel_size: float) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a map tells of images that it was not made from, in nats an image.

    ``gain``: logarithm of their likelihood, all poses taken together, over that of no signal, an image
    showing the particle or nothing; ``shape``: over that of the round blob that explains the other
    images best, and its standard error ``doubt``. ``n``: how many images.
    """

    gain: float
    shape: float
    doubt: float
    n: int

    @property
    def found(self) -> bool:
        """Whether the images show more than noise and round blobs: by three standard errors, and by
        more than images of a blob gain where their grey scales differ."""
        enough = max(3.0 * self.doubt, 0.02, 0.02 * self.gain)
        return math.isfinite(self.shape) and self.shape > enough and self.gain > 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ``map`` (d, d, d) on the way, of what and after which step."""

    title: str
    map: Tensor


@dataclass(frozen=True, slots=True)
class FoundPoses:
    """The ``particles`` with poses and half-sets that were found, and the maps that came with them.

    ``mixtures`` of half-set 1 and 2, with the symmetry that was found, each from its own images but
    for the first map, which both began at and whose details end at ``shared_resolution`` (Angstrom).
    ``fsc`` (shells,) of their maps in a box of ``level`` pixels. ``significance`` (n,): the weight of
    each image's best pose; ``others``: other places, in the order of their weight, in which it may be,
    as poses of all images; ``refinement``: how they should be refined. ``scores`` of all starts,
    ``chosen`` one of them. Where ``found`` is False the images show no structure, and poses are those
    of the table.
    """

    particles: Particles
    found: bool
    mixtures: tuple[GaussianMixture, GaussianMixture]
    fsc: Tensor
    level: int
    shared_resolution: float
    significance: Tensor
    scores: tuple[Score, ...]
    chosen: int
    history: tuple[Snapshot, ...]
    settings: AbinitSettings
    contrast: Polarity = BRIGHT
    notes: tuple[Note, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    others: tuple[Poses, ...] = ()
    refinement: RefinementSettings = field(
        default_factory=partial(RefinementSettings, prior="none")
    )

    @property
    def symmetry(self) -> str:
        """The point group of the maps, about RELION's axes."""
        return self.mixtures[0].symmetry
