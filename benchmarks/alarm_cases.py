"""Particle sets with one fault each, and honest ones: what the alarms of a run are tried on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import torch

from cryosplat.particles import Particles, read_particles
from cryosplat.settings import ReconstructionSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import sabotage  # type: ignore[import-not-found]

QUICK = ReconstructionSettings(quick=True)
SHARED = Path(os.environ.get("CRYOSPLAT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ERRORS = "--snr .05 --angle-err .7 --shift-err .4"


@dataclass(frozen=True)
class Molecule:
    """A model in a loose box of ``box`` pixels of ``pixel`` Angstrom, and the tightest one, in pixels,
    that holds it: a tenth wider than its largest diameter."""

    name: str
    model: str
    box: int
    pixel: float
    tight: int


TRIED = (
    Molecule("haemoglobin", "4hhb_hemoglobin.pdb", 40, 3.2, 26),
    Molecule("spike", "6vxx.pdb", 44, 6.0, 34),
)
OTHERS = (
    Molecule("IgG", "1igy_IgG1.pdb", 40, 6.0, 30),
    Molecule("GroEL", "1MNF_groel.pdb.gz", 40, 6.5, 32),
    Molecule("apoferritin", "apoferritin_ca_sym.pdb", 40, 5.2, 28),
)


@dataclass(frozen=True)
class Case:
    """``make`` particles of a molecule in a folder; ``code`` has to come first of what the run says,
    and none may be an alarm where it is empty. Only for the molecules ``of``, where some are named."""

    name: str
    code: str
    make: Callable[[Molecule, Path], Particles]
    settings: ReconstructionSettings = QUICK
    of: tuple[str, ...] = ()


def simulated(molecule: Molecule, folder: Path, options: str, box: int = 0) -> Particles:
    """Particles by ``make_hard_particles.py``, which shares no code with cryosplat."""
    star = folder / "particles.star"
    if not star.exists():
        shown = [
            str(SHARED / "data" / "models" / molecule.model), str(folder), "--box",
            str(box or molecule.box), "--apix", str(molecule.pixel), *options.split(),
        ]  # fmt: skip
        tool = SHARED / "tools" / "make_hard_particles.py"
        subprocess.run([sys.executable, str(tool), *shown], check=True)
    return read_particles(star)


def hard(options: str) -> Callable[[Molecule, Path], Particles]:
    """A set of its own with some faults of the simulator."""

    def make(molecule: Molecule, folder: Path) -> Particles:
        return simulated(molecule, folder / "set", f"{ERRORS} --num 1000 --seed 3 {options}")

    return make


def sound(molecule: Molecule, folder: Path) -> Particles:
    """The set that the other faults are put into."""
    return simulated(
        molecule, folder.parent / f"{molecule.name} sound", f"{ERRORS} --num 1000 --seed 2"
    )


def spoilt(change: Callable[[Particles, Path], Particles]) -> Callable[[Molecule, Path], Particles]:
    """The sound set with a change."""
    return lambda molecule, folder: change(sound(molecule, folder), folder / "set")


def seen_within(degrees: float) -> Callable[[Molecule, Path], Particles]:
    """Views within some degrees of one axis, from both sides; about a thousand."""

    def make(molecule: Molecule, folder: Path) -> Particles:
        pool = simulated(
            molecule, folder.parent / f"{molecule.name} pool", f"{ERRORS} --num 10000 --seed 4"
        )
        near = pool.poses.rotations[:, 2, 2].abs() > np.cos(np.deg2rad(degrees))
        return pool[near.nonzero().squeeze(1)[:1000]]

    return make


def cut(box: int, seed: int = 2, options: str = ERRORS) -> Callable[[Molecule, Path], Particles]:
    """The middle ``box`` pixels of images of twice the box, whose fringes are lost."""

    def make(molecule: Molecule, folder: Path) -> Particles:
        near = folder / "cut"
        if not (near / "particles.star").exists():
            wide = simulated(
                molecule, folder / "wide", f"{options} --num 1000 --seed {seed}", 2 * box
            )
            near.mkdir()
            first = box - box // 2
            inner = slice(first, first + box)
            for name in ("particles.mrcs", "truth.mrc"):
                with mrcfile.open(folder / "wide" / name) as stream:
                    values = np.array(stream.data)
                whole = values[inner] if name == "truth.mrc" else values
                with mrcfile.new(near / name) as stream:
                    stream.set_data(np.ascontiguousarray(whole[:, inner, inner]))
                    if name == "particles.mrcs":
                        stream.set_image_stack()
                    stream.voxel_size = molecule.pixel
            text = (folder / "wide" / "particles.star").read_text()
            size = f" {molecule.pixel} {wide.box_size} 2"
            (near / "particles.star").write_text(
                text.replace(size, f" {molecule.pixel} {box} 2", 1)
            )
        return read_particles(near / "particles.star")

    return make


FAULTS = (
    Case("junk .4", "images-without-particle", hard("--junk .4")),
    Case("scale .5", "scales-differ", hard("--scale .5")),
    Case("a tenth duplicated", "half-sets-share-images",
         spoilt(lambda p, _: sabotage.duplicated(p, 0.1))),
    Case("a tenth extracted again", "half-sets-share-noise",
         spoilt(lambda p, to: sabotage.duplicated_with_other_pixels(p, 0.1, to))),
    Case("a tenth of the wrong sign", "particles-contradict", spoilt(sabotage.wrong_sign)),
    Case("views within 20 degrees", "views-missing", seen_within(20.0)),
    Case("views within 30 degrees", "views-missing", seen_within(30.0)),
    Case("views within 45 degrees", "views-missing", seen_within(45.0)),
    Case("50 particles", "few-particles", spoilt(lambda p, _: p[torch.arange(50)])),
    Case("tight box", "delocalisation", lambda m, folder: cut(m.tight)(m, folder),
         of=("haemoglobin",)),  # pixels of the other show no detail that leaves the box
    Case("defocus off by 800 A", "defocus-wrong", hard("--defocus-err 800")),
    Case("permuted poses", "poses-say-nothing", spoilt(lambda p, _: sabotage.permuted_poses(p))),
    Case("neighbours", "neighbours", hard("--neighbours")),
    Case("60 Gaussians", "too-few-gaussians", spoilt(lambda p, _: p),
         replace(QUICK, gaussians=60)),
    Case("2 steps", "fit-stopped-early", spoilt(lambda p, _: p), replace(QUICK, steps=2)),
)  # fmt: skip


def honest(molecule: Molecule) -> tuple[Case, ...]:
    """Four sets without a fault: a loose and a tight box, and both with large pixels; noise that is
    coloured or white."""
    ratio = 5.0 / 3.0
    large = replace(molecule, pixel=molecule.pixel * ratio)

    def coarse(box: float, options: str) -> Callable[[Molecule, Path], Particles]:
        pixels = 2 * round(0.5 * box / ratio)
        return lambda _, folder: simulated(
            large, folder / "set", f"{ERRORS} --num 1200 {options}", pixels
        )

    return (
        Case("loose box, coloured noise", "", hard("--color --seed 11")),
        Case("tight box, cut", "", cut(molecule.tight, 12)),
        Case("loose box, large pixels", "", coarse(molecule.box, "--seed 13")),
        Case("tight box, large pixels", "", coarse(molecule.tight, "--seed 14 --color")),
    )
