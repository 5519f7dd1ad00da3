"""The tutorials run, and reach what they say."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
LINES = 25  # from particles to a map, imports included


def _run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def _code(name: str) -> list[str]:
    text = (FOLDER / f"{name}.py").read_text("utf-8").split('"""')[2]
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = _run("1_statistics", tmp_path, monkeypatch)
    assert float(scope["fsc"][12]) > 0.9
    assert (tmp_path / "map.mrc").exists()


def test_statistics_take_no_more_than_a_page() -> None:
    assert len(_code("1_statistics")) <= LINES


def test_splatting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert float(_run("2_splatting", tmp_path, monkeypatch)["fsc"][8]) > 0.97


def test_simulate_and_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = _run("3_simulate_and_judge", tmp_path, monkeypatch)
    promised, measured = scope["promised"], scope["measured"]
    assert float(measured["exact"][12]) > float(measured["off by 4 degrees"][12]) + 0.08
    for name in measured:
        assert float((promised[name] - measured[name])[:13].abs().max()) < 0.1


def test_data_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = _run("4_data_term", tmp_path, monkeypatch)["reached"]
    assert reached["forgiving"] > reached["least squares"] + 0.1
