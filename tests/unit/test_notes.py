"""Notes as values: what a program reads, and what is written into run.json."""

from __future__ import annotations

import json

from cryosplat.notes import Note, by_severity, codes

ALARM = Note("half-sets-share-noise", "alarm", "The half-sets share noise.", "Split again.")
HARMLESS = Note("no-astigmatism", "note", "The table has no astigmatism.")
WARNING = Note("not-normalised", "warning", "The images are not normalised.")


def test_notes_survive_a_json_file() -> None:
    for note in (ALARM, HARMLESS, WARNING):
        assert Note.from_dict(json.loads(json.dumps(note.to_dict()))) == note


def test_a_severity_of_a_newer_version_is_a_warning() -> None:
    assert Note.from_dict({**ALARM.to_dict(), "severity": "disaster"}).severity == "warning"


def test_alarms_come_first_and_equals_keep_their_order() -> None:
    other = Note("no-origins", "note", "The table has no origins.")
    assert by_severity([HARMLESS, WARNING, other, ALARM]) == [ALARM, WARNING, HARMLESS, other]


def test_logic_reads_codes() -> None:
    assert codes([ALARM, WARNING]) == {"half-sets-share-noise", "not-normalised"}


def test_a_line_says_how_bad_it_is() -> None:
    assert str(WARNING) == "warning: The images are not normalised."
    assert str(HARMLESS) == "The table has no astigmatism."
    assert str(ALARM) == "alarm: The half-sets share noise. Remedy: Split again."
