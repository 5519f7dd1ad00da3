"""Selections of particles: the first ones, an index file, classes, or an expression of columns."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..errors import InputError, SettingsError
from ..io.npy import read_npy
from ..io.pickles import load_pickle
from ..notes import Note
from .relion import physical_columns
from .tables import single_half_set
from .values import Particles

CLASS_COLUMNS = ("rlnClassNumber", "cs/alignments3D/class", "cs/alignments2D/class")
_TERM = re.compile(r"\s*_?([^\s=!<>]+)\s*(==|!=|<=|>=|=|<|>)\s*(.+?)\s*")
_QUOTED = re.compile(r"([\"'])(.*)\1")
_UNQUOTED = re.compile(r"[\s\"',;&|<>=!]")  # not in a value without quotes
_COMPARISONS: dict[str, Callable[..., NDArray[np.bool_]]] = {
    "=": np.equal, "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal,
    ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """Which particles of a file to use; fields that are None or empty do not restrict."""

    first: int | None = None
    indices: Path | None = None
    expression: str | None = None
    classes: tuple[int, ...] = ()

    def apply(self, particles: Particles) -> Particles:
        """The particles that match index file, classes and expression, and the first of those."""
        if self.indices is not None:
            particles = select_indices(particles, self.indices)
        if self.classes:
            particles = select_classes(particles, self.classes)
        if self.expression is not None:
            particles = select_matching(particles, self.expression)
        return particles if self.first is None else select_first(particles, self.first)


def parse_selection(
    first: int | None, indices: Path | None, expression: str | None, classes: str | None
) -> Selection:
    """A `Selection` from options of the command line; ``classes`` as "1,3"."""
    words = [] if classes is None else [word.strip() for word in classes.split(",")]
    if not all(word.isdecimal() for word in words):
        raise SettingsError(f"--classes {classes}: expected whole numbers with commas, e.g. 1,3.")
    return Selection(first, indices, expression, tuple(map(int, words)))


def select_first(particles: Particles, n: int) -> Particles:
    """The first ``n`` particles, or all where there are fewer; with all their tilt images."""
    if n < 1:
        raise SettingsError(f"--first {n}: expected at least 1.")
    return _selected(particles, particles[_numbers(particles) < n], f"--first {n}")


def select_indices(particles: Particles, path: str | os.PathLike[str]) -> Particles:
    """The particles that an index file names, in its order, counted from 0 as cryoDRGN does.

    ``.pkl`` and ``.npy`` hold integers, or a mask of all particles; ``.txt`` integers, any number
    to a line. Of tilt series these are particles, which keep all their tilt images. Raises
    `InputError` for indices out of range, repeated, or no integers.
    """
    path = Path(path)
    number = _numbers(particles)
    n = int(number.max()) + 1
    index = _indices(path, n)
    bad = np.flatnonzero((index < 0) | (index >= n))
    if len(bad):
        tilts = "" if n == len(particles) else f" (of {len(particles)} tilt images)"
        raise InputError(
            f"{path}: index {index[bad[0]]} is not among the {n} particles{tilts}, 0 to "
            f"{n - 1} ({len(bad)} of {len(index)} indices are affected).\n"
            f"  Remedy: give the index file that was made for {particles.source.name}."
        )
    unique, counts = np.unique(index, return_counts=True)
    if len(unique) < len(index):
        raise InputError(
            f"{path}: index {unique[counts > 1][0]} occurs {counts.max()} times; a particle counts "
            f"once.\n  Remedy: write each index once."
        )
    place = np.full(n, n)
    place[index] = np.arange(len(index))
    rows = np.argsort(place[number], kind="stable")[: np.isin(number, index).sum()]
    return _selected(particles, particles[rows], f"--indices {path}")


def _numbers(particles: Particles) -> NDArray[np.int64]:
    """The number from 0 of each row's particle (n,), in the order of the file."""
    tilts = particles.tilt_particles
    return np.arange(len(particles)) if tilts is None else pd.factorize(tilts)[0]


def select_classes(particles: Particles, classes: Sequence[int]) -> Particles:
    """The particles of ``classes``, numbered as in the file: by RELION from 1, cryoSPARC from 0."""
    table = particles.table
    label = next((label for label in CLASS_COLUMNS if label in table), None)
    if label is None:
        raise InputError(
            f"{particles.source}: no column of classes ({', '.join(CLASS_COLUMNS)}).\n"
            f"  Remedy: leave --from-classes out, or give the file of the classification."
        )
    column = table[label].to_numpy()
    absent = [k for k in classes if not np.any(column == k)]
    if absent:
        numbers, counts = np.unique(column, return_counts=True)
        members = ", ".join(f"{k} ({n})" for k, n in zip(numbers[:20], counts[:20], strict=True))
        raise InputError(
            f"{particles.source}: no particle is in class {absent[0]}; {label} has {members}.\n"
            f"  Remedy: choose among those."
        )
    option = f"--classes {','.join(map(str, classes))}"
    return _selected(particles, particles[np.isin(column, classes)], option)


