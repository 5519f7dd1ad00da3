"""A run for other programs and archives: RELION's file names, and a folder for the EMDB."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..appearance import contour_level
from ..io.fsc import write_fsc_xml
from ..io.mrc import read_map, write_map
from ..run_folder import RunFolder, write_text

PathLike = str | os.PathLike[str]

RELION_HALVES = "run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc"
README = """\
What is in this folder, for deposition at the EMDB
==================================================
All maps have the same box ({box} x {box} x {box} voxels), pixel size ({pixel:.4f} Å) and origin
(0, 0, 0), so that they superimpose as the EMDB asks.

map.mrc          Primary map: map_unsharpened.mrc, weighted by its FSC, sharpened with a B-factor
                 of {b_factor:.1f} Å², low-passed at {low_pass}. No mask is applied.
                 Recommended contour level: {level:.4g}
half_map_1.mrc   Half-map 1, of half of the particles: unfiltered, unsharpened, unmasked.
half_map_2.mrc   Half-map 2, of the other half.
map_unsharpened.mrc
                 Additional map: all particles, unfiltered, unsharpened, unmasked.
mask.mrc         The mask of the FSC: soft, values 0 to 1.
fsc.xml          FSC of the half-maps under mask.mrc, corrected for the mask by random phases
                 (Chen et al. 2013, Ultramicroscopy 135, 24-35).

For the form
------------
Resolution                  {resolution}
Taken from                  {method}
FSC 0.143 of the half-maps  {half_maps}
Particles                   {particles}
Symmetry imposed            C1
Reconstruction software     cryosplat {version}

The maps are mixtures of Gaussians, fitted to each half-set by itself. Such a model is smooth and
mostly positive by construction, which can raise half-map FSC; the run's report.html compares it
with a voxel reconstruction of the same half-sets and with noise put in its place.
"""


@dataclass(frozen=True, slots=True)
class Deposit:
    """What a deposition needs beside the files of the run.

    ``volume`` is the sharpened map and ``mask`` that of the FSC, both (d, d, d); ``frequencies``
    (1/Angstrom) and ``fsc`` hold one value per shell. As read by people: ``resolution`` and
    ``method``, the headline and where it comes from, ``half_maps``, where ``fsc`` falls below
    0.143, and ``low_pass``, where the map was filtered. ``b_factor`` in square Angstrom.
    """

    volume: NDArray[np.float32]
    mask: NDArray[np.float32]
    frequencies: list[float]
    fsc: list[float]
    resolution: str
    method: str
    half_maps: str
    low_pass: str
    b_factor: float


def write_emdb(run: RunFolder, folder: PathLike, deposit: Deposit) -> Path:
    """Fill the new ``folder`` with the maps, the FSC and a README for a deposition at the EMDB.

    Raises
    ------
    OutputError
        ``folder`` exists and is not empty, or cannot be written.
    """
    summary = run.read_summary()
    box, pixel = summary.box_size, summary.pixel_size
    with RunFolder.create(folder) as new:
        write_map(new.path / "map.mrc", deposit.volume, pixel, "sharpened")
        write_map(new.path / "mask.mrc", deposit.mask, pixel, "mask of the FSC")
        for source, name in (
            (run.map, "map_unsharpened.mrc"),
            (run.half1, "half_map_1.mrc"),
            (run.half2, "half_map_2.mrc"),
        ):
            write_map(new.path / name, read_map(source).data, pixel, f"{source.name} of a run")
        write_fsc_xml(
            new.path / "fsc.xml", deposit.frequencies, deposit.fsc,
            "FSC of half-maps, masked and corrected",
        )  # fmt: skip
        versions = summary.provenance.versions if summary.provenance else {}
        text = README.format(
            box=box, pixel=pixel, b_factor=deposit.b_factor, low_pass=deposit.low_pass,
            level=contour_level(deposit.volume), resolution=deposit.resolution,
            method=deposit.method, half_maps=deposit.half_maps,
            particles=summary.n_particles or "unknown",
            version=versions.get("cryosplat", ""),
        )  # fmt: skip
        write_text(new.path / "README.txt", text)
        return new.commit().path


def write_relion_halves(
    run: RunFolder,
    folder: PathLike,
    mask: Path | None = None,
    randomise_at: float | None = None,
) -> str:
    """Half-maps and mask of ``run`` in the new ``folder`` under the names RELION looks for.

    ``mask`` replaces that of the run. Returns the command that postprocesses them there;
    ``randomise_at`` (Angstrom) is for half-maps whose FSC never falls below 0.8, for which
    relion_postprocess must be told where random phases begin.

    Raises
    ------
    OutputError
        ``folder`` exists and is not empty, or cannot be written.
    """
    pixel = run.read_summary().pixel_size
    with RunFolder.create(folder) as new:
        for source, name in zip((run.half1, run.half2), RELION_HALVES, strict=True):
            shutil.copyfile(source, new.path / name)
        shutil.copyfile(run.mask if mask is None else mask, new.path / "mask.mrc")
        new.commit()
    names = RELION_HALVES[0], "mask.mrc", "postprocess"
    half, chosen, out = (str(Path(folder) / name) for name in names)
    words = ["relion_postprocess", "--i", half, "--mask", chosen, "--angpix", f"{pixel:.6g}"]
    words += ["--auto_bfac", "--o", out]
    if randomise_at is not None:
        words += ["--randomize_at_A", f"{randomise_at:.4g}"]
    return shlex.join(words)
