"""``cryosplat fsc``: the Fourier shell correlation of any two maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..errors import InputError, OutputError
from ..grid import Grid
from ..io.fsc import write_fsc_csv, write_fsc_xml
from ..io.mrc import MapFile, read_map
from ..maps.fsc import MaskedFsc, fourier_shell_correlation, masked_fscs, resolution
from ..maps.mask import named_masks
from ..maps.mask_checks import mask_remarks, read_mask, tightness_remark
from ..report.figures import fsc_figure

FIGURES = (".png", ".svg", ".pdf")
SUFFIXES = (*FIGURES, ".csv", ".xml")
NO_MASK, AUTO_MASK = "none", "auto"
RANDOM = "random phases"
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
    curves = _curves(masked) if masked else {"unmasked": fourier_shell_correlation(a, b)}
    console = Console(highlight=False, soft_wrap=True)
    if maps[0].origin != maps[1].origin:
        console.print("! The headers give two origins; voxels are compared as they are stored.")
    for remark in _remarks(masked, masks if mask != AUTO_MASK else {}, a + b, grid):
        console.print(f"! {remark}", style="yellow", markup=False)
    console.print(_table(curves, grid))
    for out in outs:
        _write(out, {name: curve.tolist() for name, curve in curves.items()}, grid)


def _remarks(
    masked: Mapping[str, MaskedFsc], given: Mapping[str, Tensor], volume: Tensor, grid: Grid
) -> Iterator[str]:
    """What is wrong with masks, by the shape of those ``given`` and by their FSC."""
    for name, found in masked.items():
        shape = mask_remarks(given[name], volume, grid) if name in given else []
        for remark in (*shape, tightness_remark(found, grid)):
            if remark is not None:
                yield f"{_titled(name)}: {remark}"


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


def _curves(found: Mapping[str, MaskedFsc]) -> dict[str, Tensor]:
    """All curves under their names in tables and figures, the most telling first."""
    curves: dict[str, Tensor] = {}
    for kind in ("corrected", "masked"):
        for name, one in found.items():
            title = f"{kind}, {name} mask" if name else kind
            curves[title] = one.corrected if kind == "corrected" else one.masked
    first = next(iter(found.values()))
    curves["unmasked"] = first.unmasked
    for name, one in found.items():
        curves[f"{RANDOM}, {name} mask" if name else RANDOM] = one.randomised
    return curves


def _table(curves: Mapping[str, Tensor], grid: Grid) -> Table:
    """Resolutions by shell, as RELION gives them, and where lines between the shells cross."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("FSC", "0.143", "0.5", "interpolated"):
        table.add_column(title, no_wrap=True)
    for name, curve in curves.items():
        if not name.startswith(RANDOM):
            at = [resolution(curve, grid, t) for t in (0.143, 0.5)]
            crossings = (f"{r.crossing_angstrom:.2f}" if r.resolved else "none" for r in at)
            table.add_row(name.removesuffix(" mask"), *map(str, at), f"{', '.join(crossings)} Å")
    return table


def _write(out: Path, curves: Mapping[str, list[float]], grid: Grid) -> None:
    frequencies = grid.shell_frequencies().tolist()
    match out.suffix.lower():
        case ".csv":
            write_fsc_csv(out, frequencies, curves)
        case ".xml":  # the EMDB takes one curve
            name, curve = next(iter(curves.items()))
            write_fsc_xml(out, frequencies, curve, f"FSC, {name}")
        case _:
            shown = {n.replace(", ", ",\n"): c for n, c in curves.items() if _drawn(n, len(curves))}
            fsc_figure(out, shown, grid.box_size, grid.pixel_size)


def _drawn(name: str, n_curves: int) -> bool:
    """Of many curves only the corrected and the unmasked ones, or a figure tells nothing."""
    return n_curves <= MOST_CURVES or name.startswith(("corrected", "unmasked"))


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
                f"expected a cube.\n  Remedy: relion_image_handler --i {path.name} --o cube.mrc "
                f"--new_box {max(found.data.shape)}"
            )
    one, two = (m.data.shape[0] for m in maps)
    if one != two:
        raise InputError(
            f"{paths[0]} has a box of {one} voxels, {paths[1]} of {two}. They probably come from "
            f"different extractions.\n  Remedy: relion_image_handler --i {paths[1].name} --o "
            f"same_box.mrc --rescale_angpix {maps[0].pixel_size:.6g} --new_box {one}"
        )
    one, two = (m.pixel_size for m in maps)
    if abs(one - two) > 1e-3 * one:
        raise InputError(
            f"{paths[0]} has pixels of {one:.4f} Å, {paths[1]} of {two:.4f} Å.\n"
            f"  Remedy: resample one of the maps, or correct the pixel size in its header."
        )
