"""What every recipe begins with: half-sets, the noise of images, what tells sets of them apart."""

from ._data import measured_noise, with_half_sets
from ._identity import digests

__all__ = ["digests", "measured_noise", "with_half_sets"]
