"""``cryosplat convert``: particles in the words of another program."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..errors import SettingsError
from ..particles import star_losses, write_cryodrgn, write_particles
from ._reconstruct import ParticleFiles


def run_convert(files: ParticleFiles, out: Path) -> None:
    """Write ``files`` to ``out``: a ``.star`` file, or a folder for cryoDRGN."""
    suffix = out.suffix.lower()
    if suffix in (".cs", ".csg", ".pkl", ".mrc", ".mrcs", ".txt"):
        raise SettingsError(
            f"-o {out}: particles are written as a .star file (RELION 3.1) or into a folder "
            f"(cryoDRGN: poses.pkl, ctf.pkl), not as {suffix}."
        )
    if suffix == ".star" and out.absolute() == files.particles.absolute():
        raise SettingsError(f"-o {out}: would replace the file it is made from; choose another.")
    particles = files.read()
    console = Console(highlight=False, soft_wrap=True)
    for note in particles.notes:
        console.print(note, markup=False)
    if suffix == ".star":
        write_particles(particles, out)
        losses = [*star_losses(particles)]
    else:
        losses = write_cryodrgn(particles, out)
    for loss in losses:
        console.print(loss, markup=False)
    what = "particles" if particles.tilt_particles is None else "tilt images"
    console.print(f"{len(particles)} {what} in {out}", markup=False)
