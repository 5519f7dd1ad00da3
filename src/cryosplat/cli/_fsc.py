"""``cryosplat fsc``: the Fourier shell correlation of any two maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.table import Table
from torch import Tensor

from ..commands import pasted
from ..errors import InputError, OutputError
from ..grid import Grid
from ..io.fsc import write_fsc_csv, write_fsc_xml
from ..io.mrc import MapFile, read_map
from ..maps.fsc import MaskedFsc, fourier_shell_correlation, masked_fscs, resolution
from ..maps.mask import named_masks
from ..maps.mask_checks import read_mask, shape_notes, tightness_notes
from ..report.figures import fsc_figure
from ._console import plain_console

FIGURES = (".png", ".svg", ".pdf")
SUFFIXES = (*FIGURES, ".csv", ".xml")
NO_MASK, AUTO_MASK = "none", "auto"
MOST_CURVES = 4  # in one figure


def run_fsc(first: Path, second: Path, mask: str, outs: list[Path], seed: int) -> None:
    """Tell the resolution from the FSC of two maps; write the curves to each of ``outs``."""
    _check_suffixes(outs)
    maps = [read_map(path) for path in (first, second)]
    _check_alike((first, second), maps)
    grid = Grid(maps[0].data.shape[0], maps[0].pixel_size)
    a, b = (torch.from_numpy(m.data) for m in maps)
    masks = _masks(mask, a + b, grid, maps[0].origin)
    masked = masked_fscs(a, b, masks, torch.Generator().manual_seed(seed))
    unmasked = Curve("unmasked", "", fourier_shell_correlation(a, b))
    curves = _curves(masked) if masked else [unmasked]
    console = plain_console()
    if maps[0].origin != maps[1].origin:
        console.print("! The headers give two origins; voxels are compared as they are stored.")
    for name, found in masked.items():
        shape = shape_notes(masks[name], a + b, grid) if mask != AUTO_MASK else []
        for note in (*shape, *tightness_notes(found, grid)):
            console.print(f"! {_titled(name)}: {note.advice}", style="yellow")
    console.print(_table(curves, grid))
    for out in outs:
        _write(out, curves, grid)


def _masks(
    mask: str, volume: Tensor, grid: Grid, origin: tuple[float, float, float]
) -> dict[str, Tensor]:
    if mask == NO_MASK:
        return {}
    if mask == AUTO_MASK:
        masks = named_masks(volume, grid)
        return {name: masks[name] for name in ("auto", "loose", "tight")}
    return {"": read_mask(Path(mask), grid, origin)}


def _titled(name: str) -> str:
    return f"{name} mask" if name else "mask"


@dataclass(frozen=True, slots=True)
class Curve:
    """One FSC of the two maps, of a ``kind``, under the mask of that name."""

    kind: Literal["corrected", "masked", "unmasked", "random phases"]
    mask: str
    fsc: Tensor

    @property
    def title(self) -> str:
        """Its name in tables and figures."""
        return f"{self.kind}, {self.mask} mask" if self.mask else self.kind


def _curves(found: Mapping[str, MaskedFsc]) -> list[Curve]:
    """All curves, the most telling first."""
    first = next(iter(found.values()))
    return [
        *(Curve("corrected", name, one.corrected) for name, one in found.items()),
        *(Curve("masked", name, one.masked) for name, one in found.items()),
        Curve("unmasked", "", first.unmasked),
        *(Curve("random phases", name, one.randomised) for name, one in found.items()),
    ]


def _table(curves: Sequence[Curve], grid: Grid) -> Table:
    """Resolutions by shell, as RELION gives them, and where lines between the shells cross."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("FSC", "0.143", "0.5", "interpolated"):
        table.add_column(title, no_wrap=True)
    for curve in curves:
        if curve.kind != "random phases":
            at = [resolution(curve.fsc, grid, t) for t in (0.143, 0.5)]
            crossings = (f"{r.crossing_angstrom:.2f}" if r.resolved else "none" for r in at)
            name = curve.title.removesuffix(" mask")
            table.add_row(name, *map(str, at), f"{', '.join(crossings)} Å")
    return table


def _write(out: Path, curves: Sequence[Curve], grid: Grid) -> None:
    frequencies = grid.shell_frequencies().tolist()
    match out.suffix.lower():
        case ".csv":
            write_fsc_csv(out, frequencies, {c.title: c.fsc.tolist() for c in curves})
        case ".xml":  # the EMDB takes one curve
            title = f"FSC, {curves[0].title}"
            write_fsc_xml(out, frequencies, curves[0].fsc.tolist(), title)
        case _:
            drawn = curves
            if len(curves) > MOST_CURVES:  # a figure of all would tell nothing
                drawn = [c for c in curves if c.kind in ("corrected", "unmasked")]
            shown = {c.title.replace(", ", ",\n"): c.fsc.tolist() for c in drawn}
            fsc_figure(out, shown, grid.box_size, grid.pixel_size)


def _check_suffixes(outs: list[Path]) -> None:
    for out in outs:
        if out.suffix.lower() not in SUFFIXES:
            raise OutputError(
                f"{out}: curves are written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, not "
                f"as {out.suffix or 'a file without suffix'}.\n"
                f"  Remedy: {out.with_suffix('.csv').name}"
            )


def _check_alike(paths: tuple[Path, Path], maps: list[MapFile]) -> None:
    for path, found in zip(paths, maps, strict=True):
        if len(set(found.data.shape)) != 1:
            raise InputError(
                f"{path}: the map has {' x '.join(map(str, found.data.shape[::-1]))} voxels, "
                f"expected a cube.\n  Remedy: relion_image_handler --i {pasted(path)} --o cube.mrc "
                f"--new_box {max(found.data.shape)}"
            )
    one, two = (m.data.shape[0] for m in maps)
    if one != two:
        raise InputError(
            f"{paths[0]} has a box of {one} voxels, {paths[1]} of {two}. They probably come from "
            f"different extractions.\n  Remedy: relion_image_handler --i {pasted(paths[1])} --o "
            f"same_box.mrc --rescale_angpix {maps[0].pixel_size:.6g} --new_box {one}"
        )
    one, two = (m.pixel_size for m in maps)
    if abs(one - two) > 1e-3 * one:
        raise InputError(
            f"{paths[0]} has pixels of {one:.4f} Å, {paths[1]} of {two:.4f} Å.\n"
            f"  Remedy: resample one of the maps, or correct the pixel size in its header."
        )
