"""Running the command line in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_runs import Outcome, fake_reconstruct

from cryosplat.cli import main
from cryosplat.report import pictures


@pytest.fixture
def cli(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """``cli("fsc", path, ...)`` runs a command and gives its exit code and output."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with small pictures and without charts, where they are not what is tested."""
    for name in ("LARGE", "SMALL", "TILE"):
        monkeypatch.setattr(pictures, name, 40)
    monkeypatch.setattr("cryosplat.report.run._chapters", lambda run: [])


@pytest.fixture
def fake_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the recipe by `fake_reconstruct`."""
    monkeypatch.setattr("cryosplat.cli._reconstruct.reconstruct", fake_reconstruct)
