"""The folder of a run: every file name in it, and how it comes into being whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from numpy.typing import ArrayLike

from ..commands import pasted
from ..errors import InputError, OutputError
from ..io import fsc as fsc_files
from ..io.atomic import write_text
from ..io.mrc import write_map
from ..io.staging import begin_folder, hidden, named_after, own_no_more
from ..signals import held_back
from .headline import headline_of
from .schema import RunSummary, parse_summary

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
    overwrite: bool = False

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
    sharpened = _File("map_sharpened.mrc")
    """The map, sharpened and weighted by the FSC."""
    local_resolution = _File("local_resolution.mrc")
    """Local resolution (Angstrom) from the half-maps of the mixtures."""
    local_resolution_voxels = _File("local_resolution_voxels.mrc")
    """Local resolution (Angstrom) from the half-maps of the voxel baseline."""
    truth = _File("truth.mrc")
    """The true map; only where the particles are a demo's."""
    gaussians = _File("gaussians.ply")
    """Gaussians of the map."""
    half1_gaussians = _File("half1.ply")
    """Gaussians of half-set 1."""
    half2_gaussians = _File("half2.ply")
    """Gaussians of half-set 2."""
    ellipsoids = _File("gaussians.bild")
    """The Gaussians as ellipsoids for ChimeraX."""
    pseudo_atoms = _File("gaussians.cif")
    """The Gaussians as atoms with anisotropic displacements, in the map's frame."""
    residues = _File("residues.csv")
    """Real-space correlation of each residue of the model with the map."""
    fsc_csv = _File("fsc.csv")
    """Every FSC curve, one row a shell."""
    fsc_xml = _File("fsc.xml")
    """The half-map FSC for deposition at the EMDB."""
    fsc_figure = _File("fsc.png")
    """FSC curves."""
    slices_figure = _File("slices.png")
    """Slices and projections of the maps."""
    figures = _File("figures")
    """Folder of all figures of the page, as SVG and PNG."""
    summary = _File("run.json")
    """All numbers, settings and circumstances of the run."""
    report = _File("report.html")
    """The run as one page."""
    chimerax = _File("open_in_chimerax.cxc")
    """Opens maps and Gaussians in ChimeraX."""
    log = _File("log.txt")
    """What was said during the run, with times."""
    particles = _File("particles.star")
    """The particles with what the run gave: half-sets, poses, weights, states; absent for nothing."""
    places = _File("places.safetensors")
    """Other places in which images may be; only where poses were found from nothing."""
    kept_particles = _File("particles_kept.star")
    """The particles whose weight is at least a half; only where weights were used."""
    examples = _File("examples.mrcs")
    """The best and the worst images, each with its projection and what remains."""
    growth = _File("growth.mrcs")
    """Projections of the growing map; only where poses were found from nothing."""
    classes = _File("classes")
    """Folder of the maps and particles of each class."""
    states = _File("states")
    """Folder of maps along a coordinate of motion."""
    mixtures = _File("states.safetensors")
    """The mixtures of all states, and how they move."""
    latent = _File("z.pkl")
    """Coordinates of the particles, or probabilities of their classes, as cryoDRGN has them."""
    poses = _File("poses.csv")
    """How far the refinement moved the pose of every particle."""

    @property
    def painted_resolution(self) -> Path:
        """The local resolution to believe: of the voxels, or of the mixtures where there is none."""
        voxels = self.local_resolution_voxels
        return voxels if voxels.exists() else self.local_resolution

    @property
    def checkpoint(self) -> Path:
        """Where a fit to images stands, beside the run: it outlasts a run that is broken off."""
        return named_after(self.target or self.path, ".checkpoint")

    @property
    def poses_checkpoint(self) -> Path:
        """Where the search for poses stands, beside the run."""
        return named_after(self.target or self.path, ".poses.checkpoint")

    @property
    def refinement_checkpoint(self) -> Path:
        """Where the refinement of poses stands, beside the run."""
        return named_after(self.target or self.path, ".refinement.checkpoint")

    @property
    def growing(self) -> Path:
        """The map so far of a run that is being made, beside it: `view` shows it meanwhile."""
        return named_after(self.target or self.path, ".growing.mrc")

    def grow(self, title: str, volume: ArrayLike, pixel_size: float) -> None:
        """Let the map so far be looked at; ``title`` says how far it has come."""
        with suppress(OSError, OutputError):  # a run does not fail for not being watched
            write_map(self.growing, volume, pixel_size, title)

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
        try:
            staging = begin_folder(target)
        except OSError as error:
            raise _cannot_write(target, error) from error
        folder = RunFolder(staging, target, overwrite)
        folder.growing.unlink(missing_ok=True)
        return folder

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
        """Give the run its name; returns the finished run.

        A folder that came to be at the target meanwhile is left alone, and the run takes the next
        free name: ``NAME-2``, ``NAME-3`` ...
        """
        if self.target is None:
            return self
        if not self._may_be_replaced():
            named = (self.target.with_name(f"{self.target.name}-{i}") for i in itertools.count(2))
            free = next(path for path in named if not os.path.lexists(path))
            return RunFolder(self.path, free).commit()
        with held_back():
            self._take_the_name(self.target)
        return RunFolder(self.target)

    def _take_the_name(self, target: Path) -> None:
        replaced = hidden(target, f".replaced-{os.getpid()}")
        try:
            if target.exists():
                shutil.copymode(target, self.path)
                target.rename(replaced)
            own_no_more(self.path)
            self.path.rename(target)
        except OSError as error:
            if replaced.exists() and not target.exists():
                replaced.rename(target)
            raise _cannot_write(target, error) from error
        _keep_foreign(replaced, target)
        self.growing.unlink(missing_ok=True)
        self.checkpoint.unlink(missing_ok=True)
        self.poses_checkpoint.unlink(missing_ok=True)
        self.refinement_checkpoint.unlink(missing_ok=True)
        shutil.rmtree(replaced, ignore_errors=True)

    def _may_be_replaced(self) -> bool:
        assert self.target is not None
        try:
            _check_target(self.target, self.overwrite)
        except OutputError:
            return False
        return True

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
            with suppress(OSError):
                self.growing.unlink(missing_ok=True)

    def write_fsc_csv(
        self, frequencies: Sequence[float], curves: Mapping[str, Sequence[float]]
    ) -> Path:
        """One row a shell: its number, frequency (1/Angstrom), resolution (Angstrom), each curve.

        Values that are unknown (NaN) are left empty.
        """
        return fsc_files.write_fsc_csv(self.fsc_csv, frequencies, curves)

    def read_fsc_csv(self) -> tuple[list[float], dict[str, list[float]]]:
        """Frequencies (1/Angstrom) and curves, as `write_fsc_csv` wrote them."""
        return fsc_files.read_fsc_csv(self.fsc_csv)

    def write_fsc_xml(
        self, frequencies: Sequence[float], curve: Sequence[float], title: str
    ) -> Path:
        """One FSC curve in the form the EMDB takes at deposition; unknown values are left out."""
        return fsc_files.write_fsc_xml(self.fsc_xml, frequencies, curve, title)

    def write_summary(self, summary: RunSummary) -> Path:
        """Write ``run.json`` with its headline in words, whole or not at all."""
        if summary.states is None:
            summary = summary.model_copy(update={"headline": headline_of(summary)})
        values = summary.model_dump(mode="json")
        return write_text(self.summary, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def read_summary(self) -> RunSummary:
        """The numbers of the run.

        Raises
        ------
        InputError
            There is no run in this folder, or its summary is damaged or of a newer cryosplat.
        """
        return parse_summary(_read_text(self.summary), self.summary)


_NAMES = {file.name for file in vars(RunFolder).values() if isinstance(file, _File)}


def _check_target(target: Path, overwrite: bool) -> None:
    parent = target.parent
    if not parent.is_dir():
        what = "is not a folder" if parent.exists() else "does not exist"
        raise OutputError(
            f"{target}: the folder {parent} {what}.\n"
            f"  Remedy: {pasted('mkdir', '-p', parent)}, or check the path."
        )
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(
            f"{target}: exists and is not a folder, expected the name of a new one.\n"
            f"  Remedy: choose another name."
        )
    if not os.access(
        parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    ):
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


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(
            f"{path}: cannot be read ({reason}).\n  Remedy: give the folder of a finished run."
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
