"""The 1024 bytes at the beginning of an MRC file: read with suspicion, written in full."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..commands import pasted
from ..errors import MrcError
from .foreign import foreign

HEADER_BYTES = 1024
_FOUR_BITS = 101
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", _FOUR_BITS: "u1"}
_TRANSFORMS = {3: "complex 16-bit integers", 4: "complex 32-bit floats"}
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
class Layout:
    """Where the pixels of a file lie and how they are stored: ``shape`` (nz, ny, nx), the type on
    disk, and how many items of it a row holds."""

    stored: np.dtype
    offset: int
    shape: tuple[int, int, int]
    row_items: int
    packed: bool

    @property
    def section_bytes(self) -> int:
        """Bytes of one section."""
        return self.shape[1] * self.row_items * self.stored.itemsize

    def pixels(self, stored: NDArray) -> NDArray:
        """The pixels (..., nx) of rows (..., row_items) as they are stored.

        Pixels of 4 bits are two to a byte, the lower half first, and a row ends with a whole byte
        (IMOD, ``mrc_format.txt``).
        """
        if not self.packed:
            return stored
        halves = np.stack([stored & 15, stored >> 4], axis=-1)
        return halves.reshape(*stored.shape[:-1], 2 * self.row_items)[..., : self.shape[2]]


def read_header(path: Path) -> tuple[np.void, Layout]:
    """The header in native byte order, and where the pixels are; checked against the file's size.

    Raises `MrcError` for files that are missing, no MRC files, cut short, or of another mode.
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(HEADER_BYTES)
    except FileNotFoundError:
        raise MrcError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except OSError as error:
        raise MrcError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(raw) < HEADER_BYTES:
        raise MrcError(
            foreign(path, raw, "an MRC file")
            or f"{path}: {len(raw)} bytes, but an MRC header alone has {HEADER_BYTES}.\n"
            f"  The file was cut short. Remedy: copy it again."
        )
    header, order = _decode(path, raw)
    mode = int(header["mode"])
    if mode not in _MODES:
        holds = f", {_TRANSFORMS[mode]}: a Fourier transform" if mode in _TRANSFORMS else ""
        raise MrcError(
            f"{path}: data mode {mode}{holds}; expected one of {', '.join(map(str, _MODES))}.\n"
            f"  Remedy: convert it to 32-bit floats, e.g. relion_image_handler --i {pasted(path)} "
            f"--o float.mrcs"
        )
    if header["nsymbt"] < 0:
        raise MrcError(f"{path}: the extended header claims {header['nsymbt']} bytes.")
    nx, ny, nz = (int(v) for v in header["n"])
    packed = mode == _FOUR_BITS
    stored = np.dtype(_MODES[mode]).newbyteorder(order)
    offset = HEADER_BYTES + int(header["nsymbt"])
    layout = Layout(stored, offset, (nz, ny, nx), (nx + 1) // 2 if packed else nx, packed)
    _check_size(path, layout)
    return header, layout


def _decode(path: Path, raw: bytes) -> tuple[np.void, Literal["<", ">"]]:
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        header = np.frombuffer(raw, _HEADER.newbyteorder(order))[0]
        if 0 <= header["mode"] <= 127 and all(0 < v < 2**24 for v in header["n"]):
            return header, order
    raise MrcError(
        foreign(path, raw, "an MRC file")
        or f"{path}: not an MRC file (its first bytes are those of another format)."
    )


def _check_size(path: Path, layout: Layout) -> None:
    nz, ny, nx = layout.shape
    section = layout.section_bytes
    expected, given = layout.offset + nz * section, path.stat().st_size
    if given < expected:
        complete = max(0, given - layout.offset) // section
        raise MrcError(
            f"{path}: the header claims {nz} sections of {nx} x {ny} pixels, "
            f"{expected} bytes, but the file has {given} bytes and holds {complete} whole "
            f"sections.\n  The file was cut while it was written or copied, or its header was "
            f"taken from a larger stack.\n  Remedy: copy it again or repeat the extraction."
        )


def voxel_size(header: np.void) -> NDArray[np.float64]:
    """Voxel size (x, y, z) in Angstrom; 0 where the header states none."""
    intervals = np.maximum(header["m"].astype(float), 1.0)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return header["cella"].astype(float) / intervals


def new_header(shape: tuple[int, ...], pixel_size: float, label: str) -> np.ndarray:
    """The header of a stack (nz, ny, nx) of float32 images, but for its statistics."""
    nz, ny, nx = shape
    header: Any = np.zeros((), _HEADER.newbyteorder("<"))
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


def moments(values: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Least and largest value, sum, and sum of squares."""
    flat = values.reshape(-1)
    total = float(flat.sum(dtype=np.float64))
    return float(flat.min()), float(flat.max()), total, float(np.vdot(flat, flat))


def set_statistics(
    header: np.ndarray, low: float, high: float, total: float, squares: float, count: int
) -> None:
    """Enter the `moments` of ``count`` pixels into a header."""
    mean = total / count
    header["dmin"], header["dmax"], header["dmean"] = low, high, mean
    variance = squares / count - mean * mean if np.isfinite(squares) else 0.0
    header["rms"] = np.sqrt(max(0.0, variance))
