"""How long work says where it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from .notes import Note

ACCUMULATE, WEIGH = "accumulating statistics", "weighting particles"
SOLVENT, SYMMETRY = "fitting the solvent", "testing symmetry"
FIT_ALL, FIT_HALF, FIT_IMAGES = "fitting all particles", "fitting half", "fitting to images"
SUBSTITUTE, ROUND = "noise substitution", "round"
FIT_ROUND, JUDGE = "fitting both half-sets", "judging poses"
TURN, OPTICS = "refining poses", "refining optics"
"""Titles of the stages whose time is told beforehand (`estimate`), or what these titles begin with."""
REPORTING = "writing the report"
ONE_MAP, CLASSES, MOTION = "one map of", "searching up to", "searching for motion"
EVERYONE, STATE_MAPS, UNDONE = "all particles", "voxel maps of the states", "undoing the motion"
FADING, SHIFTED = "parts that come and go", "parts that lie elsewhere"
FINER, FINER_HALVES = "refining the states in a box of", "refining the motion of both half-sets"
"""Likewise, of the search for states."""


class Stage(Protocol):
    """A part of the work under way."""

    def advance(self, n: int = 1) -> None:
        """``n`` more units are done."""
        ...


class Progress(Protocol):
    """Who is told about the work."""

    def stage(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Stage]:
        """Begin a stage of ``total`` units, e.g. "images"; None when their number is unknown."""
        ...

    def say(self, text: str) -> None:
        """Something the user wants to know."""
        ...

    def warn(self, note: Note) -> None:
        """Something the user ought to look into."""
        ...


def tell(progress: Progress, note: Note) -> None:
    """Pass a note on, as a warning unless it is harmless."""
    if note.severity == "note":
        progress.say(note.advice)
    else:
        progress.warn(note)


class SilentProgress:
    """Tells nobody."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str) -> Iterator[SilentProgress]:
        """A stage that nobody sees."""
        yield self

    def advance(self, n: int = 1) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, note: Note) -> None:
        """Nothing."""


def duration(seconds: float) -> str:
    """8.2 s, 1 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
