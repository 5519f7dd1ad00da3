"""Signals wait for the descent under way, where there is something to go on from, and only there."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryosplat.fitting import NOWHERE, Journal, Stopped
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction._checkpoint import resumable


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A shell starts what it runs in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_until_the_state_is_written(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "a.checkpoint")
    journal, reached = Journal.open(file, {}), []
    with pytest.raises(KeyboardInterrupt), resumable(journal, SilentProgress()):
        signal.raise_signal(signal.SIGINT)
        reached.append("the end of the step")
        journal.of("fit").keep(lambda: {"step": 7})
        reached.append("the next step")
    assert reached == ["the end of the step"]
    assert Journal.open(file, {}).of("fit").load() == {"step": 7}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_after_the_last_step_is_not_lost(tmp_path: Path) -> None:
    journal = Journal.open(CheckpointFile(tmp_path / "a.checkpoint"), {})
    with pytest.raises(KeyboardInterrupt), resumable(journal, SilentProgress()):
        signal.raise_signal(signal.SIGINT)


def test_who_asks_to_stop_is_told(tmp_path: Path) -> None:
    journal = Journal.open(CheckpointFile(tmp_path / "a.checkpoint"), {})
    with pytest.raises(Stopped), resumable(journal, SilentProgress()):
        journal.stop()
        journal.of("fit").keep(dict)


@pytest.mark.parametrize("journal", [NOWHERE, NOWHERE.of("half 1")])
def test_without_a_checkpoint_signals_do_as_ever(journal: Journal) -> None:
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt), resumable(journal, SilentProgress()):
        signal.raise_signal(signal.SIGINT)
        reached.append("the next line")
    assert not reached
