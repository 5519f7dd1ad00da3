"""From the image names of a table to files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import StackError


def search_folders(table: Path, datadir: Path | None) -> tuple[Path, ...]:
    """Where relative names are looked for: the table's folder, the folders above it, ``datadir``.

    One of the folders above is the project root of RELION or cryoSPARC; names are relative to it.
    """
    here = table.absolute().parent
    return (here, *here.parents, *((datadir,) if datadir is not None else ()))


def resolve(name: str, table: Path, datadir: Path | None) -> Path | None:
    """The file that ``name``, written in ``table``, stands for; None where there is none.

    An absolute name stands for itself, wherever it exists. The bare file name is looked for in
    ``datadir`` last.
    """
    given = Path(name)
    if given.is_absolute() and given.is_file():
        return given
    if not given.is_absolute():
        for folder in search_folders(table, datadir):
            if (folder / given).is_file():
                return folder / given
    if datadir is not None:
        for tail in (Path(*given.parts[1:]) if given.is_absolute() else given, Path(given.name)):
            if (datadir / tail).is_file():
                return datadir / tail
    return None


def resolve_all(
    names: Sequence[str], rows: Sequence[int], table: Path, where: str, datadir: Path | None
) -> list[Path]:
    """The file of every name; ``rows`` counts the rows of the table that use each name.

    Raises `StackError` where a file is missing, or where two names would mean the same file.
    """
    found = [resolve(name, table, datadir) for name in names]
    missing = [i for i, path in enumerate(found) if path is None]
    if missing:
        raise StackError(_missing(names, missing, rows, table, where, datadir))
    paths = [path for path in found if path is not None]
    first: dict[Path, str] = {}
    for name, path in zip(names, paths, strict=True):
        other = first.setdefault(path, name)
        if Path(other) != Path(name) and not (_ends_with(path, other) and _ends_with(path, name)):
            raise StackError(
                f"{where}: {other} and {name} are different stacks, but for both only {path} was "
                f"found.\n  Remedy: point --datadir at the folder the names are relative to, not "
                f"at the folder of the stacks."
            )
    return paths


def _ends_with(path: Path, name: str) -> bool:
    parts = Path(name).parts
    return path.parts[-len(parts) :] == parts


def _missing(
    names: Sequence[str], missing: Sequence[int], rows: Sequence[int], table: Path, where: str,
    datadir: Path | None,
) -> str:  # fmt: skip
    name = names[missing[0]]
    affected = sum(rows[i] for i in missing)
    hint = ""
    for suffix in {".mrc": (".mrcs",), ".mrcs": (".mrc",)}.get(Path(name).suffix, ()):
        other = Path(name).with_suffix(suffix)
        if resolve(str(other), table, datadir) is not None:
            hint = f"\n  A file {other} exists: the table may name the wrong suffix."
    looked = f"{table.absolute().parent} and the folders above it"
    looked += f", and {datadir}" if datadir is not None else ""
    return (
        f"{where}: the stack {name} was not found ({len(missing)} of {len(names)} stacks, "
        f"{affected} rows of this file are affected).\n  Looked in {looked}.{hint}\n"
        f"  Remedy: --datadir FOLDER, where FOLDER/{name.lstrip('/')} exists"
    )
