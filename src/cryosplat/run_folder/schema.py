"""What ``run.json`` holds, as a value with a version; its JSON Schema is made from these classes.

A run that cryosplat writes has every key, null where it does not apply. Keys that are missing are
read as null, so that the summary of an older or trimmed run can still be shown.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import InputError
from ..notes import Note
from ..validation.comparison import Source

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("run.schema.json")
"""The JSON Schema as a file."""


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
"""None where a number is not finite, which JSON cannot say."""
Resolutions = Mapping[str, Mapping[str, bool | Number]]
"""Angstrom at an FSC of "0.5" and "0.143", by curve or mask."""
Rows = list[list[Number]]


class Part(BaseModel):
    """Writes nothing that the schema does not say."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )  # fmt: skip


class Contrast(Part):
    """Whether protein is "bright" or "dark" in the images."""

    used: str
    preferred: str | None = None
    """What the data say."""
    standard_deviations: Number = None
    """By how many the data say so; negative for dark."""


class Solvent(Part):
    """The solvent that images show the molecule in: ``H(s) = 1 - k exp(-B s^2 / 4)``.

    ``map.mrc`` shows H times the molecule, ``gaussians.ply`` is the molecule itself.
    """

    contrast: Number = None
    """k; 0 in vacuum."""
    contrast_error: Number = None
    b_factor: Number = None
    """B in square Angstrom."""
    b_factor_error: Number = None
    half_sets: Rows = []
    """k and B that each half-set found."""
    gain: Number = None
    """Share by which unseen particles are more likely with it; null where nothing was looked for."""


class NoiseSubstitution(Part):
    """The control that fits images whose phases were replaced by noise."""

    skipped: bool = False
    from_shell: int | None = None
    from_angstrom: Number = None
    invented: Number = None
    """Mean half-map FSC of the shells without signal."""
    most_invented: Number = None


class Agreement(Part):
    """Of a sample of particles with the map of the other half-set."""

    particles: int
    gain: Number
    """1 where grey scale and CTFs are right."""
    gain_deviation: Number
    gain_with_dealt_rotations: Number
    strength: Number
    against: Number
    """Share of particles that contradict the map."""


class Independence(Part):
    """Of the half-sets."""

    shared_images: Number
    noise_correlation: Number


class Rival(Part):
    """A smaller point group beside the one given."""

    box_size: int
    nats: Number
    error: Number
    deviations: Number


class SymmetryControl(Part):
    """What particles say of the symmetry that was given."""

    particles: int
    strongest_rival: str
    deviations: Number
    rivals: dict[str, Rival]


class Residual(Part):
    """What was added to the Gaussians: the part of the voxel residual that the other half confirms."""

    carried: Number = None
    """Share of the map's power, mean of the shells that are resolved."""
    most: Number = None
    """Largest share in one of these shells."""
    most_angstrom: Number = None
    """Where that is."""
    weights: list[Number] = []
    """Share of a half-set's residual that is signal, per shell, 0 to 1."""
    carried_by_shell: list[Number] = []


class Guinier(Part):
    """The Guinier plot and what was done to the sharpened map."""

    b_factor: Number = None
    fit_range_angstrom: list[Number] = []
    frequencies_squared: list[Number] = []
    log_amplitude: list[Number] = []
    log_amplitude_weighted: list[Number] = []
    line: list[Number] | None = None
    """Slope and intercept."""
    correlation: Number = None
    b_factor_applied: Number = None
    low_pass_angstrom: Number = None


class LocalResolution(Part):
    """Quantiles over the mask in Angstrom."""

    median: Number = None
    q05: Number = None
    q95: Number = None
    window_angstrom: Number = None
    threshold: Number = None
    coarsest: Number = None
    unresolved: Number = None
    """Share of the mask."""
    voxels: LocalResolution | None = None
    """The same of the voxel baseline."""


class Uncertainty(Part):
    """Of the Gaussians, from the two halves."""

    matched: Number = None
    median_position: Number = None
    """Angstrom."""
    median_amplitude: Number = None
    """Relative."""


class Directional(Part):
    """Resolution by direction; one value per axis or shell."""

    cfar: Number = None
    scf: Number = None
    axes: Rows = []
    resolutions: list[Number] = []
    worst_axis: list[Number] = []
    frequencies: list[Number] = []
    cone_fsc_mean: list[Number] = []
    cone_fsc_min: list[Number] = []
    cone_fsc_max: list[Number] = []


class Views(Part):
    """How many views fall into each cell of the sphere."""

    axes: Rows = []
    bounds: Rows = []
    counts: list[int] = []


