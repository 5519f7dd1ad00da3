"""What a user may choose about a reconstruction, as one value; in and out of TOML."""

from .refinement import RefinementSettings
from .values import MEMBERS, STEPS, STEPS_OF_HALF, ImageSchedule, ReconstructionSettings

__all__ = [
    "MEMBERS",
    "STEPS",
    "STEPS_OF_HALF",
    "ImageSchedule",
    "ReconstructionSettings",
    "RefinementSettings",
]
