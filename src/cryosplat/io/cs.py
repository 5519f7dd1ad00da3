"""cryoSPARC tables: structured numpy arrays, spread over several files that ``uid`` joins.

A ``.cs`` file is one array; a ``.csg`` file names, for each group of fields, the ``.cs`` file that
holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import CsError
from .npy import read_npy

_MAX_GROUP_FILE = 2**20
_JOB = re.compile(r"(?:^|_)J(\d+)(?=[_.])")
_POSES = re.compile(r"alignments(?:3D|3D_multi|_class_\d+)/")
_KEY = re.compile(r"^( *)([\w./-]+) *: *(.*?) *$")


def read_cs(
    path: str | os.PathLike[str],
    given: Mapping[Path, Sequence[str]] | None = None,
    notes: list[str] | None = None,
) -> np.ndarray:
    """The rows of a ``.cs`` file, with the fields it lacks taken from its passthrough files.

    Rows are joined by ``uid``, in any order. ``given``: files that are asked for by name, and which
    groups of theirs, told by how they begin, take the place of the table's own. After them come the
    files named ``*passthrough*.cs`` in the same folder that describe all the same particles: those
    of the same job or, where there are none, all. The table's own poses keep those of other jobs
    away, and to groups that a given file has told they add nothing. ``notes`` is told what was
    taken and what was not.

    Raises `CsError` for files that are not ``.cs`` tables, for particles that a given file lacks,
    and where two passthroughs contradict each other.
    """
    path = Path(path)
    notes = [] if notes is None else notes
    rows = _load(path)
    told: list[str] = []
    for other, kinds in (given or {}).items():
        table = _load(other)
        if any(_of_kinds(n, kinds) for n in _names(table)):
            told.extend(kinds)
            if replaced := [n for n in _names(rows) if _of_kinds(n, kinds)]:
                rows = rows[[n for n in _names(rows) if n not in replaced]]
                notes.append(
                    f"{_groups(replaced)} of {path.name} are replaced by those of {other}."
                )
        rows = _merge(path, rows, other, table, _added(rows, table))
    return rows if "passthrough" in path.name else _with_passthroughs(path, rows, told, notes)


def _with_passthroughs(
    path: Path, rows: np.ndarray, told: Sequence[str], notes: list[str]
) -> np.ndarray:
    """``rows`` with what they lack, but for the kinds ``told``, from the passthrough files beside
    their own."""
    job = _job(path)
    beside = [other for other in sorted(path.parent.glob("*passthrough*.cs")) if other != path]
    own = [other for other in beside if job and _job(other) == job]
    first: dict[str, tuple[Path, np.ndarray]] = {}
    partial: list[tuple[Path, int, list[str]]] = []
    merged = rows
    for other in own or beside:
        table = _load(other)
        known = np.isin(rows["uid"], table["uid"])
        open_ = [n for n in _added(rows, table) if not _of_kinds(n, told)]
        added, foreign = _without_foreign_poses(rows, open_)
        if not known.all():
            if known.any():
                partial.append((other, int((~known).sum()), added))
            continue
        if foreign:
            notes.append(
                f"{_groups(foreign)} of {other.name} are an earlier job's and are not used: "
                f"{path.name} has poses of its own."
            )
        joined = _merge(path, rows, other, table, added)
        for name in added:
            _check_agree(
                path, name, first.setdefault(name, (other, joined[name])), (other, joined[name])
            )
        merged = _merge(path, merged, other, table, [n for n in added if n not in _names(merged)])
    for other, lacking, names in partial:
        if left := [n for n in names if n not in _names(merged)]:
            notes.append(
                f"warning: {_groups(left)} of {other.name} are not used, as it lacks {lacking} of the "
                f"{len(rows)} particles of {path.name}."
            )
    if not own and job and (taken := [n for n in _names(merged) if n not in _names(rows)]):
        files = ", ".join(dict.fromkeys(first[n][0].name for n in taken))
        notes.append(f"{_groups(taken)} are taken from {files}, of another job than {path.name}.")
    return merged


def _check_agree(
    path: Path, name: str, one: tuple[Path, np.ndarray], two: tuple[Path, np.ndarray]
) -> None:
    """Raise `CsError` where two files tell a field with different values."""
    if not _equal(one[1], two[1]):
        raise CsError(
            f"{path}: {one[0].name} and {two[0].name} beside it both have {name}, with different "
            f"values.\n  Remedy: move the one of another job away, or name the right one: "
            f"--poses {one[0]}"
        )


def read_csg(path: str | os.PathLike[str], notes: list[str] | None = None) -> np.ndarray:
    """The rows of a cryoSPARC group: every group of fields from the file the ``.csg`` names for it.

    File names are relative to the group file, or to one of the folders above it. The order of the
    rows is that of the file with the poses, or of the first one named. Where the job has poses of
    its own, those that a passthrough file brings from an earlier one are left out, as ``notes`` is
    told.
    """
    path = Path(path)
    files = _metafiles(path)
    posed = [group for group in files if _POSES.match(f"{group}/")]
    early = [group for group in posed if "passthrough" in Path(files[group]).name]
    if early and len(early) < len(posed):
        files = {group: name for group, name in files.items() if group not in early}
        if notes is not None:
            notes.append(f"{', '.join(early)} are an earlier job's poses and are not used.")
    tables = {name: _load(_beside(path, name)) for name in dict.fromkeys(files.values())}
    order = sorted(files, key=lambda group: not group.startswith("alignments"))
    rows = tables[files[order[0]]][["uid"]]
    for group in order:
        table = tables[files[group]]
        own = [n for n in _added(rows, table) if n.partition("/")[0] == group]
        rows = _merge(path, rows, _beside(path, files[group]), table, own)
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


def _job(path: Path) -> str:
    """The number of the job that a file's name tells, "" for none."""
    found = _JOB.search(path.name)
    return found[1] if found else ""


def _names(rows: np.ndarray) -> tuple[str, ...]:
    return rows.dtype.names or ()


def _groups(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(name.partition("/")[0] for name in names))


def _of_kinds(name: str, kinds: Sequence[str]) -> bool:
    return any(name.startswith(kind) for kind in kinds)


def _added(rows: np.ndarray, table: np.ndarray) -> list[str]:
    return [name for name in _names(table) if name not in _names(rows)]


def _without_foreign_poses(rows: np.ndarray, added: list[str]) -> tuple[list[str], list[str]]:
    """Fields to add without, and then with, poses of other kinds than the rows' own."""
    own = {match[0] for match in map(_POSES.match, _names(rows)) if match}
    foreign = [n for n in added if own and (match := _POSES.match(n)) and match[0] not in own]
    return [n for n in added if n not in foreign], foreign


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    same = one == other
    if one.dtype.kind == other.dtype.kind == "f":
        same |= np.isnan(one) & np.isnan(other)
    return bool(np.all(same))


def _merge(
    path: Path, rows: np.ndarray, other: Path, table: np.ndarray, added: Sequence[str]
) -> np.ndarray:
    """``rows`` with the fields ``added`` from the rows of ``table`` of the same uid."""
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
    if not added:
        return rows
    fields = [(n, rows.dtype[n]) for n in _names(rows)]
    merged = np.empty(len(rows), np.dtype(fields + [(n, table.dtype[n]) for n in added]))
    for name in _names(rows):
        merged[name] = rows[name]
    for name in added:
        merged[name] = table[name][source]
    return merged
