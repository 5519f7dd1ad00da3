"""``cryosplat postprocess``: a sharpened map of a finished run, and folders for others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from ..errors import InputError, OutputError, SettingsError
from ..grid import Grid
from ..io.atomic import check_no_input, check_suffix
from ..io.mrc import MapFile, read_map, write_map
from ..maps.fsc import MaskedFsc, masked_fscs, resolution
from ..maps.mask_checks import (
    read_mask,
    resolutions_by_mask,
    shape_notes,
    tightness_notes,
)
from ..maps.sharpening import Postprocessed, share_at_floor, sharpen, sharpen_mixture
from ..mixture import GaussianMixture
from ..notes import Note
from ..report.deposition import Deposit, write_emdb, write_relion_halves
from ..run_folder import RunFolder, RunSummary
from ..run_folder.curves import of_mask
from ..run_folder.measured import Guinier
from ._console import plain_console
from ._maps import MAP_SUFFIXES
from ._outcome import trusting
from ._report import draw_report

FLOOR = 0.2  # pixels: such Gaussians are points to the run's grid; voxelize band-limits them
LARGEST_B_FACTOR = 1e4  # square Angstrom


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for: inputs that replace the run's own, and outputs beside its map."""

    mask: Path | None = None
    b_factor: float | None = None
    out: Path | None = None
    gaussians: Path | None = None
    relion_names: Path | None = None
    emdb: Path | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A run's map, ``sharpened`` by its half-maps under ``mask``, whose FSC is ``masked``."""

    summary: RunSummary
    grid: Grid
    mask: Tensor
    masked: MaskedFsc
    notes: tuple[Note, ...]
    sharpened: Postprocessed


def run_postprocess(run: Path, wanted: Wanted) -> None:
    """Sharpen the map of the run in ``run``, tell its B-factor, write what else is wanted."""
    folder = RunFolder(run)
    summary = folder.read_summary()
    _check_wanted(folder, wanted)
    mask = folder.mask if wanted.mask is None else wanted.mask
    with trusting(run):
        judged = _judged(folder, summary, mask, wanted)
    console = plain_console()
    out = folder.sharpened if wanted.out is None else wanted.out
    write_map(out, judged.sharpened.map.numpy(), judged.grid.pixel_size, "sharpened")
    if wanted.out is None:
        _record(folder, judged, with_mask=wanted.mask is not None)
        draw_report(folder, lambda note: console.print(f"! {note.advice}", style="yellow"))
    _tell(console, judged, mask)
    for line in (f"{out}", *_others(folder, judged, wanted)):
        console.print(line)


def _judged(folder: RunFolder, summary: RunSummary, mask_file: Path, wanted: Wanted) -> Judged:
    maps = [_map_of(folder, path, summary) for path in (folder.map, folder.half1, folder.half2)]
    grid = Grid(summary.box_size, summary.pixel_size)
    volume, half1, half2 = (torch.from_numpy(m.data) for m in maps)
    mask = read_mask(mask_file, grid, maps[0].origin)
    generator = torch.Generator().manual_seed((summary.settings or {}).get("seed", 0))
    masked = masked_fscs(half1, half2, {"user": mask}, generator)["user"]
    notes = [*shape_notes(mask, volume, grid), *tightness_notes(masked, grid)]
    if wanted.mask is None:  # the run has judged its own
        notes.clear()
    low_pass = _low_pass(masked, grid, summary)
    sharpened = sharpen(volume, masked.corrected, grid, wanted.b_factor, low_pass)
    return Judged(summary, grid, mask, masked, tuple(notes), sharpened)


def _others(folder: RunFolder, judged: Judged, wanted: Wanted) -> Iterator[str]:
    """Write what is wanted beside the map; says each in a line."""
    grid, masked = judged.grid, judged.masked
    if wanted.gaussians is not None:
        yield _write_gaussians(folder, wanted.gaussians, judged.sharpened.b_factor, grid)
    if wanted.relion_names is not None:
        at = 1.5 / grid.nyquist if masked.randomised_from == grid.n_shells else None
        yield f"Next: {write_relion_halves(folder, wanted.relion_names, wanted.mask, at)}"
    if wanted.emdb is not None:
        yield f"{write_emdb(folder, wanted.emdb, _deposit(judged)) / 'README.txt'}"


def _check_wanted(folder: RunFolder, wanted: Wanted) -> None:
    """Raise, before anything is written, where what is wanted cannot be or would replace the run."""
    b_factor = wanted.b_factor
    if b_factor is not None and not abs(b_factor) <= LARGEST_B_FACTOR:
        raise SettingsError(
            f"--b-factor {b_factor:g}: expected square Angstrom, between {-LARGEST_B_FACTOR:g} and "
            f"{LARGEST_B_FACTOR:g}.\n  Remedy: leave it out to have it measured."
        )
    if wanted.out is not None:
        check_suffix("-o", wanted.out, "maps", MAP_SUFFIXES)
        _check_not_of_run("-o", wanted.out, folder)
    if wanted.gaussians is not None:
        check_suffix("--gaussians", wanted.gaussians, "Gaussians", (".ply",))
        _check_not_of_run("--gaussians", wanted.gaussians, folder)
    if wanted.mask is not None:
        check_no_input("-o", wanted.out or folder.sharpened, [wanted.mask])
    folders = {"--relion-names": wanted.relion_names, "--emdb": wanted.emdb}
    _check_folders({option: path for option, path in folders.items() if path is not None})


