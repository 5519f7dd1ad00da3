"""A run for other programs and archives: RELION's file names, and a folder for the EMDB."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..appearance import contour_level, level_like
from ..io.atomic import replacing, write_text
from ..io.fsc import write_fsc_xml
from ..io.mrc import read_map, write_map
from ..run_folder import RunFolder
from ..run_folder.headline import headline_of
from .pictures import as_png, reach_of
from .surface import OBLIQUE, Surface, surface_picture

PathLike = str | os.PathLike[str]

RELION_HALVES = "run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc"
WIDTH = 96  # characters of a line
IMAGE = 500  # pixels, as the EMDB asks
README = """\
Files for deposition at the EMDB
================================
All maps have the same box ({box} x {box} x {box} voxels), pixel size ({pixel:.4f} Å) and origin
(0, 0, 0), so that they superimpose as the EMDB asks.

file                 role in the form                    recommended contour level
map.mrc              primary map                         {level:.4g}
half_map_1.mrc       half-map 1                          {half_levels[0]:.4g}
half_map_2.mrc       half-map 2                          {half_levels[1]:.4g}
map_unsharpened.mrc  additional map                      {plain_level:.4g}
mask.mrc             mask                                0.5
fsc.xml              FSC
image.png            image, {image} x {image} pixels

map.mrc is map_unsharpened.mrc, weighted by its FSC, sharpened with a B-factor of {b_factor:.1f} Å² and
low-passed at {low_pass}; no mask is applied. The half-maps are unfiltered, unsharpened and unmasked.
fsc.xml is the FSC of the half-maps under mask.mrc, corrected for the mask by random phases (Chen et
al. 2013, Ultramicroscopy 135, 24-35). All contour levels enclose the same volume; image.png shows
map.mrc at its level.

For the form
------------
Resolution               {resolution}
Resolution method        {method}
Particles                {particles}
Symmetry imposed         {symmetry}
Reconstruction software  cryosplat {version}

{advice}
{why}
The maps are mixtures of Gaussians, fitted to each half-set by itself. Such a model is smooth and
mostly positive by construction, which can raise the half-map FSC; the run's report.html compares it
with a voxel reconstruction of the same half-sets and with noise put in its place.
"""


@dataclass(frozen=True, slots=True)
class Deposit:
    """What a deposition needs beside the files of the run.

    ``volume`` is the sharpened map and ``mask`` that of the FSC, both (d, d, d); ``frequencies``
    (1/Angstrom) and ``fsc`` hold one value per shell, and ``half_maps`` (Angstrom) is where ``fsc``
    falls below 0.143. ``low_pass``, where the map was filtered, as read by people. ``b_factor`` in
    square Angstrom.
    """

    volume: NDArray[np.float32]
    mask: NDArray[np.float32]
    frequencies: list[float]
    fsc: list[float]
    half_maps: float
    low_pass: str
    b_factor: float


def write_emdb(run: RunFolder, folder: PathLike, deposit: Deposit) -> Path:
    """Fill the new ``folder`` with maps, FSC, image and a README for a deposition at the EMDB.

    Raises
    ------
    OutputError
        ``folder`` exists and is not empty, or cannot be written.
    """
    summary = run.read_summary()
    headline, pixel = headline_of(summary, deposit.half_maps), summary.pixel_size
    copies = {run.map: "map_unsharpened", run.half1: "half_map_1", run.half2: "half_map_2"}
    maps = {name: read_map(source).data for source, name in copies.items()}
    with RunFolder.create(folder) as new:
        write_map(new.path / "map.mrc", deposit.volume, pixel, "sharpened")
        write_map(new.path / "mask.mrc", deposit.mask, pixel, "mask of the FSC")
        for source, name in copies.items():
            write_map(new.path / f"{name}.mrc", maps[name], pixel, f"{source.name} of a run")
        write_fsc_xml(
            new.path / "fsc.xml", deposit.frequencies, deposit.fsc,
            "FSC of half-maps, masked and corrected",
        )  # fmt: skip
        plain = maps["map_unsharpened"]
        level = level_like(deposit.volume, plain, deposit.mask)
        with replacing(new.path / "image.png") as stream:
            stream.write(_image(deposit.volume, level))
        versions = summary.provenance.versions if summary.provenance else {}
        text = README.format(
            box=summary.box_size, pixel=pixel, image=IMAGE, b_factor=deposit.b_factor,
            low_pass=deposit.low_pass, level=level, plain_level=contour_level(plain),
            half_levels=[level_like(maps[f"half_map_{i}"], plain, deposit.mask) for i in (1, 2)],
            resolution=headline.angstrom, method=headline.method or "none",
            particles=summary.n_particles or "unknown", symmetry=summary.symmetry,
            version=versions.get("cryosplat", ""), advice=fill(headline.advice, WIDTH),
            why=fill(headline.fsc_xml, WIDTH) + "\n" if headline.fsc_xml else "",
        )  # fmt: skip
        write_text(new.path / "README.txt", text)
        return new.commit().path


def _image(volume: NDArray[np.float32], level: float) -> bytes:
    """The surface from aside, on white."""
    picture = Image.new("RGBA", (IMAGE, IMAGE), "white")
    if level > 0.0:
        surface = Surface.of(volume, level, reach_of(volume, level))
        picture.alpha_composite(Image.fromarray(surface_picture(surface, OBLIQUE, IMAGE)))
    return as_png(picture.convert("RGB"))


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
