"""Faults of the stacks of a table, collected instead of raised."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import StackError


@dataclass(frozen=True, slots=True)
class AbsentStack:
    """Takes the place of a stack that is missing or unreadable: it has a shape but no images."""

    path: Path
    shape: tuple[int, int]
    reason: str
    n_images: int = 0
    pixel_size: float = 0.0

    def read(self, indices: object) -> NDArray[np.float32]:
        """Raises `StackError`: there is nothing to read."""
        raise StackError(f"{self.path}: {self.reason}.")


@dataclass(slots=True)
class StackFaults:
    """Passed to `read_particles`, it collects faults of the stacks, which are errors otherwise.

    ``missing`` and ``unreadable``: number of rows that name each such stack, and the error message
    for the latter; ``ambiguous``: rows of stacks for which only the file of another stack was found,
    and that file; ``past_the_end``: rows of each stack that ask for images past its end, and its
    number of images; ``resized``: rows whose images differ in size from the table; ``table_boxes``
    (n,): box sizes in the table, if it has them; ``without_image`` (n,): rows that cannot be used.
    """

    missing: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, tuple[int, str]] = field(default_factory=dict)
    ambiguous: dict[str, tuple[int, Path]] = field(default_factory=dict)
    past_the_end: dict[str, tuple[int, int]] = field(default_factory=dict)
    resized: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    table_boxes: NDArray[np.int64] | None = None
    without_image: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
