"""Gaussian mixtures as PLY files: little-endian binary, Angstrom, values after activation.

One ``vertex`` per Gaussian, in float32: ``x y z`` centre from the rotation centre and
``scale_0..2`` standard deviations (Angstrom), ``rot_0..3`` unit quaternion (w, x, y, z),
``amplitude`` integral of the Gaussian. Unlike the files of 3-D Gaussian splatting, nothing is a
logarithm or a logit; the header says so. Further columns may follow: readers that do not know them
skip them. A symmetric mixture is stored as its asymmetric unit, with a comment such as
``comment cryosplat symmetry D7`` in the header; the axes are those of `symmetry`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from ..errors import InputError, SettingsError
from ..symmetry import rotations_of, symmetry_name
from .atomic import replacing

COLUMNS = (
    "x", "y", "z", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "amplitude"
)  # fmt: skip
COMMENTS = (
    "Gaussian mixture written by cryosplat; all values are physical, after activation",
    "x y z: centre from the map's rotation centre, Angstrom",
    "scale_0 scale_1 scale_2: standard deviations along the Gaussian's axes, Angstrom",
    "rot_0 rot_1 rot_2 rot_3: unit quaternion w x y z from the Gaussian's axes to the map's",
    "amplitude: integral of the Gaussian; their sum is the sum over the map's voxels",
)
EXTRA_COMMENTS = {
    "sigma_position": "standard deviation of the centre along each axis, Angstrom",
    "sigma_amplitude": "standard deviation of the amplitude, relative",
}
SYMMETRY = ("cryosplat", "symmetry")
"""The words before the point group's name in a comment of the header."""
HEADER_LIMIT = 1 << 16
FORMATS = {"binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlyMixture:
    """What a mixture file holds: float32 in the units and order of `GaussianMixture`.

    ``extra``: all further columns by name, each (k,) float32; they may hold NaN. With a ``symmetry``
    the Gaussians are those of one asymmetric unit.
    """

    means: NDArray[np.float32]
    scales: NDArray[np.float32]
    quaternions: NDArray[np.float32]
    amplitudes: NDArray[np.float32]
    comments: tuple[str, ...] = ()
    extra: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    symmetry: str = "C1"

    def whole(self) -> PlyMixture:
        """All Gaussians of the map with all their columns, the stored ones first, without symmetry."""
        rotations = rotations_of(self.symmetry)
        copies, k = len(rotations), len(self.amplitudes)
        if copies == 1:
            return self
        turns = Rotation.from_matrix(np.repeat(rotations, k, axis=0))
        own = Rotation.from_quat(np.tile(self.quaternions[:, [1, 2, 3, 0]], (copies, 1)))
        return replace(
            self,
            means=np.einsum("sij,kj->ski", rotations, self.means).reshape(-1, 3).astype("f4"),
            scales=np.tile(self.scales, (copies, 1)),
            quaternions=(turns * own).as_quat()[:, [3, 0, 1, 2]].astype("f4"),
            amplitudes=np.tile(self.amplitudes, copies),
            extra={name: np.tile(values, copies) for name, values in self.extra.items()},
            symmetry="C1",
        )

    @property
    def sigma_position(self) -> NDArray[np.float32] | None:
        """Standard deviation (k,) of each centre along each axis in Angstrom, if the file has it."""
        return self.extra.get("sigma_position")

    @property
    def sigma_amplitude(self) -> NDArray[np.float32] | None:
        """Relative standard deviation (k,) of each amplitude, if the file has it."""
        return self.extra.get("sigma_amplitude")


def write_ply(
    path: str | os.PathLike[str],
    means: ArrayLike,
    scales: ArrayLike,
    quaternions: ArrayLike,
    amplitudes: ArrayLike,
    comments: tuple[str, ...] = (),
    extra: Mapping[str, ArrayLike] | None = None,
    symmetry: str = "C1",
) -> None:
    """Write k Gaussians: means (k, 3), scales (k, 3), quaternions (k, 4), amplitudes (k,).

    ``comments`` follow the standard ones in the header, one line each; ``extra`` columns (k,)
    follow the standard ones in each row, in their order. With a ``symmetry`` the Gaussians are those
    of one asymmetric unit. The file appears whole or not at all.

    Raises
    ------
    InputError
        The arrays disagree in length, have other shapes, or hold NaN or infinite values; or the
        name of an extra column is taken or no word of letters, digits and underscores.
    OutputError
        The file cannot be written.
    """
    extra = extra or {}
    columns = {"means": 3, "scales": 3, "quaternions": 4, "amplitudes": 1}
    for name in extra:
        if name in (*COLUMNS, *columns) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise InputError(
                f"{path}: {name!r} cannot name an extra column, expected a word of letters, digits "
                f"and underscores other than {', '.join(COLUMNS)}."
            )
    columns |= dict.fromkeys(extra, 1)
    arrays = dict(
        zip(columns, (means, scales, quaternions, amplitudes, *extra.values()), strict=True)
    )
    k = len(np.asarray(means))
    parts = []
    for name, width in columns.items():
        values = np.asarray(arrays[name], "<f4")
        expected = (k, width) if width > 1 else (k,)
        if values.shape != expected:
            raise InputError(f"{path}: {name} has shape {values.shape}, expected {expected}.")
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(f"{path}: {bad} values of {name} are NaN or infinite in float32.")
        parts.append(values.reshape(k, width))
    lines = ["ply", "format binary_little_endian 1.0"]
    explained = [f"{name}: {EXTRA_COMMENTS[name]}" for name in extra if name in EXTRA_COMMENTS]
    if symmetry != "C1":
        copies = len(rotations_of(symmetry))
        explained += [
            " ".join((*SYMMETRY, symmetry_name(symmetry))),
            f"the Gaussians of one of {copies} asymmetric units, about RELION's axes; the map is the "
            f"sum of all {copies}",
        ]
    lines += [f"comment {' '.join(text.split())}" for text in (*COMMENTS, *explained, *comments)]
    lines += [f"element vertex {k}", *(f"property float {name}" for name in (*COLUMNS, *extra))]
    lines += ["end_header"]
    header = ("\n".join(lines) + "\n").encode("ascii", "replace")
    with replacing(Path(path)) as stream:
        stream.write(header)
        stream.write(np.concatenate(parts, axis=1).tobytes())


def read_ply(path: str | os.PathLike[str]) -> PlyMixture:
    """Read a mixture written by `write_ply`, or any binary PLY with its columns, in any order.

    Raises
    ------
    InputError
        The file is absent, is no binary PLY, lacks a column, is shorter or longer than its header
        says, holds NaN or infinite values, a scale that is not positive or a quaternion of length
        0 (as files with values before activation, such as those of 3-D Gaussian splatting, do), or
        names a symmetry that there is not.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    dtype, count, comments, start = _read_header(path, content)
    expected = start + count * dtype.itemsize
    if len(content) != expected:
        raise InputError(
            f"{path}: the header promises {count} Gaussians, {expected} bytes, but the file holds "
            f"{len(content)}. It was probably cut short while being copied. "
            f"Remedy: copy or write it again."
        )
    table = np.frombuffer(content, dtype, count, start)
    values = np.stack([table[name].astype(np.float32) for name in COLUMNS], axis=1)
    _check_values(path, values)
    means, scales, quaternions, amplitudes = np.split(values, (3, 6, 10), axis=1)
    extra = {
        name: table[name].astype(np.float32) for name in dtype.names or () if name not in COLUMNS
    }
    symmetry = _symmetry(path, comments)
    return PlyMixture(means, scales, quaternions, amplitudes[:, 0], comments, extra, symmetry)


def _symmetry(path: Path, comments: tuple[str, ...]) -> str:
    """What the header's comments say of the symmetry, at most once."""
    given = [words[2:] for words in map(str.split, comments) if (*words[:2],) == SYMMETRY]
    if len(given) > 1:
        raise InputError(f"{path}: the header names a symmetry {len(given)} times, expected once.")
    try:
        return symmetry_name(" ".join(given[0])) if given else "C1"
    except SettingsError as error:
        raise InputError(f"{path}: the header's {error}") from None


def _read_header(path: Path, content: bytes) -> tuple[np.dtype, int, tuple[str, ...], int]:
    """Row type, number of rows, comments and the offset of the first row."""
    end = content.find(b"end_header", 0, HEADER_LIMIT)
    newline = content.find(b"\n", end)
    if not content.startswith(b"ply") or end < 0 or newline < 0:
        raise InputError(
            f"{path}: not a PLY file (no 'ply ... end_header' at its beginning).\n"
            f"  Remedy: copy it again, or repeat the run that wrote it."
        )
    lines = content[:end].decode("ascii", "replace").splitlines()[1:]
    order, count, comments = "", -1, []
    fields: list[tuple[str, str]] = []
    for line in lines:
        match line.split():
            case ["format", name, "1.0"]:
                order = FORMATS.get(name, "")
            case ["comment", *words]:
                comments.append(" ".join(words))
            case ["element", "vertex", number] if (
                number.isdigit() and len(number) < 19 and count < 0
            ):
                count = int(number)
            case ["property", kind, name] if kind in TYPES and count >= 0:
                fields.append((name, TYPES[kind]))
            case ["obj_info", *_] | []:
                pass
            case _:
                raise InputError(
                    f"{path}: header line {line!r} cannot be used, expected one element 'vertex' "
                    f"with number columns. Remedy: keep only the Gaussians in the file."
                )
    if not order or count < 0:
        raise InputError(
            f"{path}: expected 'format binary_little_endian 1.0' and 'element vertex N' in the "
            f"header. Remedy: convert the file to binary PLY."
        )
    _check_columns(path, [name for name, _ in fields])
    dtype = np.dtype([(name, order + kind) for name, kind in fields])
    return dtype, count, tuple(comments), newline + 1


def _check_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        hint = (
            " This is a file of 3-D Gaussian splatting (opacity, logarithmic scales), which is no "
            "density: it cannot be converted."
            if "opacity" in names
            else ""
        )
        raise InputError(
            f"{path}: the columns {', '.join(missing)} are missing, expected {', '.join(COLUMNS)}."
            f"{hint}"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: the columns {', '.join(repeated)} appear more than once.")


def _check_values(path: Path, values: NDArray[np.float32]) -> None:
    rules = (
        (~np.isfinite(values).all(axis=1), "a value that is NaN or infinite", "finite numbers"),
        (~(values[:, 3:6] > 0).all(axis=1), "a scale that is not positive",
         "standard deviations in Angstrom, not their logarithms"),
        ((values[:, 6:10] == 0.0).all(axis=1), "a quaternion of length 0",
         "a rotation (w, x, y, z)"),
    )  # fmt: skip
    for bad, given, expected in rules:
        if bad.any():
            raise InputError(
                f"{path}: Gaussian {int(bad.argmax())} has {given}, expected {expected} "
                f"({int(bad.sum())} of {len(values)} Gaussians are affected)."
            )