def select_matching(particles: Particles, expression: str) -> Particles:
    """The particles for which an expression holds: ``rlnDefocusU < 20000 and rlnClassNumber = 1``.

    Comparisons ``column = != < <= > >= value`` are joined by ``and`` and ``or``, in any case; ``and``
    binds closer. Columns are those of the file, of its particles or its optics groups; a value is a
    number, or text for ``=`` and ``!=``, in quotes where it needs them.
    """
    mask = np.zeros(len(particles), dtype=bool)
    for alternative in re.split(r"\s+or\s+", expression.strip(), flags=re.IGNORECASE):
        every = np.ones(len(particles), dtype=bool)
        for term in re.split(r"\s+and\s+", alternative, flags=re.IGNORECASE):
            every &= _term(particles, expression, term)
        mask |= every
    if not mask.any():
        raise InputError(
            f"{particles.source}: no particle satisfies --selection {expression!r}.\n"
            f"  Remedy: check the columns' values."
        )
    return _selected(particles, particles[mask], f"--selection {expression!r}")


def _term(particles: Particles, expression: str, term: str) -> NDArray[np.bool_]:
    match = _TERM.fullmatch(term)
    if match is None:
        raise SettingsError(
            f"--selection {expression!r}: {term!r} is not a comparison; expected COLUMN = VALUE, or "
            f"one of != < <= > >=, joined by 'and' or 'or'."
        )
    label, operator, text = match.groups()
    column = _column(particles, label)
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2]
    elif match := _UNQUOTED.search(text):
        raise SettingsError(
            f"--selection {expression!r}: {text!r} contains {match[0]!r}; put such a value in quotes, "
            f"and join comparisons by 'and' or 'or'."
        )
    if not pd.api.types.is_numeric_dtype(column):
        if operator not in ("=", "==", "!="):
            raise SettingsError(
                f"--selection {expression!r}: {label} holds text; expected = or !=, not {operator}."
            )
        equal = column.astype(str).to_numpy(object) == text
        return np.logical_not(equal) if operator == "!=" else np.asarray(equal, dtype=bool)
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(
            f"--selection {expression!r}: {label} holds numbers, but {text!r} is not a number."
        ) from None
    return _COMPARISONS[operator](column.to_numpy(float), value)


def _column(particles: Particles, label: str) -> pd.Series:
    """A column of the particles, or of their optics groups, (n,)."""
    for name in (label, f"rln{label}", f"cs/{label}"):
        if name in particles.table:
            return pd.Series(particles.table[name])
        if name in particles.optics_table:
            return particles.optics_table[name].iloc[particles.optics.group.numpy()]
    values = physical_columns(particles)  # what files of other programs say under other names
    for name in (label, f"rln{label}"):
        if name in values:
            return pd.Series(values[name])
    columns = [*particles.table.columns, *particles.optics_table.columns, *values]
    known = ", ".join(dict.fromkeys(map(str, columns)))
    raise InputError(
        f"{particles.source}: no column {label}; there are {known}."
        f"\n  Remedy: write the column's name as it stands there."
    )


def _indices(path: Path, n: int) -> NDArray[np.int64]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _text_indices(path)
    if suffix == ".npy":
        values = read_npy(path)
    elif suffix == ".pkl":
        values = _array(load_pickle(path))
    else:
        raise InputError(f"--indices {path}: expected a .pkl, .npy or .txt file.")
    if values.dtype == bool and values.shape == (n,) and values.any():
        return np.flatnonzero(values)
    if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) == 0:
        raise InputError(
            f"{path}: holds {values.dtype} of shape {values.shape}, expected integers of shape "
            f"(m,), or a mask of shape ({n},) that is true somewhere.\n"
            f"  Remedy: numpy.save(file, indices)"
        )
    return values.astype(np.int64)


def _array(loaded: object) -> np.ndarray:
    """An array out of an index pickle; of text where that holds anything but a list of numbers."""
    if isinstance(loaded, np.ndarray):
        return loaded
    if isinstance(loaded, (list, tuple, set, frozenset)):
        numbers = all(isinstance(i, (int, np.integer)) and abs(int(i)) < 2**63 for i in loaded)
        if numbers:
            return np.array(sorted(loaded) if isinstance(loaded, (set, frozenset)) else loaded)
    return np.array(type(loaded).__name__)


def _text_indices(path: Path) -> NDArray[np.int64]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    words = [
        (i, word)
        for i, line in enumerate(lines, 1)
        for word in line.partition("#")[0].replace(",", " ").split()
    ]
    bad = [(i, word) for i, word in words if not (word.isdecimal() and len(word) < 19)]
    if bad or not words:
        where = f"line {bad[0][0]}: {bad[0][1][:40]!r}" if bad else "empty"
        raise InputError(
            f"{path}, {where}; expected whole numbers from 0.\n  Remedy: one index to a line."
        )
    return np.array([int(word) for _, word in words], dtype=np.int64)


def _selected(before: Particles, after: Particles, option: str) -> Particles:
    of_all = f"{len(after)} of {len(before)}"
    if before.tilt_particles is None:
        used = f"{of_all} particles"
    else:
        kept, present = (int(_numbers(p).max(initial=-1)) + 1 for p in (after, before))
        used = f"{kept} of {present} particles ({of_all} tilt images)"
    notes = [*after.notes, Note("selected", "note", f"{used} are used ({option}).")]
    halves = after.half_sets
    if before.has_half_sets and len(after) > 1 and bool((halves == halves[0]).all()):
        notes.append(single_half_set(f"After {option} the half-set is {int(halves[0])}"))
        halves = torch.zeros_like(halves)
    return replace(after, half_sets=halves, notes=tuple(notes))
