"""The mixtures of all states in a run folder: any of them is made from one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..errors import InputError, SettingsError
from ..io.arrays import read_arrays
from ..mixture import TENSORS, GaussianMixture
from ..states import functions_at
from ..states.moving import Motion
from .folder import RunFolder

FORMAT = 1
MOTION = "turns", "moves", "fades"
"""The numbers of a motion; the last only where parts come and go."""
REMEDY = "give the folder of a run of classify or motion."
DAMAGED = LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, SettingsError


@dataclass(frozen=True, slots=True)
class StoredStates:
    """What ``states.safetensors`` of a run, at ``path``, holds."""

    path: Path
    arrays: dict[str, NDArray]
    values: dict[str, Any]

    @staticmethod
    def open(folder: RunFolder) -> StoredStates:
        """Those of the run in ``folder``; raises `InputError` where it has none."""
        return StoredStates(
            folder.mixtures, *read_arrays(folder.mixtures, "states", FORMAT, REMEDY)
        )

    @property
    def classes(self) -> int:
        """How many classes; 0 for motion."""
        return len(self.arrays["full_means"]) if self.values["kind"] == "classes" else 0

    @property
    def coordinates(self) -> int:
        """How many coordinates of motion; 0 for classes."""
        return 0 if self.classes else self.arrays["nodes"].shape[1]

    def at(self, at: Sequence[float]) -> GaussianMixture:
        """The mixture of a class (its number) or at coordinates of motion.

        Raises `InputError` where the run has no such state.
        """
        try:
            return self._of_class(at) if self.classes else self._at(at)
        except DAMAGED as error:
            raise InputError(
                f"{self.path}: not the states of a run ({error!r}).\n  Remedy: {REMEDY}"
            ) from error

    def _of_class(self, at: Sequence[float]) -> GaussianMixture:
        n = self.classes
        if len(at) != 1 or at[0] not in range(1, n + 1):
            raise InputError(
                f"--at {_told(at)}: expected the number of a class, 1 to {n}.\n  Remedy: --at 1"
            )
        return self._mixture("full", int(at[0]) - 1)

    def _at(self, at: Sequence[float]) -> GaussianMixture:
        c = self.coordinates
        if len(at) != c or not all(-1.0 <= each <= 1.0 for each in at):
            raise InputError(
                f"--at {_told(at)}: expected {c} coordinate{'s' if c > 1 else ''} from -1 to 1.\n"
                f"  Remedy: --at {_told([0.3] * c)}"
            )
        names = ("anchors", "blend", *(n for n in MOTION if n != "fades" or n in self.arrays))
        held = {name: torch.from_numpy(self.arrays[name]) for name in names}
        basis = functions_at(torch.tensor([list(at)], dtype=torch.float32))
        shared, length = self._mixture("shared"), self.values["length"]
        return Motion.moved(shared, length, **held, basis=basis)[0]

    def _mixture(self, prefix: str, row: int | None = None) -> GaussianMixture:
        found = (self.arrays[f"{prefix}_{name}"] for name in TENSORS)
        means, scales, quaternions, amplitudes = (
            torch.from_numpy(own if row is None else own[row]) for own in found
        )
        return GaussianMixture(means, scales, quaternions, amplitudes)


def _told(at: Sequence[float]) -> str:
    return ",".join(f"{each:g}" for each in at)
