"""Poses from nothing: a first map from small images, by soft assignment to all orientations."""

from .recipe import find_poses
from .values import AbinitSettings, FoundPoses, Score, Snapshot

__all__ = ["AbinitSettings", "FoundPoses", "Score", "Snapshot", "find_poses"]
