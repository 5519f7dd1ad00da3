"""Whatever happens around a command: closed pipes, signals, terminals without Å, brackets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cryosplat.cli._console import plain_console
from cryosplat.commands import pasted
from cryosplat.errors import MrcError
from cryosplat.io.mrc import read_map


def _in_context(body: str, before: str = "", **environment: str) -> subprocess.Popen[str]:
    """A process that heeds signals, as it may not where the tests run under nohup or behind &."""
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    heeding += "; signal.signal(signal.SIGHUP, signal.SIG_DFL)" if os.name != "nt" else ""
    context = f"from cryosplat.cli._outcome import exit_codes\n{before}\nwith exit_codes():"
    code = f"{heeding}\n{context}\n    {body}"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="latin-1", env={**os.environ, **environment},
    )  # fmt: skip


def test_a_reader_that_goes_away_costs_nothing(tmp_path: Path) -> None:
    done = tmp_path / "done"
    body = (
        "from cryosplat.cli._console import plain_console; import pathlib; "
        "[plain_console().print('line ' * 2000) for _ in range(50)]; "
        f"pathlib.Path({str(done)!r}).touch()"
    )
    process = _in_context(body)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0 and done.exists()


def test_what_a_terminal_cannot_show_becomes_a_question_mark() -> None:
    body = "print('3.2 Å ✓ · ', end='')"
    out, err = _in_context(body, PYTHONIOENCODING="latin-1").communicate(timeout=60)
    assert (out, err) == ("3.2 Å ? · ", "")


SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "SIGUSR1": 143}
WAITING = """
try:
        print("ready", flush=True); time.sleep(60); print("not stopped")
    except BaseException:
        print("cleared", flush=True); raise
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("half_done", [False, True])
@pytest.mark.parametrize("name", SIGNALS)
def test_signals_end_a_run_alike(name: str, half_done: bool) -> None:
    """At once while nothing is half done, as when libraries are imported; later it is cleared."""
    before = "import time; from cryosplat import signals; signals.listen()"
    before += "; signals.half_done()" if half_done else ""
    process = _in_context(WAITING.strip(), before)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (SIGNALS[name], "cleared\n" if half_done else "")
    assert err == ("Interrupted; no partial output was kept.\n" if name == "SIGINT" else "")


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("name", SIGNALS)
def test_signals_wait_for_a_name_to_be_taken(name: str) -> None:
    before = (
        "import os, signal; from cryosplat import signals; signals.listen(); signals.half_done()"
    )
    body = f"""
    with signals.held_back():
        signal.raise_signal(signal.{name})
        print("done", flush=True)
    print("not stopped")
"""
    out, _ = (process := _in_context(body.strip(), before)).communicate(timeout=60)
    assert (process.returncode, out) == (SIGNALS[name], "done\n")


def test_files_of_a_run_that_do_not_fit_together_are_no_bug(tmp_path: Path) -> None:
    before = "from pathlib import Path; from cryosplat.cli._outcome import trusting"
    body = "\n    with trusting(Path('a run')): {}['rounds']"
    process = _in_context(body, before, TMPDIR=str(tmp_path))
    _, err = process.communicate(timeout=60)
    (report,) = tmp_path.iterdir()
    assert process.returncode == 2 and "Traceback" in report.read_text()
    assert err.startswith("InputError: a run: its files do not fit together (KeyError: 'rounds').")
    assert str(report) in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ('RuntimeError("DefaultCPUAllocator: can\'t allocate memory")', 2, "Out of memory"),
        ("MemoryError()", 2, "Out of memory"),
        ("SystemError('returned a result with an exception set') from SystemExit(143)", 143, ""),
        ("SystemError('returned a result') from KeyboardInterrupt()", 130, ""),
        ("SystemError('something else')", 70, "This is a bug"),
    ],
)
def test_errors_by_their_cause(error: str, code: int, words: str) -> None:
    process = _in_context(f"raise {error}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and words in err


def test_brackets_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    plain_console().print("run[a]/[/b] [bold]")
    assert capsys.readouterr().out == "run[a]/[/b] [bold]\n"


def test_commands_are_quoted_where_they_have_to_be() -> None:
    assert pasted("mkdir", "-p", Path("my set/a")) == "mkdir -p 'my set/a'"


@pytest.mark.parametrize(
    ("name", "first", "words"),
    [
        (
            "a.mrcs.bz2",
            b"BZh9",
            r"compressed by bzip2, .*\n  Remedy: bzip2 -dc .*bz2 > .*a\.mrcs, ",
        ),
        ("a.mrcs", b"\x28\xb5\x2f\xfd", r"compressed by zstd, .*\n.*zstd -dc .*a\.mrcs > .*plain"),
        ("a.tif", b"II*\0", r"a TIFF file, expected .*\n  Remedy: e2proc2d.py .*a\.tif .*a\.mrcs"),
    ],
)
def test_stacks_of_other_kinds_are_recognised(
    tmp_path: Path, name: str, first: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(first + bytes(2000))
    with pytest.raises(MrcError, match=words):
        read_map(tmp_path / name)
