"""THE recipe: from particles to maps, controls and everything a run folder holds."""

from .recipe import Reconstruction, reconstruct

__all__ = ["Reconstruction", "reconstruct"]
