"""States of a molecule: classes and motion, learned from the statistics that images weigh for each."""

from ._checkpoint import state_journal
from .classify import Classification, classify
from .coordinates import functions_at
from .maps import StateMap, binned, voxel_states
from .motion import Movement, move
from .values import MOST_CLASSES, MOST_COORDINATES, Gain, States, StateSettings, Verdict

__all__ = [
    "MOST_CLASSES", "MOST_COORDINATES", "Classification", "Gain", "Movement", "StateMap",
    "StateSettings", "States", "Verdict", "binned", "classify", "functions_at", "move",
    "state_journal",    "voxel_states",
]  # fmt: skip
