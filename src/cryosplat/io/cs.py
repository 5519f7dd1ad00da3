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
from ..notes import Note
from .npy import read_npy

_MAX_GROUP_FILE = 2**20
_JOB = re.compile(r"(?:^|_)J(\d+)(?=[_.])")
_POSES = re.compile(r"alignments(?:3D|3D_multi|_class_\d+)/")
_KEY = re.compile(r"^( *)([\w./-]+) *: *(.*?) *$")


def read_cs(
    path: str | os.PathLike[str], others: Mapping[Path, Sequence[str]] | None = None
) -> tuple[np.ndarray, list[Note]]:
    """The rows of a ``.cs`` file with the fields it lacks from its passthrough files, and notes.

    Rows are joined by ``uid``, in any order. ``others``: files asked for by name, each with the
    beginnings of the names of its fields that replace the table's own. After them come the files
    named ``*passthrough*.cs`` in the same folder that describe all the same particles: those of the
    same job or, where there are none, all. Poses of other jobs are not taken where the table has
    its own, nor is anything that replaced fields would contradict. The notes say what was taken and
    what was not.

    Raises `CsError` for files that are not ``.cs`` tables, for particles that one of ``others``
    lacks, and where two passthroughs contradict each other.
    """
    path = Path(path)
    notes: list[Note] = []
    rows = _load(path)
    fixed: list[str] = []
    for other, kinds in (others or {}).items():
        table = _load(other)
        if any(_of_kinds(n, kinds) for n in _names(table)):
            fixed.extend(kinds)
            if replaced := [n for n in _names(rows) if _of_kinds(n, kinds)]:
                rows = rows[[n for n in _names(rows) if n not in replaced]]
                text = f"{_groups(replaced)} of {path.name} are replaced by those of {other}."
                notes.append(Note("fields-replaced", "note", text))
        rows = _merge(path, rows, other, table, _added(rows, table))
    if "passthrough" in path.name:
        return rows, notes
    rows, more = _with_passthroughs(path, rows, fixed)
    return rows, notes + more


def _with_passthroughs(
    path: Path, rows: np.ndarray, fixed: Sequence[str]
) -> tuple[np.ndarray, list[Note]]:
    """``rows`` with the fields they lack, other than the kinds ``fixed``, from the passthrough files
    beside their own."""
    job, notes = _job(path), list[Note]()
    beside = [other for other in sorted(path.parent.glob("*passthrough*.cs")) if other != path]
    own = [other for other in beside if job and _job(other) == job]
    first: dict[str, tuple[Path, np.ndarray]] = {}
    partial: list[tuple[Path, int, list[str]]] = []
    merged = rows
    for other in own or beside:
        table = _load(other)
        known = np.isin(rows["uid"], table["uid"])
        open_ = [n for n in _added(rows, table) if not _of_kinds(n, fixed)]
        added, foreign = _without_foreign_poses(rows, open_)
        if not known.all():
            if known.any():
                partial.append((other, int((~known).sum()), added))
            continue
        if foreign:
            notes.append(Note(
                "earlier-poses-unused", "note",
                f"{_groups(foreign)} of {other.name} come from an earlier job and are not used: "
                f"{path.name} has its own poses.",
            ))  # fmt: skip
        joined = _merge(path, rows, other, table, added)
        for name in added:
            _check_agree(
                path, name, first.setdefault(name, (other, joined[name])), (other, joined[name])
            )
        merged = _merge(path, merged, other, table, [n for n in added if n not in _names(merged)])
    for other, n_missing, names in partial:
        if left := [n for n in names if n not in _names(merged)]:
            notes.append(Note(
                "passthrough-incomplete", "warning",
                f"{_groups(left)} of {other.name} are not used, because it lacks {n_missing} of "
                f"the {len(rows)} particles of {path.name}.",
                "Copy the job's own passthrough file beside it.",
            ))  # fmt: skip
    if not own and job and (taken := [n for n in _names(merged) if n not in _names(rows)]):
        files = ", ".join(dict.fromkeys(first[n][0].name for n in taken))
        text = f"{_groups(taken)} are taken from {files}, from another job than {path.name}."
        notes.append(Note("fields-of-another-job", "note", text))
    return merged, notes


def _check_agree(
    path: Path, name: str, first: tuple[Path, np.ndarray], second: tuple[Path, np.ndarray]
) -> None:
    """Raise `CsError` where two files have different values of a field."""
    if not _equal(first[1], second[1]):
        raise CsError(
            f"{path}: {first[0].name} and {second[0].name} beside it both have {name}, with "
            f"different values.\n  Remedy: move away the file of the other job, or name the right "
            f"one: --poses {first[0]}"
        )


def read_csg(path: str | os.PathLike[str]) -> tuple[np.ndarray, list[Note]]:
    """The rows of a cryoSPARC group, each group of fields from the file that the ``.csg`` names, and
    notes.

    File names are relative to the group file, or to one of the folders above it. The order of the
    rows is that of the file with the poses, or of the first one named. Where the job has its own
    poses, those that a passthrough file brings from an earlier job are left out, with a note.
    """
    path = Path(path)
    files, notes = _metafiles(path), list[Note]()
    posed = [group for group in files if _POSES.match(f"{group}/")]
    early = [group for group in posed if "passthrough" in Path(files[group]).name]
    if early and len(early) < len(posed):
        files = {group: name for group, name in files.items() if group not in early}
        text = f"{', '.join(early)} are poses of an earlier job and are not used."
        notes.append(Note("earlier-poses-unused", "note", text))
    tables = {name: _load(_beside(path, name)) for name in dict.fromkeys(files.values())}
    order = sorted(files, key=lambda group: not group.startswith("alignments"))
    rows = tables[files[order[0]]][["uid"]]
    for group in order:
        table = tables[files[group]]
        own = [n for n in _added(rows, table) if n.partition("/")[0] == group]
        rows = _merge(path, rows, _beside(path, files[group]), table, own)
    return rows, notes


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
        f"{path}: names {name}, which is neither beside it nor in a folder above.\n"
        f"  Remedy: copy {Path(name).name} beside it."
    )


def _load(path: Path) -> np.ndarray:
    rows = read_npy(path, CsError, "a cryoSPARC .cs table", "export the job's particles again.")
    if rows.ndim != 1 or "uid" not in (rows.dtype.names or ()) or rows.dtype["uid"].kind != "u":
        raise CsError(f"{path}: not a .cs table; its rows have no field uid of unsigned integers.")
    return rows


def _job(path: Path) -> str:
    """The number of the job in a file's name, "" for none."""
    match = _JOB.search(path.name)
    return match[1] if match else ""


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


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    same = a == b
    if a.dtype.kind == b.dtype.kind == "f":
        same |= np.isnan(a) & np.isnan(b)
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
