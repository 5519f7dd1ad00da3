"""MRC2014 maps and image stacks.

Data are stored x fastest, so arrays index ``[z, y, x]``. The voxel size is ``cella / m`` (not
``cella / n``: a stack has ``mz = 1``). Mode 0 is signed. (Cheng et al. 2015, J. Struct. Biol. 192.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MrcError
from ._atomic import replacing

_HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_HEADER = np.dtype(
    [
        ("n", "i4", 3), ("mode", "i4"), ("nstart", "i4", 3), ("m", "i4", 3), ("cella", "f4", 3),
        ("cellb", "f4", 3), ("mapcrs", "i4", 3), ("dmin", "f4"), ("dmax", "f4"), ("dmean", "f4"),
        ("ispg", "i4"), ("nsymbt", "i4"), ("extra1", "V8"), ("exttyp", "S4"), ("nversion", "i4"),
        ("extra2", "V84"), ("origin", "f4", 3), ("map", "S4"), ("machst", "u1", 4),
        ("rms", "f4"), ("nlabl", "i4"), ("label", "S80", 10),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MapFile:
    """A map: ``data`` float32 [z, y, x], ``pixel_size`` and ``origin`` (x, y, z) in Angstrom."""

    data: NDArray[np.float32]
    pixel_size: float
    origin: tuple[float, float, float]


class StackFile:
    """A file of images, of which only the header is read until `read` is called.

    The header is checked against the size of the file. Each `read` maps the part of the file it
    needs and lets go of it, so a stack of any size costs no memory and no file stays open.
    """

    __slots__ = ("_dtype", "_offset", "n_images", "path", "pixel_size", "shape")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header, order = _read_header(self.path)
        nx, ny, nz = (int(v) for v in header["n"])
        self._dtype = np.dtype(_MODES[int(header["mode"])]).newbyteorder(order)
        self._offset = _HEADER_BYTES + int(header["nsymbt"])
        self.n_images: int = nz
        self.shape: tuple[int, int] = (ny, nx)
        self.pixel_size: float = float(_voxel_size(header)[0])
        _check_size(self.path, self._offset, (nz, ny, nx), self._dtype.itemsize)

    def read(self, indices: ArrayLike) -> NDArray[np.float32]:
        """The images ``indices`` (0-based, any order), float32 of shape (n, ny, nx)."""
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        images = np.empty((len(wanted), *self.shape), dtype=np.float32)
        if len(wanted) == 0:
            return images
        first, last = int(wanted.min()), int(wanted.max())
        if first < 0 or last >= self.n_images:
            raise MrcError(
                f"{self.path}: image {last + 1 if last >= self.n_images else first + 1} was asked "
                f"for, but the stack holds images 1 to {self.n_images}."
            )
        stored = np.memmap(
            self.path, self._dtype, "r", self._offset + first * self._image_bytes,
            (last - first + 1, *self.shape),
        )  # fmt: skip
        starts = np.flatnonzero(np.diff(wanted, prepend=wanted[0] - 2) != 1)
        for start, stop in zip(starts, [*starts[1:], len(wanted)], strict=True):
            position = int(wanted[start]) - first
            images[start:stop] = stored[position : position + stop - start]
        return images

    @property
    def _image_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self._dtype.itemsize


def read_map(path: str | os.PathLike[str]) -> MapFile:
    """Read a volume, its axes brought into the order [z, y, x].

    Space groups 0, 1 and 401 are all accepted for a volume (cryoSPARC and ChimeraX write 0).
    Raises `MrcError` for unreadable headers, cut files, several volumes and unequal voxel sizes.
    """
    path = Path(path)
    header, order = _read_header(path)
    nx, ny, nz = (int(v) for v in header["n"])
    dtype = np.dtype(_MODES[int(header["mode"])]).newbyteorder(order)
    offset = _HEADER_BYTES + int(header["nsymbt"])
    _check_size(path, offset, (nz, ny, nx), dtype.itemsize)
    data = np.fromfile(path, dtype, nz * ny * nx, offset=offset).reshape(nz, ny, nx)
    axes = [int(v) for v in header["mapcrs"]]
    if sorted(axes) != [1, 2, 3]:
        axes = [1, 2, 3]
    # array axis 0 runs along sections (maps), 1 along rows (mapr), 2 along columns (mapc)
    data = data.transpose([axes[::-1].index(axis) for axis in (3, 2, 1)])
    voxel = _voxel_size(header)
    if voxel.max() - voxel.min() > 1e-3 * voxel.max():
        raise MrcError(
            f"{path}: the voxels measure {voxel[0]:.4f} x {voxel[1]:.4f} x {voxel[2]:.4f} "
            f"Angstrom, expected cubes.\n  Remedy: resample the map to cubic voxels."
        )
    x, y, z = (float(v) for v in header["origin"])
    return MapFile(np.ascontiguousarray(data, dtype=np.float32), float(voxel[0]), (x, y, z))


def write_map(
    path: str | os.PathLike[str], data: ArrayLike, pixel_size: float, label: str = ""
) -> None:
    """Write a volume [z, y, x] as float32, atomically, with its origin at (0, 0, 0)."""
    volume = np.ascontiguousarray(data, dtype="<f4")
    if volume.ndim != 3:
        raise MrcError(f"{path}: a map has 3 axes, the array given has shape {volume.shape}.")
    header = _new_header(volume.shape, pixel_size, label)
    header["ispg"], header["m"][2] = 1, volume.shape[0]
    header["cella"][2] = volume.shape[0] * pixel_size
    _set_statistics(header, *_moments(volume), volume.size)
    with replacing(Path(path)) as stream:
        stream.write(header.tobytes())
        stream.write(volume.data)


def write_stack(
    path: str | os.PathLike[str], images: Iterable[ArrayLike], pixel_size: float, label: str = ""
) -> int:
    """Write images, one (ny, nx) or a block (n, ny, nx) at a time, atomically; returns their count.

    The iterable is consumed as it is written, so a stack need never be whole in memory.
    """
    header, count, moments = None, 0, np.array([np.inf, -np.inf, 0.0, 0.0])
    with replacing(Path(path)) as stream:
        stream.write(bytes(_HEADER_BYTES))
        for item in images:
            block = np.ascontiguousarray(item, dtype="<f4")
            block = block[None] if block.ndim == 2 else block
            if header is None:
                header = _new_header((0, *block.shape[1:]), pixel_size, label)
            if block.shape[1:] != (header["n"][1], header["n"][0]):
                raise MrcError(
                    f"{path}: image {count + 1} has shape {block.shape[1:]}, the images before it "
                    f"{(int(header['n'][1]), int(header['n'][0]))}; a stack holds one shape."
                )
            if block.size:
                low, high, total, squares = _moments(block)
                moments[:2] = min(moments[0], low), max(moments[1], high)
                moments[2:] += total, squares
            stream.write(block.data)
            count += len(block)
        if header is None or count == 0:
            raise MrcError(f"{path}: no images were given; a stack holds at least one.")
        header["n"][2] = count
        low, high, total, squares = moments.tolist()
        pixels = count * int(header["n"][0]) * int(header["n"][1])
        _set_statistics(header, low, high, total, squares, pixels)
        stream.seek(0)
        stream.write(header.tobytes())
    return count


def _read_header(path: Path) -> tuple[np.void, Literal["<", ">"]]:
    """The header in native byte order, and the byte order of the file."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        raise MrcError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except OSError as error:
        raise MrcError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(raw) < _HEADER_BYTES:
        raise MrcError(
            f"{path}: {len(raw)} bytes, but an MRC header alone has {_HEADER_BYTES}.\n"
            f"  The file was cut short. Remedy: copy it again."
        )
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        header = np.frombuffer(raw, _HEADER.newbyteorder(order))[0]
        if 0 <= header["mode"] <= 127 and all(0 < v < 2**24 for v in header["n"]):
            break
    else:
        kind = "a gzip archive: unpack it first" if raw[:2] == b"\x1f\x8b" else "another format"
        raise MrcError(f"{path}: not an MRC file (its first bytes are those of {kind}).")
    mode = int(header["mode"])
    if mode not in _MODES:
        raise MrcError(
            f"{path}: data mode {mode}, expected one of {', '.join(map(str, _MODES))}.\n"
            f"  Remedy: convert it to 32-bit floats, e.g. relion_image_handler --i {path.name} "
            f"--o float.mrcs"
        )
    if header["nsymbt"] < 0:
        raise MrcError(f"{path}: the extended header claims {header['nsymbt']} bytes.")
    return header, order


