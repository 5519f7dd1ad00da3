"""``cryosplat convert``: particles in the words of another program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..commands import pasted
from ..errors import OutputError, SettingsError
from ..io.atomic import check_no_input
from ..notes import Note
from ..particles import Particles, star_losses, write_cryodrgn, write_particles
from ..particles.cryodrgn import FILES
from ._console import plain_console
from ._particle_files import ParticleFiles


def run_convert(files: ParticleFiles, out: Path, overwrite: bool = False) -> None:
    """Write ``files`` to ``out``: a ``.star`` file, or a folder for cryoDRGN.

    Files that exist are replaced with ``overwrite`` only, and never one that is read.
    """
    targets = _targets(files, out, overwrite)
    particles = files.read()
    for target in targets:
        check_no_input("-o", target, (stack.path for stack in particles.images.stacks))
    told = [*particles.notes, *_written(particles, out)]
    what = "particles" if particles.tilt_particles is None else "tilt images"
    console = plain_console()
    for line in (*told, f"{len(particles)} {what} in {out}"):
        console.print(str(line))


def _targets(files: ParticleFiles, out: Path, overwrite: bool) -> list[Path]:
    """The files that will be written; raises where one of them must not be."""
    to_star = _is_star(out)
    targets = [out] if to_star else [out / name for name in FILES]
    for target in targets:
        check_no_input("-o", target, files.inputs())
    _check_place(out, to_star)
    _check_free(out, targets, overwrite)
    return targets


def _written(particles: Particles, out: Path) -> list[Note]:
    """Write ``particles``; returns what the form cannot hold."""
    if not _is_star(out):
        return list(write_cryodrgn(particles, out))
    write_particles(particles, out)
    return list(star_losses(particles))


def _is_star(out: Path) -> bool:
    suffix = out.suffix.lower()
    if suffix in (".cs", ".csg", ".pkl", ".mrc", ".mrcs", ".txt"):
        raise SettingsError(
            f"-o {out}: particles are written as a .star file (RELION 3.1) or into a folder "
            f"(cryoDRGN: poses.pkl, ctf.pkl), not as {suffix}."
        )
    return suffix == ".star"


def _check_place(out: Path, to_star: bool) -> None:
    """Raise `OutputError` where ``out`` is a folder in the place of a file, or the reverse."""
    if to_star and out.is_dir():
        raise OutputError(f"-o {out}: is a folder.\n  Remedy: choose another name.")
    if to_star and not out.absolute().parent.is_dir():
        parent = out.absolute().parent
        remedy = pasted("mkdir", "-p", parent)
        raise OutputError(f"-o {out}: there is no folder {parent}.\n  Remedy: {remedy}")
    if not to_star and os.path.lexists(out) and not out.is_dir():
        raise OutputError(
            f"-o {out}: exists and is not a folder.\n"
            f"  Remedy: choose another name; a RELION table ends in .star."
        )


def _check_free(out: Path, targets: Sequence[Path], overwrite: bool) -> None:
    held = [target.name for target in targets if os.path.lexists(target)]
    if held and not overwrite:
        what = f"exists already ({', '.join(held)})" if out not in targets else "exists already"
        raise OutputError(f"-o {out}: {what}.\n  Remedy: choose another name, or --overwrite.")
