"""Poses refined against the maps of their own half-sets, before a reconstruction."""

from .recipe import refine
from .values import Refinement, Round

__all__ = ["Refinement", "Round", "refine"]
