"""Checks of masks: grid and values, softness, molecule left whole, and influence on the FSC."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..commands import pasted
from ..errors import InputError
from ..grid import Grid
from ..io.mrc import read_map
from ..notes import Note
from .fsc import MaskedFsc, resolution
from .mask import find_molecule

SOFTEST_HARD = 2.5
"""A narrower edge, in pixels, is hard, or one below this share of the box where that is less."""
SOFTEST_SHARE = 0.1
CUT_SHARE = 0.05
"""A mask that leaves a larger share of the molecule's density outside cuts it."""
INFLATION = 0.1
"""FSC of random phases at the corrected resolution above which a mask is too tight (RELION)."""
SHELLS_APART = 1.25
"""Frequency ratio by which masked and corrected resolution may differ."""
FEW_SHELLS = 3
"""Differences of fewer shells are not significant."""
RANGE_SLACK = 1e-3  # outside [0, 1], from writing and interpolating a mask
ORIGIN_SLACK = 0.5  # pixels
PIXEL_SIZE_SLACK = 1e-3  # relative


def read_mask(
    path: str | os.PathLike[str],
    grid: Grid,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """The mask in the file ``path``, float32 (d, d, d), for maps on ``grid`` with ``origin``.

    ``origin`` (x, y, z) is that of the maps' headers, in Angstrom.

    Raises
    ------
    MrcError
        The file is not a map.
    InputError
        Its box, pixel size or origin is not that of the maps, it has values outside [0, 1], or it
        is empty.
    """
    path = Path(path)
    file = read_map(path)
    if file.data.shape != (grid.box_size,) * 3:
        raise InputError(
            f"{path}: the mask has {_box(file.data.shape)} voxels, the map {grid.box_size} along "
            f"each axis. It was probably made for another extraction.\n"
            f"  Remedy: relion_image_handler --i {pasted(path)} --o mask_{grid.box_size}.mrc "
            f"--new_box {grid.box_size} --rescale_angpix {grid.pixel_size:g}"
        )
    if abs(file.pixel_size - grid.pixel_size) > PIXEL_SIZE_SLACK * grid.pixel_size:
        raise InputError(
            f"{path}: the mask has pixels of {file.pixel_size:.4f} Å, the map of "
            f"{grid.pixel_size:.4f} Å.\n  Remedy: if it was made on this map and only its header "
            f"is wrong, relion_image_handler --i {pasted(path)} --o mask_ok.mrc --force_header_angpix "
            f"{grid.pixel_size:g}; otherwise make it again on this map."
        )
    apart = [a - b for a, b in zip(file.origin, origin, strict=True)]
    if max(map(abs, apart)) > ORIGIN_SLACK * grid.pixel_size:
        raise InputError(
            f"{path}: the mask's origin is {_place(file.origin)} Å, the map's {_place(origin)} Å: "
            f"they do not overlay.\n  Remedy: open both in ChimeraX, run "
            f"'volume resample #2 onGrid #1' and save the result."
        )
    return _check_values(torch.from_numpy(file.data), path)


def _check_values(mask: Tensor, path: Path) -> Tensor:
    low, high = (float(v) + 0.0 for v in (mask.min(), mask.max()))  # never -0
    if not (low >= -RANGE_SLACK and high <= 1.0 + RANGE_SLACK):
        wrong = int((~((mask >= -RANGE_SLACK) & (mask <= 1.0 + RANGE_SLACK))).sum())
        raise InputError(
            f"{path}: the mask has values from {low:.4g} to {high:.4g}, expected 0 (solvent) to 1 "
            f"(molecule); {wrong} of {mask.numel()} voxels are outside. It is probably a map.\n"
            f"  Remedy: make a mask from it, e.g. relion_mask_create --i {pasted(path)} "
            f"--o mask_ok.mrc --ini_threshold LEVEL --extend_inimask 3 --width_soft_edge 6"
        )
    if high < 0.5:
        raise InputError(
            f"{path}: the mask's largest value is {high:.4g}, expected 1 inside the molecule.\n"
            f"  Remedy: recreate it at a lower threshold."
        )
    return mask.clamp(0.0, 1.0)


def edge_width(mask: Tensor) -> float:
    """Mean width of the mask's edge in pixels: soft voxels per area of the surface at one half.

    The area is 2/3 of that of the voxel faces between values below and above one half, which corrects
    for their staircase. Infinite for a mask without a surface.
    """
    inside = mask >= 0.5
    faces = sum(int(inside.diff(dim=axis).sum()) for axis in range(3))
    soft = int(((mask > 0.01) & (mask < 0.99)).sum())
    return soft / (faces / 1.5) if faces else float("inf")


def shape_notes(mask: Tensor, volume: Tensor, grid: Grid) -> list[Note]:
    """Problems with the shape of ``mask`` for the molecule in ``volume``."""
    found = []
    width = edge_width(mask)
    if width < min(SOFTEST_HARD, SOFTEST_SHARE * grid.box_size):
        found.append(Note(
            "mask-hard-edge", "alarm",
            f"The mask has a hard edge ({width:.1f} pixels wide), which correlates the half-maps by "
            f"itself.",
            "Give it a soft edge of 5 to 8 pixels.",
        ))  # fmt: skip
    molecule = find_molecule(volume, grid)
    cut = molecule.share_outside(mask, grid) if molecule is not None else 0.0
    if cut > CUT_SHARE:
        found.append(Note(
            "mask-cuts-molecule", "alarm",
            f"The mask cuts the molecule: {100 * cut:.0f} % of its density lies outside.",
            "Lower the threshold that the mask was made with, or extend the mask.",
        ))  # fmt: skip
    return found


def tightness_notes(fsc: MaskedFsc, grid: Grid) -> list[Note]:
    """How the FSC shows that its mask is too tight; at most one note.

    Three signs: random phases correlate at the corrected resolution; the masked curve reaches far
    beyond the corrected one; the corrected curve ends before the unmasked one.
    """
    inflation = fsc.inflation(grid)
    unmasked, masked, corrected = (
        resolution(curve, grid) for curve in (fsc.unmasked, fsc.masked, fsc.corrected)
    )
    text = ""
    if inflation > INFLATION:
        text = (
            f"The mask is too tight: with random phases the FSC is still {inflation:.2f} at the "
            f"corrected resolution ({corrected}), expected below {INFLATION:g}."
        )
    elif (
        masked.shell - corrected.shell >= FEW_SHELLS
        and masked.shell > SHELLS_APART * corrected.shell
    ):
        text = (
            f"The mask is too tight: {masked} with it, but {corrected} after correction with random "
            f"phases."
        )
    elif unmasked.shell - corrected.shell >= FEW_SHELLS:
        text = (
            f"The mask lowers the resolution: {corrected} with it after correction, {unmasked} "
            f"without. It is too tight or cuts the molecule."
        )
    remedy = "Use a wider or softer mask, or the one that the run makes by itself."
    return [Note("mask-too-tight", "alarm", text, remedy)] if text else []


def resolutions_by_mask(
    fscs: Mapping[str, MaskedFsc], grid: Grid
) -> dict[str, dict[str, float | bool]]:
    """For ``unmasked`` and each mask the resolution in Angstrom at "0.5" and "0.143".

    From the corrected curves: by shell as in RELION, and, under "0.5 interpolated" and
    "0.143 interpolated", where straight lines between the shells cross. "at_nyquist": the curve
    never falls below 0.143. Infinite if nothing is above the threshold.
    """
    first = next(iter(fscs.values()), None)
    curves = {} if first is None else {"unmasked": first.unmasked}
    curves |= {name: fsc.corrected for name, fsc in fscs.items()}
    table: dict[str, dict[str, float | bool]] = {}
    for name, curve in curves.items():
        half, seventh = (resolution(curve, grid, t) for t in (0.5, 0.143))
        table[name] = {
            "0.5": half.angstrom,
            "0.143": seventh.angstrom,
            "0.5 interpolated": half.crossing_angstrom,
            "0.143 interpolated": seventh.crossing_angstrom,
            "at_nyquist": seventh.at_nyquist,
        }
    return table


def _box(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape[::-1])


def _place(origin: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in origin) + ")"
