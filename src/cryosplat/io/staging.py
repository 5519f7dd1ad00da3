"""Unfinished files and folders: how they are named, who makes them, and what a kill leaves behind.

A folder gathers in ``.NAME.partial`` beside its target, which one process at a time can have; it says
which in a file. Files gather under names that hold machine and process. What a process of this
machine left that is no more is removed by the next one; what another machine left never is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import OutputError
from ..signals import half_done

OWNER = ".owner"
"""The file in an unfinished folder that says whose it is."""
LONGEST = 200  # bytes of a name that stay when something is added to it
PATIENCE = 2.0  # seconds for a process to say that a folder is its own
_FILE = re.compile(r"\.cryosplat-([0-9a-f]{8})-(\d+)-\d+\.partial")
_numbers = itertools.count()


def _machine() -> str:
    """This machine, or this container: where a process number means the same process."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that makes a folder; ``machine`` as `_machine`, ``host`` for people."""

    machine: str
    host: str
    pid: int
    begun: str

    @staticmethod
    def this() -> Owner:
        """This process."""
        begun = time.strftime("%Y-%m-%d %H:%M:%S")
        return Owner(_machine(), socket.gethostname(), os.getpid(), begun)

    @property
    def is_gone(self) -> bool:
        """Whether the process is of this machine and has ended."""
        return self.machine == _machine() and not _is_running(self.pid)


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # there, os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def hidden(target: Path, ending: str) -> Path:
    """``.NAME`` + ``ending`` beside a target."""
    return named_after(target, ending, ".")


def named_after(target: Path, ending: str, beginning: str = "") -> Path:
    """A longer name beside a target, shortened where the file system's limit is near."""
    name = os.fsencode(target.name)
    if len(name) > LONGEST:
        name = name[:LONGEST] + hashlib.sha256(name).hexdigest()[:8].encode()
    return target.with_name(f"{beginning}{os.fsdecode(name)}{ending}")


def begin_folder(target: Path) -> Path:
    """The folder where ``target`` gathers, empty and this process's own.

    Raises `OutputError` where another process is making the same target; `OSError` where the folder
    cannot be made. Remove it, or rename it after `own_no_more`, when done.
    """
    half_done()
    staging = hidden(target, ".partial")
    while True:
        try:
            staging.mkdir()
            break
        except FileExistsError:
            _clear_or_refuse(staging, target)
    (staging / OWNER).write_text(json.dumps(asdict(Owner.this())), "utf-8")
    return staging


def own_no_more(staging: Path) -> None:
    """The folder is complete and about to be renamed."""
    (staging / OWNER).unlink(missing_ok=True)


def _clear_or_refuse(staging: Path, target: Path) -> None:
    """Remove what a process left that has ended; raise `OutputError` where it may still run."""
    owner = _owner(staging)
    if owner is None or owner.is_gone:
        # renamed first: of two processes that see it, one gets it
        grave = staging.with_name(f".cryosplat-{_machine()}-{os.getpid()}-{next(_numbers)}.partial")
        with suppress(FileNotFoundError):
            staging.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)
        return
    if owner.machine == _machine():
        state = "Remedy: wait for it to end, or choose another name."
    else:
        state = (
            f"Whether it still runs cannot be seen from here.\n  Remedy: choose another name; or, if "
            f"it was killed, rm -r {staging}"
        )
    raise OutputError(
        f"{target}: is being written by process {owner.pid} on {owner.host}, since {owner.begun}.\n"
        f"  {state}"
    )


def _owner(staging: Path) -> Owner | None:
    """Who makes a folder; None where nobody says so within a moment."""
    end = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError, ValueError, TypeError):
            return Owner(**json.loads((staging / OWNER).read_text("utf-8")))
        if time.monotonic() > end or not staging.exists():
            return None
        time.sleep(0.05)


def temporary_file(target: Path) -> Path:
    """Where ``target`` gathers: a name of this process alone, in the same folder."""
    half_done()
    clear_abandoned(target.parent)
    name = f".cryosplat-{_machine()}-{os.getpid()}-{next(_numbers)}.partial"
    return target.with_name(name)


_cleared: set[Path] = set()


def clear_abandoned(folder: Path) -> None:
    """Remove unfinished files of this machine's ended processes, once for each folder."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            left = _FILE.fullmatch(entry.name)
            if left and left[1] == _machine() and not _is_running(int(left[2])):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        os.unlink(entry.path)