class Model(Part):
    """Agreement of the map with an atomic model."""

    file: str | None = None
    resolution_0_5: Number = Field(None, alias="resolution_0.5")
    """Angstrom where the FSC of map and model falls below 0.5."""
    correlation: Number = None
    frame: str | None = None
    shift: list[Number] = []
    residues: list[tuple[str, str, str, Number]] = []
    """Chain, number, name and correlation of each residue."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)


class Epoch(Part):
    """One pass of the image solver over the images."""

    number: int
    misfit: list[Number]
    gaussians: int


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
    growth: list[str] = []
    """Titles of the pictures of the growing map."""


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
    half_shares: Rows = []
    """Shares of the nodes by each half-set."""


class Provenance(Part):
    """Where and with what the run was made."""

    date: str = ""
    command: str = ""
    working_directory: str = ""
    versions: dict[str, str] = {}
    machine: dict[str, str | int] = {}


class Worth(Part):
    """What the particles are worth: weights and scales, by their own half-set's map."""

    used: bool
    """Whether the map was made with them."""
    kept: int
    """Particles of a weight of at least a half."""
    shares: list[Number] = []
    """Of images that hold the particle, in each half-set."""
    spreads: list[Number] = []
    """Standard deviation of the scales in each half-set, their errors taken off."""
    odds: Rows = []
    """Histogram: lower end in nats, width, particles; the ends hold all beyond them."""
    scales: Rows = []
    """Histogram of the kept particles' scales: lower end, width, particles."""
    examples: list[tuple[str, int, Number, Number]] = []
    """Name, row, weight and scale of the images in examples.mrcs, the best first, the worst last."""


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


class Refinement(Part):
    """What refining the poses came to."""

    verdict: Literal["refined", "kept", "no structure"] = "kept"
    best: int = 0
    """The round whose poses are used; 0 means the given ones."""
    rounds: list[RefinementRound] = Field(default_factory=list)
    median_degrees: Number = None
    median_angstrom: Number = None
    views_before: Views | None = None
    settings: dict[str, Any] | None = None
    seconds: Number = None


class RunSummary(Part):
    """All numbers, settings and circumstances of a run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    program: Literal["cryosplat"] = "cryosplat"
    particles: str = ""
    """The file the particles were read from."""
    box_size: int = Field(ge=1)
    pixel_size: float = Field(gt=0.0, allow_inf_nan=False)
    """Angstrom."""
    n_particles: int | None = None
    n_half: list[int] | None = None
    half_sets: str | None = None
    """Digest of which particle is in which half-set."""
    symmetry: str = "C1"
    contrast: Contrast | None = None
    solvent: Solvent | None = None
    normalised: bool | None = None
    """Whether each image was normalised by its own background."""
    resolution: Number = None
    """The headline in Angstrom; null where nothing is resolved."""
    resolution_at_nyquist: bool | None = None
    resolution_from: Source | None = None
    resolution_reason: str | None = None
    resolutions: Resolutions | None = None
    masks: Resolutions | None = None
    voxels_of_mask: Number = None
    fitted_side: int | None = None
    """Side in voxels of the cube that was fitted."""
    gaussians: list[int] | None = None
    """Of all particles, half-set 1 and half-set 2, copies by symmetry included."""
    gaussians_stored: list[int] | None = None
    smallest_scale_allowed: Number = None
    """Angstrom."""
    scale_at_floor: Number = None
    """Share of the map's scales."""
    members: int | None = None
    """Independent fits whose mean is the map."""
    choices: list[str] | None = None
    trials: list[Rows] | None = None
    """Step, gain and gain on the other half-set of the first fit to all particles and each half-set."""
    residual: Residual | None = None
    epochs: list[Epoch] | None = None
    notes: list[Note] | None = None
    """What the user should know, alarms first."""
    noise_substitution: NoiseSubstitution | None = None
    agreement: Agreement | None = None
    independence: Independence | None = None
    symmetry_control: SymmetryControl | None = None
    worth: Worth | None = None
    guinier: Guinier | None = None
    local_resolution: LocalResolution | None = None
    uncertainty: Uncertainty | None = None
    directional: Directional | None = None
    views: Views | None = None
    model: Model | None = None
    abinit: Abinit | None = None
    states: StatesSummary | None = None
    refinement: Refinement | None = None
    """Null where poses were used as given."""
    timings: dict[str, float] | None = None
    """Seconds."""
    peak_memory_bytes: Number = None
    device: str | None = None
    """What statistics and fits were computed on."""
    settings: dict[str, Any] | None = None
    provenance: Provenance | None = None


def parse_summary(text: str, path: Path) -> RunSummary:
    """The summary in ``text``, read from ``path``; keys that are not known are passed over.

    Raises `InputError` where it is no summary of a run, or that of a newer version.
    """
    try:
        values = json.loads(text)
        version = values.get("schema_version", SCHEMA_VERSION) if type(values) is dict else None
        if type(version) is int and version > SCHEMA_VERSION:
            raise InputError(
                f"{path}: written by a newer cryosplat (schema {version}, expected at most "
                f"{SCHEMA_VERSION}).\n  Remedy: pip install --upgrade cryosplat"
            )
        return RunSummary.model_validate(values, extra="ignore")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not the summary of a run ({_reason(error)}).\n"
            f"  Remedy: give the folder that cryosplat reconstruct wrote."
        ) from error


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else first["msg"]


def json_schema() -> str:
    """The JSON Schema of ``run.json``, as it is committed beside this file."""
    schema = RunSummary.model_json_schema(mode="serialization")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema, indent=1) + "\n"


if __name__ == "__main__":  # python -m cryosplat.run_folder.schema > run.schema.json
    sys.stdout.write(json_schema())
