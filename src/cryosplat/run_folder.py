"""The folder of a run: every file name in it, and how it comes into being whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.sax.saxutils import quoteattr

from .errors import InputError, OutputError

PathLike = str | os.PathLike[str]


class _File:
    """A file of a run, under a fixed name: the attribute of a `RunFolder` is its path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, owner: type[RunFolder]) -> Path:
        return folder.path / self.name


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's files in ``path``; with a ``target``, a run being made that is not there yet.

    Made by `create` and used as a context manager: the files gather in a hidden folder beside the
    target, which takes the target's name on `commit` and disappears if the run fails or is broken
    off. A finished run is opened with ``RunFolder(path)``.
    """

    path: Path
    target: Path | None = None

    map = _File("map.mrc")
    """Map of all particles."""
    half1 = _File("half1.mrc")
    """Map of half-set 1."""
    half2 = _File("half2.mrc")
    """Map of half-set 2."""
    mask = _File("mask.mrc")
    """Soft mask in which the masked FSC was measured."""
    voxel_map = _File("voxel_map.mrc")
    """Voxel baseline of all particles."""
    voxel_half1 = _File("voxel_half1.mrc")
    """Voxel baseline of half-set 1."""
    voxel_half2 = _File("voxel_half2.mrc")
    """Voxel baseline of half-set 2."""
    truth = _File("truth.mrc")
    """The true map; only where the particles are a demo's."""
    gaussians = _File("gaussians.ply")
    """Gaussians of the map."""
    half1_gaussians = _File("half1.ply")
    """Gaussians of half-set 1."""
    half2_gaussians = _File("half2.ply")
    """Gaussians of half-set 2."""
    fsc_csv = _File("fsc.csv")
    """Every FSC curve, one row a shell."""
    fsc_xml = _File("fsc.xml")
    """The half-map FSC for deposition at the EMDB."""
    fsc_figure = _File("fsc.png")
    """FSC curves."""
    slices_figure = _File("slices.png")
    """Slices and projections of the maps."""
    convergence_figure = _File("convergence.png")
    """Likelihood against steps."""
    summary = _File("run.json")
    """All numbers, settings and circumstances of the run."""
    report = _File("report.html")
    """The run as one page."""
    chimerax = _File("open_in_chimerax.cxc")
    """Opens the maps in ChimeraX."""
    log = _File("log.txt")
    """What was said during the run, with times."""
    particles = _File("particles.star")
    """The particles with the half-sets that were drawn; absent when they were given."""

    @staticmethod
    def create(path: PathLike, overwrite: bool = False) -> RunFolder:
        """Begin a run that will be at ``path``.

        With ``overwrite`` an earlier run there is replaced on `commit`, and no sooner; files in it
        that are not cryosplat's are kept.

        Raises
        ------
        OutputError
            ``path`` exists and is not an empty folder (or, with ``overwrite``, not an earlier
            run), its parent does not exist or is read-only.
        """
        target = Path(path).absolute()
        _check_target(target, overwrite)
        staging = target.with_name(f".{target.name}.partial-{os.getpid()}")
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
        except OSError as error:
            raise _cannot_write(target, error) from error
        return RunFolder(staging, target)

    def check_space(self, expected_bytes: float) -> None:
        """Raises `OutputError` when the disk has less than ``expected_bytes`` free."""
        free = shutil.disk_usage(self.path).free
        if free < expected_bytes:
            raise OutputError(
                f"{self.target or self.path}: the run will take about {_readable(expected_bytes)}, "
                f"but the disk has {_readable(free)} free.\n"
                f"  Remedy: make room, or choose a folder on another disk."
            )

    def commit(self) -> RunFolder:
        """Give the run its name; returns the finished run."""
        if self.target is None:
            return self
        replaced = self.target.with_name(f".{self.target.name}.replaced-{os.getpid()}")
        try:
            if self.target.exists():
                self.target.rename(replaced)
            self.path.rename(self.target)
        except OSError as error:
            if replaced.exists() and not self.target.exists():
                replaced.rename(self.target)
            raise _cannot_write(self.target, error) from error
        _keep_foreign(replaced, self.target)
        shutil.rmtree(replaced, ignore_errors=True)
        return RunFolder(self.target)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.target is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def write_fsc_csv(
        self, frequencies: Sequence[float], curves: Mapping[str, Sequence[float]]
    ) -> Path:
        """One row a shell: its number, frequency (1/Angstrom), resolution (Angstrom), each curve.

        Values that are unknown (NaN) are left empty.
        """
        return fsc_table(self.fsc_csv, frequencies, curves)

    def read_fsc_csv(self) -> tuple[list[float], dict[str, list[float]]]:
        """Frequencies (1/Angstrom) and curves, as `write_fsc_csv` wrote them."""
        rows = list(csv.reader(_read_text(self.fsc_csv).splitlines()))
        columns = list(zip(*rows[1:], strict=True))
        curves = {
            name: [float(cell) if cell else math.nan for cell in column]
            for name, column in zip(rows[0][3:], columns[3:], strict=True)
        }
        return [float(cell) for cell in columns[1]], curves

    def write_fsc_xml(
        self, frequencies: Sequence[float], curve: Sequence[float], title: str
    ) -> Path:
        """One FSC curve in the form the EMDB takes at deposition; unknown values are left out."""
        rows = "".join(
            f"  <coordinate>\n    <x>{x:.6f}</x>\n    <y>{y:.6f}</y>\n  </coordinate>\n"
            for x, y in zip(frequencies, curve, strict=True)
            if not math.isnan(y)
        )
        axes = 'xaxis="Resolution (A-1)" yaxis="Correlation Coefficient"'
        return write_text(self.fsc_xml, f"<fsc title={quoteattr(title)} {axes}>\n{rows}</fsc>\n")

    def write_json(self, summary: Mapping[str, Any]) -> Path:
        """``run.json``; numbers that are not finite become null, as JSON has none."""
        return write_text(self.summary, json.dumps(_plain(summary), indent=1) + "\n")

    def read_json(self) -> dict[str, Any]:
        """What `write_json` wrote.

        Raises `InputError` when there is no run in this folder.
        """
        try:
            return json.loads(_read_text(self.summary))
        except ValueError as error:
            raise InputError(f"{self.summary}: not a run's summary ({error}).") from error

    def write_chimerax(self, level: float) -> Path:
        """A script that opens map, half-maps and baseline at the contour ``level``, all aligned."""
        others = f"{self.half1.name} {self.half2.name} {self.voxel_map.name}"
        lines = (
            "# chimerax open_in_chimerax.cxc",
            f"open {self.map.name} id 1",
            *(f"open {name} id {i}" for i, name in enumerate(others.split(), 2)),
            f"volume #1-4 step 1 style surface level {level:.6g}",
            "color #1 #7fb2d6; color #2 #e3a857; color #3 #79b791; color #4 #b0b0b0",
            "hide #2-4 models",
            "set bgColor white; lighting soft; graphics silhouettes true; view",
        )
        return write_text(self.chimerax, "\n".join(lines) + "\n")


