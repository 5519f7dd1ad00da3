"""Parts of `run.json` that say how poses and states were searched for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .measured import Views
from .parts import Number, Part, Rows


class AbinitScore(Part):
    """What a first map tells of images that it was not made from, in nats an image."""

    gain: Number
    """Over no signal."""
    shape: Number
    """Over the best round blob."""
    doubt: Number
    """Standard error of that."""


class Abinit(Part):
    """Poses that were found from nothing."""

    found: bool
    starts: list[AbinitScore] = []
    chosen: int = 0
    """The start that the map comes from, from 0."""
    hand_flipped: bool = False
    shared_resolution: Number = None
    """Angstrom: of the first map, which both half-sets began at."""
    level: int | None = None
    """Pixels of the boxes in which poses were found last."""
    unseen_images: int | None = None
    refinement: dict[str, Any] | None = None
    """With what these poses should be refined."""
    growth: list[str] = []
    """Titles of the pictures of the growing map."""


class RefinementRound(Part):
    """Poses as they were at the beginning of a round, and the maps made with them."""

    limit: Number = None
    """Finest resolution in Angstrom that images were held against."""
    likelihood: Number = None
    """Of an image under the map of the other half-set: nats above noise alone, the mean."""
    gain: Number = None
    """By how much that is above the likelihood with the given poses."""
    gain_deviation: Number = None
    angle: Number = None
    """Estimated error of the given orientations about each axis, degrees."""
    shift: Number = None
    """Estimated error of the given shifts along each axis, Angstrom."""
    moved: Number = None
    """Median change of orientation since the round before, degrees."""
    cross_fsc: list[Number] = Field(default_factory=list)
    """Mixtures against voxels of the other half-set."""
    defocus: Number = None
    """Estimated error of the given defocus, Angstrom; 0 where it stays."""


class OpticsGain(Part):
    """By how much images of the other half-set became likelier, in nats an image."""

    gain: Number = None
    gain_deviation: Number = None


class OpticsNumber(Part):
    """A refined number of an optics group, and its standard error; null where it is unknown."""

    change: Number = None
    error: Number = None


class OpticsGroupChange(Part):
    """How the optics of a group differ from the given ones."""

    name: str
    beam_tilt_x: OpticsNumber = OpticsNumber()
    """Milliradian."""
    beam_tilt_y: OpticsNumber = OpticsNumber()
    magnification: OpticsNumber = OpticsNumber()
    """A factor, relative to the largest group's."""


class OpticsRefinement(Part):
    """What refining the optics came to."""

    defocus_error: Number = None
    """Estimated error of the given defocus, Angstrom; 0 where it stays."""
    median_defocus: Number = None
    """Median change of defocus, Angstrom."""
    gains: dict[str, OpticsGain] = {}
    groups: list[OpticsGroupChange] = []


class Refinement(Part):
    """What refining the poses came to."""

    verdict: Literal["refined", "kept", "no structure"] = "kept"
    best: int = 0
    """The round whose poses are used; 0 means the given ones."""
    rounds: list[RefinementRound] = Field(default_factory=list)
    median_degrees: Number = None
    median_angstrom: Number = None
    optics: OpticsRefinement | None = None
    views_before: Views | None = None
    settings: dict[str, Any] | None = None
    seconds: Number = None


class StatesSummary(Part):
    """What `classify` or `motion` found."""

    kind: Literal["classes", "motion"]
    found: bool
    """Whether there are states, by the half-sets."""
    cause: str = ""
    """What speaks against them."""
    n: int
    """Classes, or nodes of the coordinates."""
    shares: list[Number] = []
    counts: list[int] = []
    """Particles of which each class is the most probable."""
    absent: Number = None
    """Share of the images that hold none of it."""
    gains: Rows = []
    """Nats an image over one map, with the error: of each half-set's model on the other's images."""
    agreement: Number = None
    """Of the half-sets on what each image shows, 0 to 1."""
    rival: list[Number] = []
    """Gain of wrong poses alone, with its error."""
    scores: Rows = []
    """Number of classes, gain and error."""
    resolutions: list[Number] = []
    """Angstrom at an FSC of 0.143, of the voxel map of each state."""
    starts: Rows = []
    """Nats an image that each start of both half-sets came to."""
    coordinates: int = 0
    nodes: Rows = []
    frames: Rows = []
    """Coordinates of the maps in the folder of states."""
    canonical: list[Number] = []
    """Coordinates of the state in which the motion is undone."""
    moving: dict[str, Number] = {}
    """Angstrom at an FSC of 0.143 of the part that moves with the other half-set's particles in this
    state, by what the half-maps are of."""
    further_found: bool = False
    """Whether amplitudes follow the coordinates, or parts lie elsewhere in each class."""
    further_gains: Rows = []
    """Nats an image that this gains, with the error: of each half-set's model on the other's images."""
    further: str = ""
    """Both in words."""
    half_shares: Rows = []
    """Shares of the nodes among the particles of each half-set."""
