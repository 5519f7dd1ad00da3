"""What tests ask of notes: their code, and the values in their text, never its words."""

from __future__ import annotations

from collections.abc import Iterable

from cryosplat.notes import Note


def only(notes: Iterable[Note], code: str) -> Note:
    """The one note with a code."""
    (note,) = [note for note in notes if note.code == code]
    return note


def warnings(notes: Iterable[Note]) -> list[str]:
    """The codes of all that is more than a note."""
    return [note.code for note in notes if note.severity != "note"]


def states(note: Note, *values: object) -> bool:
    """Whether all values, such as numbers and names of columns, are in the text."""
    return all(str(value) in note.text for value in values)
