"""What a user may choose about a reconstruction, as one value; in and out of TOML."""

from .refinement import RefinementSettings
from .values import (
    MEMBERS,
    PAPER_IMAGES,
    STEPS,
    STEPS_OF_HALF,
    ImageSchedule,
    ReconstructionSettings,
)

__all__ = [
    "MEMBERS",
    "PAPER_IMAGES",
    "STEPS",
    "STEPS_OF_HALF",
    "ImageSchedule",
    "ReconstructionSettings",
    "RefinementSettings",
]
