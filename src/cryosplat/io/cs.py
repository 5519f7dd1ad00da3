"""cryoSPARC ``.cs`` tables: structured numpy arrays, spread over several files by ``uid``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import CsError

_MAX_HEADER = 2**20  # tables of many classes have thousands of fields


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


def _load(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as stream:
            rows = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=_MAX_HEADER)
    except FileNotFoundError:
        raise CsError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise CsError(
            f"{path}: not a cryoSPARC .cs table, or cut short ({reason}).\n"
            f"  Remedy: export the job's particles again."
        ) from None
    if rows.dtype.names is None or "uid" not in rows.dtype.names:
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
