"""MRC2014 maps and image stacks.

Data are stored x fastest, so arrays index ``[z, y, x]``. The voxel size is ``cella / m`` (not
``cella / n``: a stack has ``mz = 1``). Mode 0 is signed. (Cheng et al. 2015, J. Struct. Biol. 192.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MrcError
from ._mrc_header import HEADER_BYTES, moments, new_header, read_header, set_statistics, voxel_size
from .atomic import replacing


@dataclass(frozen=True, slots=True)
class MapFile:
    """A map: ``data`` float32 [z, y, x], ``pixel_size`` and ``origin`` (x, y, z) in Angstrom; the first
    ``label`` of its file."""

    data: NDArray[np.float32]
    pixel_size: float
    origin: tuple[float, float, float]
    label: str = ""


class StackFile:
    """A file of images, of which only the header is read until `read` is called.

    The header is checked against the size of the file. Each `read` reads what it needs, so a stack of
    any size costs no memory and no file stays open. A file that is replaced, written to or deleted
    between two reads is noticed by its inode, size and time.
    """

    __slots__ = ("_identity", "_layout", "n_images", "path", "pixel_size", "shape")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header, self._layout = read_header(self.path)
        self._identity = _identity(os.stat(self.path))
        self.n_images: int = self._layout.shape[0]
        self.shape: tuple[int, int] = self._layout.shape[1:]
        self.pixel_size: float = float(voxel_size(header)[0])

    def read(self, indices: ArrayLike) -> NDArray[np.float32]:
        """The images ``indices`` (0-based, any order), float32 of shape (n, ny, nx).

        Sections that follow each other are read at once. (Mapping the file instead is twenty times
        slower where each stack gives few images and none is in the cache: page faults.)
        """
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
        layout = self._layout
        starts = np.flatnonzero(np.diff(wanted, prepend=wanted[0] - 2) != 1)
        with self._unchanged() as stream:
            for start, stop in zip(starts, [*starts[1:], len(wanted)], strict=True):
                stream.seek(layout.offset + int(wanted[start]) * layout.section_bytes)
                shape = int(stop - start), self.shape[0], layout.row_items
                stored = np.fromfile(stream, layout.stored, shape[0] * shape[1] * shape[2])
                if len(stored) < shape[0] * shape[1] * shape[2]:
                    raise MrcError(f"{self.path}: the file has been cut since it was opened.")
                images[start:stop] = layout.pixels(stored.reshape(shape))
        return images

    def _unchanged(self) -> BinaryIO:
        """The file, opened; raises `MrcError` where it is no longer the one whose header was read."""
        try:
            stream = open(self.path, "rb")  # noqa: SIM115 (closed by the caller)
        except OSError as error:
            what = "was deleted or moved" if isinstance(error, FileNotFoundError) else (
                f"can no longer be read ({error.strerror})"
            )  # fmt: skip
            raise MrcError(
                f"{self.path}: {what} while it was in use.\n  Remedy: bring it back and start again."
            ) from None
        if _identity(os.fstat(stream.fileno())) != self._identity:
            stream.close()
            raise MrcError(
                f"{self.path}: was replaced or written to while it was in use.\n"
                f"  Remedy: wait until it is complete, and start again."
            )
        return stream


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_map(path: str | os.PathLike[str]) -> MapFile:
    """Read a volume, its axes brought into the order [z, y, x].

    Space groups 0, 1 and 401 are all accepted for a volume (cryoSPARC and ChimeraX write 0).
    Raises `MrcError` for unreadable headers, cut files, several volumes and unequal voxel sizes.
    """
    path = Path(path)
    header, layout = read_header(path)
    nz, ny, _ = layout.shape
    count = nz * ny * layout.row_items
    data = np.fromfile(path, layout.stored, count, offset=layout.offset)
    data = layout.pixels(data.reshape(nz, ny, layout.row_items))
    axes = [int(v) for v in header["mapcrs"]]
    if axes == [0, 0, 0]:  # programs before MRC2014
        axes = [1, 2, 3]
    if sorted(axes) != [1, 2, 3]:
        raise MrcError(
            f"{path}: the header says that columns, rows and sections are the axes {axes}, "
            f"expected 1, 2 and 3 in some order.\n  Remedy: copy or write the map again."
        )
    # array axis 0 runs along sections (maps), 1 along rows (mapr), 2 along columns (mapc)
    data = data.transpose([axes[::-1].index(axis) for axis in (3, 2, 1)])
    voxel = voxel_size(header)
    if not (np.isfinite(voxel).all() and (voxel >= 0).all()):
        raise MrcError(
            f"{path}: the voxels measure {voxel[0]:.4g} x {voxel[1]:.4g} x {voxel[2]:.4g} "
            f"Angstrom, which is no size.\n  Remedy: write the map again with its pixel size."
        )
    if voxel.max() - voxel.min() > 1e-3 * voxel.max():
        raise MrcError(
            f"{path}: the voxels measure {voxel[0]:.4f} x {voxel[1]:.4f} x {voxel[2]:.4f} "
            f"Angstrom, expected cubes.\n  Remedy: resample the map to cubic voxels."
        )
    x, y, z = (float(v) for v in header["origin"])
    label = bytes(header["label"][0]).decode("ascii", "replace").strip("\0 ")
    data = np.ascontiguousarray(data, dtype=np.float32)
    return MapFile(data, float(voxel[0]), (x, y, z), label)


def write_map(
    path: str | os.PathLike[str], data: ArrayLike, pixel_size: float, label: str = ""
) -> None:
    """Write a volume [z, y, x] as float32, atomically, with its origin at (0, 0, 0)."""
    volume = np.ascontiguousarray(data, dtype="<f4")
    if volume.ndim != 3:
        raise MrcError(f"{path}: a map has 3 axes, the array given has shape {volume.shape}.")
    header = new_header(volume.shape, pixel_size, label)
    header["ispg"], header["m"][2] = 1, volume.shape[0]
    header["cella"][2] = volume.shape[0] * pixel_size
    set_statistics(header, *moments(volume), volume.size)
    with replacing(Path(path)) as stream:
        stream.write(header.tobytes())
        stream.write(volume.data)


def write_stack(
    path: str | os.PathLike[str], images: Iterable[ArrayLike], pixel_size: float, label: str = ""
) -> int:
    """Write images, one (ny, nx) or a block (n, ny, nx) at a time, atomically; returns their count.

    The iterable is consumed as it is written, so a stack need never be whole in memory.
    """
    header, count, sums = None, 0, np.array([np.inf, -np.inf, 0.0, 0.0])
    with replacing(Path(path)) as stream:
        stream.write(bytes(HEADER_BYTES))
        for item in images:
            block = np.ascontiguousarray(item, dtype="<f4")
            block = block[None] if block.ndim == 2 else block
            if header is None:
                header = new_header((0, *block.shape[1:]), pixel_size, label)
            if block.shape[1:] != (header["n"][1], header["n"][0]):
                raise MrcError(
                    f"{path}: image {count + 1} has shape {block.shape[1:]}, the images before it "
                    f"{(int(header['n'][1]), int(header['n'][0]))}; a stack holds one shape."
                )
            if block.size:
                low, high, total, squares = moments(block)
                sums[:2] = min(sums[0], low), max(sums[1], high)
                sums[2:] += total, squares
            stream.write(block.data)
            count += len(block)
        if header is None or count == 0:
            raise MrcError(f"{path}: no images were given; a stack holds at least one.")
        header["n"][2] = count
        low, high, total, squares = sums.tolist()
        pixels = count * int(header["n"][0]) * int(header["n"][1])
        set_statistics(header, low, high, total, squares, pixels)
        stream.seek(0)
        stream.write(header.tobytes())
    return count
