"""What ``run.json`` holds, as a value with a version; its JSON Schema is made from these classes.

A run that cryosplat writes has every key, null where it does not apply. Keys that are missing are
read as null, so that the summary of an older or trimmed run can still be shown.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ..errors import InputError
from ..notes import Note
from ..validation.comparison import Source
from .headline import Headline
from .measured import (
    Agreement,
    Contrast,
    Directional,
    Epoch,
    Guinier,
    Independence,
    LocalResolution,
    Model,
    NoiseSubstitution,
    Residual,
    Solvent,
    SymmetryControl,
    Uncertainty,
    Views,
    Worth,
)
from .parts import Number, Part, Resolutions, Rows
from .searched import Abinit, Refinement, StatesSummary

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("run.schema.json")
"""The JSON Schema as a file."""


class Provenance(Part):
    """Where and with what the run was made."""

    date: str = ""
    command: str = ""
    working_directory: str = ""
    versions: dict[str, str] = {}
    machine: dict[str, str | int] = {}


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
    headline: Headline | None = None
    """The same in words: what to report, and what to enter at the EMDB."""
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
