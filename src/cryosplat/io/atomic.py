"""Files that appear whole or not at all, and never in the place of what they are made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from ..signals import held_back
from .staging import hidden, temporary_file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path`` that takes its name once everything is written.

    Raises `OutputError` where the folder is missing, read-only or full; leaves nothing behind.
    """
    temporary = temporary_file(path)
    try:
        with open(temporary, "wb") as stream:
            yield stream
        with suppress(OSError):  # mostly a new file
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}).\n"
            f"  Remedy: choose a folder that exists, that you may write to and that has space."
        ) from error
    finally:
        with suppress(OSError):  # mostly gone; a failure here must not hide the first
            temporary.unlink()


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all; raises `OutputError` where it cannot be.

    Names of files that are no UTF-8 have a "?" for each byte that is none.
    """
    with replacing(path) as stream:
        stream.write(text.encode("utf-8", "replace"))
    return path


@contextmanager
def replacing_together(folder: Path, names: Sequence[str]) -> Iterator[Callable[[str], Path]]:
    """Temporary paths in ``folder``, which is made, for the files ``names``.

    They take their names together once all are written; older files of names that were not written
    go. After an error the folder is as it was. Raises `OutputError` where it cannot be written.
    """

    staged_paths: dict[str, Path] = {}

    def staged(name: str) -> Path:
        return staged_paths.setdefault(name, temporary_file(folder / name))

    _check_no_folders([folder / name for name in names])
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield staged
        with held_back():
            _put_in_place(folder, names, staged)
        done = True
    except (OSError, OutputError) as error:
        cause = error.__cause__ if isinstance(error, OutputError) else error
        if not isinstance(cause, OSError):
            raise
        raise OutputError(
            f"{folder}: cannot be written ({cause.strerror}).\n"
            f"  Remedy: choose a folder that you may write to and that has space."
        ) from error
    finally:
        for name in names:
            with suppress(OSError):  # mostly not there
                staged(name).unlink()
        if not done:
            _remove_empty(made)


def check_suffix(option: str, out: Path, what: str, suffixes: Sequence[str]) -> None:
    """Raise `OutputError` where ``out`` is not named as a file of one of ``suffixes``."""
    if out.suffix.lower() not in suffixes:
        *others, last = suffixes
        names = f"{', '.join(others)} or {last}" if others else last
        raise OutputError(
            f"{option} {out}: {what} are written as {names}, not as "
            f"{out.suffix or 'a file without suffix'}.\n"
            f"  Remedy: {option} {out}{suffixes[0]}"
        )


def check_no_input(option: str, out: Path, inputs: Iterable[Path]) -> None:
    """Raise `OutputError` where ``out``, however spelled, is one of ``inputs``."""
    try:
        target = out.stat()
    except OSError:
        return
    for held in inputs:
        try:
            same = os.path.samestat(target, held.stat())
        except OSError:
            continue
        if same:
            raise OutputError(
                f"{option} {out}: would replace the file it is made from, {held}.\n"
                f"  Remedy: choose another name."
            )


def _check_no_folders(targets: Iterable[Path]) -> None:
    for target in targets:
        if target.is_dir():
            raise OutputError(f"{target}: is a folder.\n  Remedy: choose another place.")


def _put_in_place(folder: Path, names: Sequence[str], staged: Callable[[str], Path]) -> None:
    """Give staged files their names; where one cannot have it, the older files come back."""
    older = {folder / n: hidden(folder / n, f".replaced-{os.getpid()}") for n in names}
    new: list[Path] = []
    try:
        for name, (target, kept) in zip(names, older.items(), strict=True):
            if os.path.lexists(target):
                os.replace(target, kept)
            if staged(name).exists():
                os.replace(staged(name), target)
                new.append(target)
    except OSError:
        for target in new:
            target.unlink(missing_ok=True)
        for target, kept in older.items():
            if os.path.lexists(kept):
                os.replace(kept, target)
        raise
    for kept in older.values():
        kept.unlink(missing_ok=True)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not made, or others use it
            folder.rmdir()