def _check_not_of_run(option: str, out: Path, folder: RunFolder) -> None:
    """Raise `OutputError` where ``out`` is a file of the run other than its sharpened map."""
    files = [getattr(folder, name) for name in dir(RunFolder) if not name.startswith("_")]
    files = [f for f in files if isinstance(f, Path) and f not in (folder.path, folder.sharpened)]
    check_no_input(option, out, files)
    if out.resolve() in [file.resolve() for file in files]:
        raise OutputError(
            f"{option} {out}: a run has a file of its own there.\n  Remedy: choose another name."
        )


def _check_folders(wanted: dict[str, Path]) -> None:
    """Raise `OutputError` where a folder is not new, or two are one."""
    for option, path in wanted.items():
        if path.is_dir() and any(path.iterdir()):
            what = "is the folder of a run" if RunFolder(path).summary.is_file() else "is not empty"
            raise OutputError(
                f"{option} {path}: exists already and {what}.\n"
                f"  Remedy: give the name of a new folder, e.g. {path.resolve()}{option[1:]}"
            )
        with RunFolder.create(path):  # raises where it cannot be written
            pass
    if len({path.resolve() for path in wanted.values()}) < len(wanted):
        both = " and ".join(wanted)
        raise OutputError(f"{both}: the same folder.\n  Remedy: give two names.")


def _map_of(folder: RunFolder, path: Path, summary: RunSummary) -> MapFile:
    found = read_map(path)
    if found.data.shape != (summary.box_size,) * 3:
        raise InputError(
            f"{path}: has shape {found.data.shape}, but {folder.summary.name} says a box of "
            f"{summary.box_size}. The map was probably replaced.\n"
            f"  Remedy: reconstruct again, or give the folder of an unchanged run."
        )
    return found


def _low_pass(found: MaskedFsc, grid: Grid, summary: RunSummary) -> float:
    """No finer than the run's headline, which the controls may have lowered."""
    headline = math.inf if summary.resolution is None else summary.resolution
    return max(headline, resolution(found.corrected, grid).angstrom)


def _record(folder: RunFolder, judged: Judged, with_mask: bool) -> None:
    """Keep the run's numbers and curves in step with its sharpened map."""
    guinier = Guinier.model_validate(judged.sharpened.summary())
    changes: dict[str, Any] = {"guinier": guinier}
    if with_mask:
        masks = resolutions_by_mask({"user": judged.masked}, judged.grid)
        changes["masks"] = {**(judged.summary.masks or {}), "user": masks["user"]}
        frequencies, curves = folder.read_fsc_csv()
        curves[of_mask("user")] = judged.masked.corrected.tolist()
        folder.write_fsc_csv(frequencies, curves)
    folder.write_summary(judged.summary.model_copy(update=changes))


def _tell(console: Console, judged: Judged, mask: Path) -> None:
    for note in judged.notes:
        console.print(f"! {mask.name}: {note.advice}", style="yellow")
    plot, sharpened = judged.sharpened.guinier, judged.sharpened
    resolved = resolution(judged.masked.corrected, judged.grid)
    text = f"resolution  {resolved} under {mask.name} (corrected half-map FSC, 0.143)"
    console.print(text)
    low, high = plot.fit_range
    measured = (
        f"{plot.b_factor:.1f} Å² measured from {low:g} to {high:.2f} Å, correlation "
        f"{plot.correlation:.2f}"
        if plot.fitted
        else f"none measured, too few shells between {low:g} Å and the resolution"
    )
    console.print(f"B-factor    {sharpened.b_factor:.1f} Å² applied; {measured}")
    console.print(f"low-pass    {_angstrom(sharpened.low_pass)}")


def _angstrom(value: float) -> str:
    return f"{value:.2f} Å" if math.isfinite(value) else "everything: nothing is resolved"


def _write_gaussians(folder: RunFolder, out: Path, b_factor: float, grid: Grid) -> str:
    mixture = GaussianMixture.load(folder.gaussians)
    sharp = sharpen_mixture(mixture, b_factor, FLOOR * grid.pixel_size)
    sharp.save(out, (f"sharpened by a B-factor of {b_factor:.1f} square Angstrom",))
    limited = share_at_floor(mixture, sharp, b_factor)
    return (
        f"{out}: {100 * limited:.0f} % of the Gaussians' axes reached the floor of {FLOOR:g} pixels "
        f"and are sharpened by less"
    )


def _deposit(judged: Judged) -> Deposit:
    return Deposit(
        volume=judged.sharpened.map.numpy(),
        mask=judged.mask.numpy(),
        frequencies=judged.grid.shell_frequencies().tolist(),
        fsc=judged.masked.corrected.tolist(),
        half_maps=resolution(judged.masked.corrected, judged.grid).angstrom,
        low_pass=_angstrom(judged.sharpened.low_pass),
        b_factor=judged.sharpened.b_factor,
    )
