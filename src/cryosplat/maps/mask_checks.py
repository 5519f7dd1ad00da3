"""Is a mask fit to measure in? Does it fit the map, is it soft, does it leave the molecule whole?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from ..grid import Grid
from ..io.mrc import read_map
from .fsc import MaskedFsc, resolution
from .mask import find_molecule

SOFTEST_HARD = 2.5
"""An edge narrower than this, in pixels, counts as hard."""
CUT_SHARE = 0.05
"""A mask that leaves more of the molecule's density than this outside cuts it."""
INFLATION = 0.1
"""FSC of random phases at the resolution from which a mask is too tight (RELION's limit)."""
SHELLS_APART = 1.25
"""Frequency ratio by which masked and corrected resolution may differ."""
FEW_SHELLS = 3
"""Differences of fewer shells say nothing."""
RANGE_SLACK = 1e-3  # what writing and interpolating a mask may add outside [0, 1]
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
        The file is no map.
    InputError
        Its box, pixel size or origin is not that of the maps, it has values outside [0, 1], or
        it is empty.
    """
    path = Path(path)
    found = read_map(path)
    if found.data.shape != (grid.box_size,) * 3:
        raise InputError(
            f"{path}: the mask has {_box(found.data.shape)} voxels, the map {grid.box_size} along "
            f"each axis. It was probably made for another extraction.\n"
            f"  Remedy: relion_image_handler --i {path.name} --o mask_{grid.box_size}.mrc "
            f"--new_box {grid.box_size} --rescale_angpix {grid.pixel_size:g}"
        )
    if abs(found.pixel_size - grid.pixel_size) > PIXEL_SIZE_SLACK * grid.pixel_size:
        raise InputError(
            f"{path}: the mask has pixels of {found.pixel_size:.4f} Å, the map of "
            f"{grid.pixel_size:.4f} Å.\n  Remedy: if it was made on this map and only its header "
            f"is wrong, relion_image_handler --i {path.name} --o mask_ok.mrc --force_header_angpix "
            f"{grid.pixel_size:g}; otherwise make it again on this map."
        )
    apart = [a - b for a, b in zip(found.origin, origin, strict=True)]
    if max(map(abs, apart)) > ORIGIN_SLACK * grid.pixel_size:
        raise InputError(
            f"{path}: the mask's origin is {_place(found.origin)} Å, the map's {_place(origin)} Å: "
            f"the two do not lie on each other.\n  Remedy: in ChimeraX, open both and "
            f"'volume resample #2 onGrid #1', then save the result."
        )
    return _checked_values(torch.from_numpy(found.data), path)


def _checked_values(mask: Tensor, path: Path) -> Tensor:
    low, high = (float(v) + 0.0 for v in (mask.min(), mask.max()))  # never -0
    if not (low >= -RANGE_SLACK and high <= 1.0 + RANGE_SLACK):
        wrong = int((~((mask >= -RANGE_SLACK) & (mask <= 1.0 + RANGE_SLACK))).sum())
        raise InputError(
            f"{path}: the mask has values from {low:.4g} to {high:.4g}, expected 0 (solvent) to 1 "
            f"(molecule); {wrong} of {mask.numel()} voxels are outside. It is probably a map.\n"
            f"  Remedy: make a mask of it, e.g. relion_mask_create --i {path.name} --o mask_ok.mrc "
            f"--ini_threshold LEVEL --extend_inimask 3 --width_soft_edge 6"
        )
    if high < 0.5:
        raise InputError(
            f"{path}: the mask's largest value is {high:.4g}, expected 1 inside the molecule.\n"
            f"  Remedy: make it again at a lower threshold."
        )
    return mask.clamp(0.0, 1.0)


def edge_width(mask: Tensor) -> float:
    """Mean width of the mask's edge in pixels: soft voxels over the area of its half level.

    The area is that of the voxel faces between values below and above one half, taken times 2/3,
    their excess over a surface that looks in all directions. Infinite for a mask without surface.
    """
    inside = mask >= 0.5
    faces = sum(int(inside.diff(dim=axis).sum()) for axis in range(3))
    soft = int(((mask > 0.01) & (mask < 0.99)).sum())
    return soft / (faces / 1.5) if faces else float("inf")


def mask_remarks(mask: Tensor, volume: Tensor, grid: Grid) -> list[str]:
    """What is wrong with the shape of ``mask`` for the molecule in ``volume``, in words."""
    remarks = []
    width = edge_width(mask)
    if width < SOFTEST_HARD:
        remarks.append(
            f"The mask has a hard edge ({width:.1f} pixels wide): such an edge alone correlates "
            f"half-maps. Give it a soft edge of 5 to 8 pixels."
        )
    molecule = find_molecule(volume, grid)
    cut = molecule.share_outside(mask, grid) if molecule is not None else 0.0
    if cut > CUT_SHARE:
        remarks.append(
            f"The mask cuts the molecule: {100 * cut:.0f} % of its density lies outside. Lower the "
            f"mask's threshold or extend it."
        )
    return remarks


def tightness_remark(found: MaskedFsc, grid: Grid) -> str | None:
    """In words how the FSC shows that its mask is too tight; None where it does not.

    Three signs: random phases correlate at the corrected resolution; the masked curve reaches far
    beyond the corrected one; the corrected curve ends before the one without a mask.
    """
    inflation = found.inflation(grid)
    curves = found.unmasked, found.masked, found.corrected
    unmasked, masked, corrected = (resolution(curve, grid) for curve in curves)
    if inflation > INFLATION:
        return (
            f"The mask is too tight: with random phases it still gives an FSC of {inflation:.2f} "
            f"at the corrected resolution ({corrected}), expected below {INFLATION:g}. Use a "
            f"wider or softer mask."
        )
    if (
        masked.shell - corrected.shell >= FEW_SHELLS
        and masked.shell > SHELLS_APART * corrected.shell
    ):
        return (
            f"The mask is too tight: {masked} under it, but {corrected} once its own "
            f"contribution is taken off. Use a wider or softer mask."
        )
    if unmasked.shell - corrected.shell >= FEW_SHELLS:
        return (
            f"The mask does harm: {corrected} under it after correction, {unmasked} without any "
            f"mask. It is too tight or cuts the molecule. Use a wider or softer mask."
        )
    return None


def resolutions_by_mask(
    found: Mapping[str, MaskedFsc], grid: Grid
) -> dict[str, dict[str, float | bool]]:
    """For ``unmasked`` and each mask the resolution in Angstrom at "0.5" and "0.143".

    Of the corrected curves; by shell as RELION does, and, under "0.5 interpolated" and
    "0.143 interpolated", where straight lines between the shells cross. "at_nyquist": the curve
    never falls below 0.143. Infinite where nothing is above the threshold.
    """
    first = next(iter(found.values()), None)
    curves = {} if first is None else {"unmasked": first.unmasked}
    curves |= {name: one.corrected for name, one in found.items()}
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
