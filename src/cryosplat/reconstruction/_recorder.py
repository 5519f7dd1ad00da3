"""Progress that remembers what it was told."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ..notes import Note
from ..progress import Progress, Stage


@dataclass(frozen=True, slots=True)
class Recorder:
    """Passes everything on to ``listener`` and keeps the warnings as ``notes``."""

    listener: Progress
    notes: list[Note] = field(default_factory=list)

    def stage(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Stage]:
        """A stage of the listener."""
        return self.listener.stage(title, total, unit)

    def say(self, text: str) -> None:
        """Passed on."""
        self.listener.say(text)

    def warn(self, note: Note) -> None:
        """Passed on, and kept."""
        self.notes.append(note)
        self.listener.warn(note)