def fsc_table(
    path: Path, frequencies: Sequence[float], curves: Mapping[str, Sequence[float]]
) -> Path:
    """Write FSC curves as `RunFolder.write_fsc_csv` does, to any path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["shell", "frequency (1/A)", "resolution (A)", *curves])
    for shell, frequency in enumerate(frequencies):
        resolution = f"{1.0 / frequency:.4f}" if frequency > 0 else ""
        values = (float(curve[shell]) for curve in curves.values())
        cells = ("" if math.isnan(value) else f"{value:.6f}" for value in values)
        writer.writerow([shell, f"{frequency:.8f}", resolution, *cells])
    return write_text(path, text.getvalue())


_NAMES = {file.name for file in vars(RunFolder).values() if isinstance(file, _File)}


def _check_target(target: Path, overwrite: bool) -> None:
    parent = target.parent
    if not parent.is_dir():
        what = "is not a folder" if parent.exists() else "does not exist"
        raise OutputError(
            f"{target}: the folder {parent} {what}.\n"
            f"  Remedy: mkdir -p {parent}, or check the path."
        )
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(
            f"{target}: exists and is not a folder, expected the name of a new one.\n"
            f"  Remedy: choose another name."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{target}: you may not write to {parent}.\n"
            f"  Remedy: choose another folder for the run."
        )
    if target.exists() and any(target.iterdir()):
        is_run = RunFolder(target).summary.is_file()
        if not overwrite:
            remedy = "add --overwrite to replace that run, or " if is_run else ""
            raise OutputError(
                f"{target}: exists already and is not empty.\n"
                f"  Remedy: {remedy}choose another name."
            )
        if not is_run:
            raise OutputError(
                f"{target}: holds no earlier run (no {RunFolder(target).summary.name} in it), so "
                f"--overwrite leaves it alone.\n  Remedy: choose another name."
            )


def _keep_foreign(replaced: Path, target: Path) -> None:
    """Move what is not cryosplat's from the folder of the earlier run into the new one."""
    if replaced.is_dir():
        for entry in replaced.iterdir():
            if entry.name not in _NAMES and not (target / entry.name).exists():
                entry.rename(target / entry.name)


def write_text(path: Path, text: str) -> Path:
    """Write a text file of a run; raises `OutputError` where that is not possible."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}).\n"
            f"  Remedy: give the folder of a finished run."
        ) from error


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({error.strerror}).\n"
        f"  Remedy: choose a folder that you may write to and that has space."
    )


def _readable(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _plain(value: Any) -> Any:
    """Values that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return str(value)
