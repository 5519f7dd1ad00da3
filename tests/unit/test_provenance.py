"""The command of a run, as it can be pasted."""

from __future__ import annotations

import pytest

from cryosplat.provenance import command_line


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/env/bin/cryosplat", "cryosplat"), ("/src/cryosplat/__main__.py", "cryosplat"),
        ("fit.py", "fit.py"),
    ],
)  # fmt: skip
def test_the_command_is_named_however_it_was_started(
    monkeypatch: pytest.MonkeyPatch, program: str, name: str
) -> None:
    monkeypatch.setattr("sys.argv", [program, "motion", "my particles.star", "-o", "run"])
    assert command_line() == f"{name} motion 'my particles.star' -o run"
    monkeypatch.setattr("sys.argv", [program, "motion", "a.star", "--resume", "-o", "run"])
    assert command_line() == f"{name} motion a.star -o run"
