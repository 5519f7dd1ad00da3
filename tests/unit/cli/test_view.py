"""``cryosplat report`` and ``cryosplat view``, as commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Outcome
from full_runs import plain_run

Cli = Callable[..., Outcome]


@pytest.mark.usefixtures("quick_report")
def test_report_makes_the_page_anew(cli: Cli, tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run", box=16)
    outcome = cli("report", folder.path)
    assert outcome.code == 0 and str(folder.report) in outcome.out
    assert folder.report.read_text("utf-8").startswith("<!doctype html>")


def test_a_folder_without_a_run_is_told(cli: Cli, tmp_path: Path) -> None:
    for command in ("report", "view"):
        outcome = cli(command, tmp_path)
        assert outcome.code == 2 and "give the folder of a finished run" in outcome.err
        outcome = cli(command, tmp_path / "absent")
        assert outcome.code == 2 and "absent: No such file or directory." in outcome.err
