"""From what happened to one clear message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from ..errors import CryosplatError, InputError
from ..provenance import provenance
from ..signals import INTERRUPTED, ignore
from ._console import plain_console

ALARM, USER, BUG = 1, 2, 70
_SYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turns errors into messages on stderr and exit codes; what is half done is cleared first."""
    _write_what_can_be_shown()
    try:
        try:
            yield
        finally:
            ignore()
    except CryosplatError as error:
        _fail(USER, f"{type(error).__name__}: ", str(error))
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:  # typer exits 130 on Ctrl-C
            raise
        _fail(INTERRUPTED, "Interrupted; ", "no partial output was kept.")
    except MemoryError:
        _out_of_memory()
    except OSError as error:
        if error.errno not in _SYSTEM:
            _report_bug()
        where = f"{error.filename}: " if error.filename else ""
        _fail(
            USER, "SystemError: ",
            f"{where}{error.strerror}.\n  Remedy: make room, or choose a folder that you may use.",
        )  # fmt: skip
    except Exception as error:
        if _is_about_memory(error):
            _out_of_memory()
        if isinstance(error, SystemError) and (stop := _behind(error)):  # met in compiled code
            raise stop from None
        _report_bug()


def _is_about_memory(error: Exception) -> bool:
    """Whether torch could not allocate, for which it has no error of its own on the CPU."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _out_of_memory() -> NoReturn:
    _fail(
        USER, "Out of memory: ",
        "this run needs more memory than the machine has.\n"
        "  Remedy: downsample the particles to a smaller box, or use a larger machine.",
    )  # fmt: skip


def _behind(error: BaseException | None) -> SystemExit | None:
    """The end that a signal asked for, where compiled code turned it into another error."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return SystemExit(INTERRUPTED)
        if isinstance(error, SystemExit):
            return error
        error = error.__cause__ or error.__context__
    return None


def _write_what_can_be_shown() -> None:
    """A terminal that knows no Å, or a reader that has gone, costs no run.

    What the encoding lacks becomes "?", and a pipe that was closed, as by ``| head``, is written to
    no more.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            setattr(sys, name, Forgiving(stream))


class Forgiving:
    """A text stream on which a closed pipe is no error."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._close()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _fail(code: int, title: str, message: str) -> NoReturn:
    console = plain_console(stderr=True)
    console.print(title, style="bold red", end="")
    console.print(message)
    sys.exit(code)


@contextmanager
def trusting(run: Path) -> Iterator[None]:
    """Where the files of ``run`` are believed; one that was damaged or changed since is no bug."""
    try:
        yield
    except CryosplatError as error:
        if "Remedy" in str(error):
            raise
        text = f"{error}\n  Remedy: restore the files of {run}, or repeat the run."
        raise InputError(text) from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if _is_about_memory(error):
            raise
        name, last = _written_down()
        raise InputError(
            f"{run}: its files do not fit together ({last}).\n"
            f"  They were probably damaged, or changed after the run.\n"
            f"  Remedy: restore them, or repeat the run. If nobody touched them, please report this, "
            f"with {name}."
        ) from error


def _report_bug() -> NoReturn:
    name, last = _written_down()
    _fail(
        BUG, "This is a bug in cryosplat: ",
        f"{last}\n  Nothing was left behind but {name}.\n"
        f"  Remedy: please report it, with that file.",
    )  # fmt: skip


def _written_down() -> tuple[str, str]:
    """A file with the traceback and what it happened to, and the last line of it."""
    details = "".join(f"{key}: {value}\n" for key, value in provenance().items())
    text = f"{details}\n{traceback.format_exc()}"
    handle, name = tempfile.mkstemp(prefix="cryosplat-bug-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
        stream.write(text)
    return name, text.strip().splitlines()[-1]
