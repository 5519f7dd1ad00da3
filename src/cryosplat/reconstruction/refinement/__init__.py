"""Poses refined against the maps of their own half-sets, before a reconstruction."""

from .recipe import refine
from .values import OpticsChanges, Refinement, Round

__all__ = ["OpticsChanges", "Refinement", "Round", "refine"]
