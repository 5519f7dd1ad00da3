"""Poses from nothing: a first map from small images, by soft assignment to all orientations."""

from ._axes import poses_in_axes
from .cost import search_cost
from .recipe import find_poses
from .values import AbinitSettings, FoundPoses, Score, Snapshot

__all__ = [
    "AbinitSettings",
    "FoundPoses",
    "Score",
    "Snapshot",
    "find_poses",
    "poses_in_axes",
    "search_cost",
]
