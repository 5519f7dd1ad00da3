"""What each image is worth: its signal's scale, and whether it holds the particle at all."""

from ._evidence import Evidence, gather
from ._posterior import Judged, judge

__all__ = ["Evidence", "Judged", "gather", "judge"]
