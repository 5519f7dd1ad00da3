"""What is wrong with the stacks of a table, collected instead of raised."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import StackError


@dataclass(frozen=True, slots=True)
class AbsentStack:
    """Stands for a stack that is missing or unreadable; it has a shape and holds no images."""

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
    """Given to `read_particles`, it lets stacks be missing and says which.

    ``missing`` and ``unreadable``: rows that name each such stack, and for the latter what its error
    said; ``ambiguous``: rows of stacks for which only the file of another stack was found, and that
    file; ``past_the_end``: rows of each stack that ask for more than it holds, and its images;
    ``resized``: rows whose images are not of the size that the table tells; ``told_boxes`` (n,): that
    size, where the table tells it; ``without_image`` (n,): rows that cannot be used.
    """

    missing: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, tuple[int, str]] = field(default_factory=dict)
    ambiguous: dict[str, tuple[int, Path]] = field(default_factory=dict)
    past_the_end: dict[str, tuple[int, int]] = field(default_factory=dict)
    resized: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    told_boxes: NDArray[np.int64] | None = None
    without_image: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
