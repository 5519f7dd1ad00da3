"""RELION's tomograms.star: how each tilt series saw its tomogram, and where that file is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ...errors import StarError
from ...io.star import read_star
from ...notes import Note
from ..resolving import resolve
from ..tables import numbers

PARTICLES, TOMOGRAMS = "rlnTomoParticlesFile", "rlnTomoTomogramsFile"
_SERIES_FILE = "rlnTomoTiltSeriesStarFile"
_ANGLES = ("rlnTomoYTilt", "rlnTomoZRot")
_MATRIX = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ")


@dataclass(frozen=True, slots=True)
class TiltSeries:
    """One tilt series of f images.

    ``rotations`` (f, 3, 3): from the tomogram to each image; ``defocus_u``, ``defocus_v``,
    ``defocus_angle``, ``phase_shift``, ``scale``, ``b_factor`` and ``dose`` (f,) in RELION's units, at
    the tomogram's centre; ``hand``: by how much the defocus grows with the depth; ``size`` of the
    tomogram (x, y, z) and ``pixel_size`` as the tilt series has it, or NaN; ``notes`` for the user.
    """

    name: str
    path: Path
    rotations: NDArray[np.float64]
    defocus_u: NDArray[np.float64]
    defocus_v: NDArray[np.float64]
    defocus_angle: NDArray[np.float64]
    phase_shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    b_factor: NDArray[np.float64]
    dose: NDArray[np.float64]
    hand: float
    pixel_size: float
    size: tuple[float, float, float]
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.rotations)

    def centre(self, where: str) -> NDArray[np.float64]:
        """Centre of the tomogram in pixels of the tilt series, for coordinates from its corner."""
        if not np.isfinite([*self.size, self.pixel_size]).all():
            raise StarError(
                f"{where}: the coordinates (rlnCoordinateX) count from the corner of tomogram "
                f"{self.name!r}, but {self.path} has no rlnTomoSizeX, Y, Z and "
                f"rlnTomoTiltSeriesPixelSize.\n"
                f"  Remedy: give the tomograms.star of the reconstruction of the tomograms."
            )
        return np.array(self.size) / 2


def read_tomograms(path: Path) -> dict[str, TiltSeries]:
    """The tilt series of a tomograms.star by name.

    RELION 5 keeps each one in a file of its own, RELION 4 in further blocks of this file.
    Raises `StarError` where a table or a column is missing.
    """
    blocks = read_star(path)
    table = blocks.get("global", pd.DataFrame())
    if "rlnTomoName" not in table or len(table) == 0:
        raise StarError(
            f"{path}: no table of tilt series; the file has "
            f"{', '.join(f'data_{b}' for b in blocks)}, expected data_global with rlnTomoName.\n"
            f"  Remedy: give the tomograms.star of the tomography job."
        )
    others = [name for name in blocks if name != "global"]
    tilt_series = {}
    for i, row in enumerate(table.to_dict("records")):
        name = str(row["rlnTomoName"])
        if _SERIES_FILE in row:
            file = _resolved(str(row[_SERIES_FILE]), path, _SERIES_FILE)
            tables = read_star(file)
            series = tables.get(name, next(iter(tables.values())))
        else:
            file = path
            block = name if name in blocks else others[i] if i < len(others) else None
            if block is None:
                raise StarError(
                    f"{path}: there is neither a column {_SERIES_FILE} nor a block data_{name}.\n"
                    f"  Remedy: give the tomograms.star of the tomography job."
                )
            series = blocks[block]
        tilt_series[name] = _series(name, file, row, series)
    return tilt_series


def _series(name: str, path: Path, row: dict[str, object], table: pd.DataFrame) -> TiltSeries:
    where = f"{path}, tilt series {name}"
    needed = ["rlnDefocusU", "rlnMicrographPreExposure"]
    if not all(label in table for label in _MATRIX):
        needed += _ANGLES
    missing = [label for label in needed if label not in table]
    if missing or len(table) == 0:
        raise StarError(
            f"{where}: missing {', '.join(missing) or 'rows'} ({len(table)} tilt images).\n"
            f"  Remedy: align the tilt series and estimate their CTFs first."
        )

    def column(label: str, default: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
        if label in table:
            return numbers(table[label], label, where, StarError)
        return np.broadcast_to(np.asarray(default, float), len(table)).copy()

    def single(label: str, default: float) -> float:
        return float(numbers([row.get(label, default)], label, str(path), StarError)[0])

    sizes = [f"rlnTomoSize{axis}" for axis in "XYZ"]
    size = [single(label, 0.0) if label in row else float("nan") for label in sizes]
    pixel = "rlnTomoTiltSeriesPixelSize"
    dose, per_electron = (
        column("rlnMicrographPreExposure"),
        single("rlnCtfBfactorPerElectronDose", 0),
    )
    u = column("rlnDefocusU")
    return TiltSeries(
        name, path, _rotations(table, where), u, column("rlnDefocusV", u),
        column("rlnDefocusAngle"), column("rlnPhaseShift"), column("rlnCtfScalefactor", 1.0),
        b_factor=max(per_electron, 0.0) * dose,
        dose=np.zeros_like(dose) if per_electron > 0.0 else dose,
        hand=_hand(row, path, name) * single("rlnTomoDefocusSlope", 1.0),
        pixel_size=single(pixel, 0.0) if pixel in row else float("nan"),
        size=(size[0], size[1], size[2]), notes=tuple(_notes(table, row)),
    )  # fmt: skip


def _notes(table: pd.DataFrame, row: dict[str, object]) -> Iterator[Note]:
    if "rlnCtfBfactor" in table and np.any(table["rlnCtfBfactor"].to_numpy() != 0.0):
        text = "rlnCtfBfactor of the tilt series is not used; the pre-exposure is used instead."
        yield Note("tilt-b-factor-unused", "note", text)
    if any(str(label).startswith("rlnTomoDeformation") for label in row):
        text = (
            "Deformations of the tilt images (rlnTomoDeformation) are used to place the particles "
            "and are not applied within a particle."
        )
        yield Note("deformation-not-applied", "note", text)


def _hand(row: dict[str, object], path: Path, name: str) -> float:
    label = "rlnTomoHand"
    if label not in row:
        raise StarError(
            f"{path}: {label} of tilt series {name} is missing, so the sign with which the defocus "
            f"changes with depth is unknown.\n  Remedy: add it to data_global (usually -1)."
        )
    hand = float(numbers([row[label]], label, str(path), StarError)[0])
    if hand not in (-1.0, 1.0):
        raise StarError(f"{path}: {label} of tilt series {name} is {hand:g}, expected 1 or -1.")
    return hand


def _rotations(table: pd.DataFrame, where: str) -> NDArray[np.float64]:
    """Rotations (f, 3, 3) from the tomogram to the images: about z last, about x first."""
    if all(label in table for label in _MATRIX):
        return _projection_matrices(table, where)
    labels = ("rlnTomoXTilt", *_ANGLES)
    angles = [
        numbers(table[label], label, where, StarError) if label in table else np.zeros(len(table))
        for label in labels
    ]
    return Rotation.from_euler("xyz", np.stack(angles, axis=1), degrees=True).as_matrix()


def _projection_matrices(table: pd.DataFrame, where: str) -> NDArray[np.float64]:
    """The rotations in RELION 4's projection matrices, whose rows are lists "[a,b,c,d]"."""
    matrices = np.empty((len(table), 3, 3))
    for i, label in enumerate(_MATRIX):
        for frame, text in enumerate(table[label].astype(str)):
            values = numbers(text.strip("[] ").split(","), label, where, StarError)
            matrices[frame, i] = values[:3] if len(values) == 4 else np.nan
    error = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    bad = np.flatnonzero(~(error < 1e-3) | ~(np.linalg.det(matrices) > 0.0))
    if len(bad):
        raise StarError(
            f"{where} row {bad[0] + 1}: rlnTomoProjX, Y and Z hold no rotation "
            f"({len(bad)} of {len(table)} rows are affected).\n"
            f"  Remedy: import the tilt series again with RELION."
        )
    return matrices


