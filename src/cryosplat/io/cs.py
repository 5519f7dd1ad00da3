"""cryoSPARC tables: structured numpy arrays, spread over several files that ``uid`` joins.

A ``.cs`` file is one array; a ``.csg`` file names, for each group of fields, the ``.cs`` file that
holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import CsError
from .npy import read_npy

_MAX_GROUP_FILE = 2**20
_KEY = re.compile(r"^( *)([\w./-]+) *: *(.*?) *$")


def read_cs(
    path: str | os.PathLike[str], passthroughs: Sequence[str | os.PathLike[str]] | None = None
) -> np.ndarray:
    """The rows of a ``.cs`` file, with the fields it lacks taken from its passthrough files.

    Rows are joined by ``uid``, in any order. Without ``passthroughs`` the files named
    ``*passthrough*.cs`` in the same folder that describe all the same particles are used.
    Raises `CsError` for files that are not ``.cs`` tables and for particles a given passthrough
    lacks.
    """
    path = Path(path)
    rows = _load(path)
    if passthroughs is not None:
        for other in map(Path, passthroughs):
            rows = _merge(path, rows, other, _load(other))
        return rows
    for other in sorted(path.parent.glob("*passthrough*.cs")):
        if other != path and "passthrough" not in path.name:
            table = _load(other)
            if _describes(table, rows):
                rows = _merge(path, rows, other, table)
    return rows


def read_csg(path: str | os.PathLike[str]) -> np.ndarray:
    """The rows of a cryoSPARC group: every group of fields from the file the ``.csg`` names for it.

    File names are relative to the group file, or to one of the folders above it. The order of the
    rows is that of the file with the poses, or of the first one named.
    """
    path = Path(path)
    files = _metafiles(path)
    tables = {name: _load(_beside(path, name)) for name in dict.fromkeys(files.values())}
    order = sorted(files, key=lambda group: not group.startswith("alignments"))
    rows = tables[files[order[0]]][["uid"]]
    for group in order:
        table = tables[files[group]]
        own = [n for n in table.dtype.names or () if n.partition("/")[0] == group]
        if own:
            rows = _merge(path, rows, _beside(path, files[group]), table[["uid", *own]])
    return rows


def _metafiles(path: Path) -> dict[str, str]:
    """Field group -> ``.cs`` file name, out of the two levels of a ``.csg`` file that matter."""
    try:
        with open(path, "rb") as stream:
            text = stream.read(_MAX_GROUP_FILE).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise CsError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except OSError as error:
        raise CsError(f"{path}: cannot be read ({error.strerror}).") from None
    files: dict[str, str] = {}
    section = group = ""
    depth = 0
    for match in filter(None, map(_KEY.match, text.splitlines())):
        indent, key, value = len(match[1]), match[2], match[3].strip("'\"")
        if indent == 0:
            section, group = key, ""
        elif section == "results" and not value and (not group or indent <= depth):
            group, depth = key, indent
        elif section == "results" and key == "metafile" and group and value:
            files[group] = value.lstrip(">")
    if not files:
        raise CsError(
            f"{path}: names no .cs files (expected 'results:' with a 'metafile:' for each group)."
            f"\n  Remedy: give the job's particles .cs file itself."
        )
    return files


def _beside(path: Path, name: str) -> Path:
    for folder in (path.absolute().parent, *path.absolute().parent.parents):
        if os.path.isfile(folder / name):  # unlike Path.is_file, False for impossible names
            return folder / name
    raise CsError(
        f"{path}: it names {name}, which is neither beside it nor in a folder above.\n"
        f"  Remedy: copy {Path(name).name} beside it."
    )


def _load(path: Path) -> np.ndarray:
    rows = read_npy(path, CsError, "a cryoSPARC .cs table", "export the job's particles again.")
    if rows.ndim != 1 or "uid" not in (rows.dtype.names or ()) or rows.dtype["uid"].kind != "u":
        raise CsError(f"{path}: a .cs table has named fields, among them uid; this array has not.")
    return rows


def _describes(table: np.ndarray, rows: np.ndarray) -> bool:
    return bool(np.isin(rows["uid"], table["uid"]).all())


def _merge(path: Path, rows: np.ndarray, other: Path, table: np.ndarray) -> np.ndarray:
    """``rows`` with the fields it lacks taken from the rows of ``table`` of the same uid."""
    order = np.argsort(table["uid"], kind="stable")
    position = np.searchsorted(table["uid"], rows["uid"], sorter=order)
    source = order[np.minimum(position, len(order) - 1)] if len(order) else position
    absent = ~np.isin(rows["uid"], table["uid"])
    if absent.any():
        raise CsError(
            f"{other}: holds no particle with uid {rows['uid'][absent][0]} "
            f"({absent.sum()} of the {len(rows)} particles of {path.name} are missing).\n"
            f"  Remedy: give the passthrough file of the same job."
        )
    added = [name for name in table.dtype.names or () if name not in (rows.dtype.names or ())]
    if not added:
        return rows
    fields = [(n, rows.dtype[n]) for n in rows.dtype.names or ()]
    merged = np.empty(len(rows), np.dtype(fields + [(n, table.dtype[n]) for n in added]))
    for name in rows.dtype.names or ():
        merged[name] = rows[name]
    for name in added:
        merged[name] = table[name][source]
    return merged
