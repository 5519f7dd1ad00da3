"""The particle table of a star file, joined to its optics groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import StarError
from ...io.star import read_star
from ...notes import Note, NoteCollector
from ..cistem import ACTIVE_ROWS, OWN_LABELS, is_cistem, relion_columns
from ..tables import integers, numbers
from ._tilt_series import files_of, optimisation_set, read_tomograms, tomograms_of
from ._tomography import tilt_image_rows

# What RELION takes from the optics table only, unlike the CTF's values.
OPTICS_FIRST = ("rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality")
_PARTICLE_BLOCKS = ("particles", "images", "")


@dataclass(slots=True)
class StarTable:
    """The particle rows of a star file, and the row of the optics table each belongs to.

    ``tilt_stacks``: the file has one row per particle; the rows here are its tilt images.
    ``own_labels`` and ``own_rows`` (n,): names of columns and numbers of rows as in the file, where
    they differ from those here, for messages.
    """

    path: Path
    block: str
    rows: pd.DataFrame
    optics: pd.DataFrame
    optics_row: NDArray[np.int64]
    missing: list[str] = field(default_factory=list)
    tilt_stacks: bool = False
    notes: tuple[Note, ...] = ()
    own_labels: dict[str, str] = field(default_factory=dict)
    own_rows: NDArray[np.int64] | None = None

    @property
    def where(self) -> str:
        """File and block, for messages that count the rows held here."""
        active = "" if self.own_rows is None else ACTIVE_ROWS
        return f"{self.path}, data_{self.block}{active}"

    def has(self, label: str) -> bool:
        """Whether the particles or their optics groups have the column."""
        return label in self.rows or label in self.optics

    def text(self, label: str) -> NDArray[np.object_]:
        """A column as it stands, particle rows first but for `OPTICS_FIRST`, (n,)."""
        if self._of_rows(label):
            return self.rows[label].to_numpy(object)
        return self.optics[label].to_numpy(object)[self.optics_row]

    def _of_rows(self, label: str) -> bool:
        return label in self.rows and not (label in OPTICS_FIRST and label in self.optics)

    def numbers(self, label: str) -> NDArray[np.float64]:
        """A required column, (n,) float64; a missing one is remembered and read as NaN."""
        if self._of_rows(label):
            where, own = f"{self.path}, data_{self.block}", self.own_labels.get(label, label)
            return numbers(self.rows[label], own, where, StarError, self.own_rows)
        if label in self.optics:
            column = self.optics[label].to_numpy(object, copy=True)
            column[~np.isin(np.arange(len(column)), self.optics_row)] = 0.0  # of no particle
            where = f"{self.path}, data_optics"
            return numbers(column, label, where, StarError)[self.optics_row]
        self.missing.append(label)
        return np.full(len(self.rows), np.nan)

    def numbers_or(self, label: str, default: float) -> NDArray[np.float64]:
        """An optional column, (n,) float64."""
        return self.numbers(label) if self.has(label) else np.full(len(self.rows), default)

    def require_all(self) -> None:
        """Raise one error for all the columns that were missing."""
        if not self.missing:
            return
        names = list(dict.fromkeys(self.missing))
        remedies = dict.fromkeys(_remedy(name) for name in names)
        raise StarError(
            f"{self.where}: missing {', '.join(names)} ({len(self.rows)} rows).\n"
            f"  The table has {', '.join(map(str, self.rows.columns[:40]))}.\n"
            f"  Remedy: {'; '.join(remedies)}"
        )


def _remedy(label: str) -> str:
    if label == "rlnImageName":
        return "give the STAR file of a particle extraction or refinement, not of picking"
    if label.startswith("rlnAngle"):
        return (
            "find the poses: cryosplat reconstruct --abinit, or cryosplat abinit; or pass "
            "--poses poses.pkl"
        )
    if label in ("rlnImagePixelSize", "rlnMagnification"):
        return "--pixel-size ANGSTROM"
    if label.startswith("rlnOrigin"):
        return "write the file again with both origins"
    return f"add _{label} to data_optics or to every row, or pass --ctf ctf.pkl"


def open_star(path: Path) -> StarTable:
    """The particle table of a star file, or of the file that an optimisation set names, joined to its
    optics table by group id.

    Each tilt image of RELION 5's stacks gets a row, and cisTEM's tables get RELION's columns.
    """
    blocks, tomograms = read_star(path), None
    entries = optimisation_set(blocks)
    if entries is not None:
        path, tomograms = files_of(path, entries)
        blocks = read_star(path)
    notes = NoteCollector()
    block = next((b for b in _PARTICLE_BLOCKS if b in blocks), None)
    if block is None:
        with_images = [name for name, table in blocks.items() if "rlnImageName" in table]
        if len(with_images) == 1:
            block = with_images[0]
            text = f"The particles are read from the table data_{block}."
            notes.add(Note("table-name", "note", text))
    if block is None:
        raise StarError(
            f"{path}: no table of particles; the file has "
            f"{', '.join(f'data_{b} ({len(t)} rows)' for b, t in blocks.items())}, expected "
            f"data_particles.\n  Remedy: give the particles.star or run_data.star of the job."
        )
    rows = blocks[block]
    if len(rows) == 0:
        raise StarError(
            f"{path}, data_{block}: the table has no rows.\n"
            f"  Remedy: check the selection that wrote it."
        )
    tilt_stacks = _has_tilt_stacks(blocks)
    own_labels, own_rows = {}, None
    if is_cistem(rows):
        n, own_labels = len(rows), OWN_LABELS
        rows, active = notes.collect(relion_columns(rows, path, block))
        own_rows = active if len(active) < n else None
    if tilt_stacks:
        rows = notes.collect(_with_tilt_images(path, tomograms, rows))
    optics = blocks.get("optics")
    if optics is None or len(optics) == 0:
        if "rlnOpticsGroup" in rows and "rlnVoltage" not in rows:
            raise StarError(
                f"{path}, data_{block}: the rows name optics groups, but the file has no "
                f"data_optics table.\n  Remedy: copy data_optics from the job's original file."
            )
        optics, joined = pd.DataFrame(index=[0]), np.zeros(len(rows), int)
    else:
        joined = _join(path, block, rows, optics)
    return StarTable(
        path, block, rows, optics, joined, tilt_stacks=tilt_stacks, notes=tuple(notes),
        own_labels=own_labels, own_rows=own_rows,
    )  # fmt: skip


def _has_tilt_stacks(blocks: dict[str, pd.DataFrame]) -> bool:
    """Whether each row is a stack of tilt images, as RELION 5 writes them."""
    label = "rlnTomoSubTomosAre2DStacks"
    general = blocks.get("general", pd.DataFrame())
    return label in general and bool(np.any(general[label].astype(str).to_numpy(object) != "0"))


def _with_tilt_images(
    path: Path, tomograms: Path | None, rows: pd.DataFrame
) -> tuple[pd.DataFrame, list[Note]]:
    """One row per tilt image in place of one per particle, and notes."""
    series = read_tomograms(tomograms_of(path) if tomograms is None else tomograms)
    images = tilt_image_rows(rows, series, f"{path}, data_particles")
    used = sorted(set(rows["rlnTomoName"].astype(str)))
    text = (
        f"{len(rows)} particles are read as {len(images)} tilt images of {len(used)} tilt series."
    )
    notes = [Note("tilt-images", "note", text)]
    return images, [*notes, *dict.fromkeys(n for name in used for n in series[name].notes)]


def _join(path: Path, block: str, rows: pd.DataFrame, optics: pd.DataFrame) -> NDArray[np.int64]:
    if "rlnOpticsGroup" not in optics or "rlnOpticsGroup" not in rows:
        if len(optics) == 1:
            return np.zeros(len(rows), dtype=np.int64)
        incomplete = f"data_{block}" if "rlnOpticsGroup" in optics else "data_optics"
        raise StarError(
            f"{path}, {incomplete}: missing rlnOpticsGroup, so the rows cannot be joined to the "
            f"{len(optics)} optics groups.\n  Remedy: write the file again with RELION."
        )
    ids = integers(optics["rlnOpticsGroup"], "rlnOpticsGroup", f"{path}, data_optics", StarError)
    if len(np.unique(ids)) < len(ids):
        raise StarError(f"{path}, data_optics: an rlnOpticsGroup occurs twice in {ids.tolist()}.")
    where = f"{path}, data_{block}"
    group = integers(rows["rlnOpticsGroup"], "rlnOpticsGroup", where, StarError)
    position = pd.Index(ids).get_indexer(pd.Index(group))
    bad = np.flatnonzero(position < 0)
    if len(bad):
        raise StarError(
            f"{where} row {bad[0] + 1}: optics group {group[bad[0]]} is not in data_optics, which "
            f"has {sorted(ids.tolist())} ({len(bad)} rows of this file are affected).\n"
            f"  Remedy: join the files with relion_star_handler --combine, which keeps the groups."
        )
    return position.astype(np.int64)
