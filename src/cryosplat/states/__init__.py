"""States of a molecule: classes and motion, learned from the statistics that images weigh for each."""

from ._checkpoint import state_journal
from .canonical import Canonical, canonical_map
from .classify import Classification, classify
from .coordinates import functions_at
from .maps import StateMap, binned, voxel_states, whole_images
from .motion import Movement, move
from .undone import motion_undone
from .values import MOST_CLASSES, MOST_COORDINATES, Gain, States, StateSettings, Verdict

__all__ = [
    "MOST_CLASSES", "MOST_COORDINATES", "Canonical", "Classification", "Gain", "Movement", "StateMap",
    "StateSettings", "States", "Verdict", "binned", "canonical_map", "classify", "functions_at",
    "motion_undone", "move", "state_journal", "voxel_states", "whole_images",
]  # fmt: skip