def _check_size(path: Path, offset: int, shape: tuple[int, int, int], itemsize: int) -> None:
    section = shape[1] * shape[2] * itemsize
    expected, given = offset + shape[0] * section, path.stat().st_size
    if given < expected:
        complete = max(0, given - offset) // section
        raise MrcError(
            f"{path}: the header claims {shape[0]} sections of {shape[2]} x {shape[1]} pixels, "
            f"{expected} bytes, but the file has {given} bytes and holds {complete} whole "
            f"sections.\n  The file was cut while it was written or copied, or its header was "
            f"taken from a larger stack.\n  Remedy: copy it again or repeat the extraction."
        )


def _voxel_size(header: np.void) -> NDArray[np.float64]:
    intervals = np.maximum(header["m"].astype(float), 1.0)
    return header["cella"].astype(float) / intervals


def _new_header(shape: tuple[int, ...], pixel_size: float, label: str) -> np.ndarray:
    nz, ny, nx = shape
    header = np.zeros((), _HEADER.newbyteorder("<"))
    header["n"], header["mode"], header["m"] = (nx, ny, nz), 2, (nx, ny, 1)
    header["cella"] = (nx * pixel_size, ny * pixel_size, pixel_size)
    header["cellb"], header["mapcrs"] = 90.0, (1, 2, 3)
    header["nversion"], header["map"], header["machst"] = 20141, b"MAP ", (0x44, 0x44, 0, 0)
    try:
        program = f"cryosplat {version('cryosplat')}"
    except PackageNotFoundError:
        program = "cryosplat"
    header["nlabl"] = 1
    header["label"][0] = f"{program} {label}".strip().encode("ascii", "replace")[:80]
    return header


def _moments(values: NDArray[np.float32]) -> tuple[float, float, float, float]:
    flat = values.reshape(-1)
    total = float(flat.sum(dtype=np.float64))
    return float(flat.min()), float(flat.max()), total, float(np.vdot(flat, flat))


def _set_statistics(
    header: np.ndarray, low: float, high: float, total: float, squares: float, count: int
) -> None:
    mean = total / count
    header["dmin"], header["dmax"], header["dmean"] = low, high, mean
    variance = squares / count - mean * mean if np.isfinite(squares) else 0.0
    header["rms"] = np.sqrt(max(0.0, variance))
