"""What the parts of ``run.json`` are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


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
