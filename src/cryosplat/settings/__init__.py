"""What a user may choose about a reconstruction, as one value; in and out of TOML."""

from .refinement import RefinementSettings
from .values import ImageSchedule, ReconstructionSettings

__all__ = ["ImageSchedule", "ReconstructionSettings", "RefinementSettings"]
