"""From the image names of a table to files on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import StackError
from ..notes import Note

_OTHER_SUFFIX = {".mrc": ".mrcs", ".mrcs": ".mrc"}
_NUMBER = re.compile(r"^\d{15,}_")


def search_folders(table: Path, datadir: Path | None) -> tuple[Path, ...]:
    """Where relative names are looked for: the table's folder, the folders above it, ``datadir``.

    One of the folders above is the project root of RELION or cryoSPARC, to which names are relative.
    """
    here = table.absolute().parent
    return (here, *here.parents, *((datadir,) if datadir is not None else ()))


def resolve(name: str, table: Path, datadir: Path | None) -> Path | None:
    """The file that ``name`` in ``table`` means; None where there is none.

    An absolute name means itself, if it exists. The bare file name is looked for in ``datadir``
    last, also without the number that cryoSPARC puts before it. Without such a file, the same name
    with .mrcs for .mrc, or .mrc for .mrcs, is tried: stacks are often linked like that.
    """
    for spelling in (name, _with_other_suffix(name)):
        if spelling is not None and (file := _find(spelling, table, datadir)) is not None:
            return file
    if datadir is not None:
        for bare in dict.fromkeys((Path(name).name, _NUMBER.sub("", Path(name).name))):
            if os.path.isfile(datadir / bare):
                return datadir / bare
    return None


def _find(name: str, table: Path, datadir: Path | None) -> Path | None:
    path = Path(name)
    tail = Path(*path.parts[1:]) if path.is_absolute() else path
    places = [path] if path.is_absolute() else [f / path for f in search_folders(table, datadir)]
    places += [datadir / tail] if datadir is not None else []
    return next((place for place in places if os.path.isfile(place)), None)


def _with_other_suffix(name: str) -> str | None:
    other = _OTHER_SUFFIX.get(Path(name).suffix)
    return None if other is None else str(Path(name).with_suffix(other))


def suffix_notes(names: Sequence[str], paths: Sequence[Path]) -> Iterator[Note]:
    """A note where the files ``paths`` have other suffixes than the ``names`` in the table."""
    pairs = zip(names, paths, strict=True)
    other = [(name, path) for name, path in pairs if Path(name).suffix != path.suffix]
    if other:
        name, path = other[0]
        text = f"There is no {name}; {path} is used instead ({len(other)} such stacks)."
        yield Note("stacks-respelled", "note", text)


def resolve_all(
    names: Sequence[str], rows: Sequence[int], table: Path, where: str, datadir: Path | None
) -> list[Path]:
    """The file of every name; ``rows`` counts the rows of the table that use each name.

    Raises `StackError` where a file is missing, or where two names would mean the same file.
    """
    files = [resolve(name, table, datadir) for name in names]
    missing = [i for i, path in enumerate(files) if path is None]
    if missing:
        raise StackError(_missing(names, missing, rows, table, where, datadir))
    paths = [path for path in files if path is not None]
    for name, (other, path) in ambiguous(names, paths).items():
        raise StackError(
            f"{where}: {other} and {name} are different stacks, but for both only {path} was "
            f"found.\n  Remedy: point --datadir at the folder the names are relative to, not "
            f"at the folder of the stacks."
        )
    return paths


def ambiguous(names: Sequence[str], paths: Sequence[Path | None]) -> dict[str, tuple[str, Path]]:
    """Names that resolve to the same file as another name, which is returned with it, although they
    differ in more than what precedes a common end."""
    first: dict[Path, str] = {}
    clashes = {}
    for name, path in zip(names, paths, strict=True):
        other = name if path is None else first.setdefault(path, name)
        if path is None or Path(other) == Path(name):
            continue
        if not (_ends_with(path, other) and _ends_with(path, name)):
            clashes[name] = other, path
    return clashes


def _ends_with(path: Path, name: str) -> bool:
    parts = Path(name).parts
    return path.parts[-len(parts) :] == parts


def _missing(
    names: Sequence[str], missing: Sequence[int], rows: Sequence[int], table: Path, where: str,
    datadir: Path | None,
) -> str:  # fmt: skip
    name = names[missing[0]]
    affected = sum(rows[i] for i in missing)
    links = [f / name for f in search_folders(table, datadir) if os.path.islink(f / name)]
    hint = f"\n  {links[0]} is a link to {os.readlink(links[0])}, which is gone." if links else ""
    folders = f"{table.absolute().parent} and the folders above it"
    folders += f", and {datadir}" if datadir is not None else ""
    return (
        f"{where}: the stack {name} was not found ({len(missing)} of {len(names)} stacks, "
        f"{affected} rows of this file are affected).\n  Looked in {folders}.{hint}\n"
        f"  Remedy: --datadir FOLDER, where FOLDER/{name.lstrip('/')} exists"
    )
