"""Notes: what a user should know about inputs or results, as values.

Programs decide by :attr:`Note.code`, which is stable and listed in ``docs/notes.md``. The text and
the remedy are for people, and may be reworded at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypeVar

Value = TypeVar("Value")
Severity = Literal["note", "warning", "alarm"]

SEVERITIES: tuple[Severity, ...] = ("note", "warning", "alarm")
"""From harmless to what makes a map or its resolution unusable."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know: its stable ``code``, how bad it is, and a sentence on what and what to do.

    ``code`` is kebab-case, such as "half-sets-share-noise". ``remedy`` is empty where nothing needs
    to be done.
    """

    code: str
    severity: Severity
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.advice if self.severity == "note" else f"{self.severity}: {self.advice}"

    @property
    def advice(self) -> str:
        """The text, and the remedy where there is one."""
        return f"{self.text} Remedy: {self.remedy}" if self.remedy else self.text

    def to_dict(self) -> dict[str, str]:
        """Plain strings, for a JSON file such as ``run.json``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, object]) -> Note:
        """The note that `to_dict` wrote; unknown severities, of newer versions, become warnings."""
        severity: Severity = "warning"
        for known in SEVERITIES:
            severity = known if known == plain.get("severity") else severity
        code, text, remedy = (str(plain.get(key) or "") for key in ("code", "text", "remedy"))
        return cls(code, severity, text, remedy)


def by_severity(notes: Iterable[Note]) -> list[Note]:
    """Alarms first, then warnings; notes of one severity keep their order."""
    return sorted(notes, key=lambda note: -SEVERITIES.index(note.severity))


def codes(notes: Iterable[Note]) -> set[str]:
    """The codes of some notes: what program logic tests."""
    return {note.code for note in notes}


class NoteCollector:
    """Collects the notes of steps that return ``(value, notes)``.

    A function makes one for itself and returns what it holds; a collector is never handed on.
    """

    def __init__(self, notes: Iterable[Note] = ()) -> None:
        self._notes = list(notes)

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes)

    def add(self, *notes: Note) -> None:
        """Keep some notes."""
        self._notes.extend(notes)

    def collect(self, result: tuple[Value, Iterable[Note]]) -> Value:
        """Keep the notes of a result and return its value."""
        value, notes = result
        self._notes.extend(notes)
        return value