def tomograms_of(path: Path) -> Path:
    """The tomograms.star that belongs to a particles.star.

    An optimisation set beside it names it (one that names these particles before others); or it is
    a file tomograms.star beside it. Raises `StarError` where there is none, or no single one.
    """
    named: dict[bool, set[Path]] = {True: set(), False: set()}
    for file in sorted(path.parent.glob("*optimisation_set.star")):
        entries = optimisation_set(read_star(file))
        if entries is not None and TOMOGRAMS in entries:
            own = Path(entries.get(PARTICLES, "")).name == path.name
            named[own].add(_resolved(entries[TOMOGRAMS], file, TOMOGRAMS))
    files = named[True] or named[False]
    beside = path.parent / "tomograms.star"
    if len(files) == 1:
        return files.pop()
    if not files and beside.is_file():
        return beside
    which = f"{len(files)} different ones are named beside it" if files else "there is no such file"
    raise StarError(
        f"{path}: each row is a stack of tilt images, whose angles, defoci and doses are in the "
        f"tomograms.star of the tomography job; {which}.\n"
        f"  Remedy: give the job's optimisation_set.star instead of the particles, or copy "
        f"tomograms.star beside them."
    )


def optimisation_set(blocks: dict[str, pd.DataFrame]) -> dict[str, str] | None:
    """The files that an optimisation set names, by label; None for another file."""
    for table in blocks.values():
        if TOMOGRAMS in table and len(table) == 1:
            return {str(label): str(value) for label, value in table.iloc[0].items()}
    return None


def _resolved(name: str, table: Path, label: str) -> Path:
    file = resolve(name, table, None)
    if file is None:
        raise StarError(
            f"{table}: {label} is {name}, which is neither there nor in a folder above.\n"
            f"  Remedy: keep the file in the project's folder, or correct its name."
        )
    return file


def files_of(path: Path, entries: dict[str, str]) -> tuple[Path, Path]:
    """The particles.star and the tomograms.star that an optimisation set names.

    Raises `StarError` where it names no particles, or files that are not there.
    """
    if PARTICLES not in entries:
        raise StarError(
            f"{path}: the optimisation set names no particles ({PARTICLES}).\n"
            f"  Remedy: give that of an extraction or a refinement."
        )
    return _resolved(entries[PARTICLES], path, PARTICLES), _resolved(
        entries[TOMOGRAMS], path, TOMOGRAMS
    )
