"""What the user reads before and after the work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from rich.table import Table
from rich.text import Text

from ..commands import pasted
from ..estimate import Cost
from ..notes import Note
from ..particles import Particles
from ..run_folder import RunFolder, RunSummary
from ..run_folder.headline import Headline, headline_of
from ._console import duration, gigabytes, plain_console

THRESHOLDS = "0.143", "0.5"
CURVES = {
    "half-maps, masked and corrected": ("half-maps, corrected", "voxels, corrected"),
    "half-maps, unmasked": ("half-maps, unmasked", "voxels, unmasked"),
    "Gaussians of one half, voxels of the other": ("cross, masked",),
}


def print_preflight(
    particles: Particles, cost: Cost, threads: int, half_sets: str | None = None
) -> None:
    """Particles, box, pixel, optics groups, half-sets, expected memory and time.

    ``half_sets``: what is said of them, where it is not that they are as given.
    """
    table = _table()
    table.add_row("particles", f"{len(particles):,}  from {particles.source}")
    table.add_row(
        "box", f"{particles.box_size} px of {particles.pixel_size:.4g} Å "
        f"({particles.box_size * particles.pixel_size:.0f} Å)",
    )  # fmt: skip
    table.add_row("optics groups", _optics(particles))
    table.add_row("half-sets", half_sets or _half_sets(particles))
    table.add_row(
        "expected", f"about {duration(cost.seconds)} and {gigabytes(cost.memory)} of memory, with "
        f"{threads} thread{'s' if threads > 1 else ''}",
    )  # fmt: skip
    plain_console().print(table)


def _optics(particles: Particles) -> str:
    groups = particles.optics.groups
    first = groups[0]
    told = (
        f"{first.voltage / 1e3:g} kV, Cs {first.spherical_aberration / 1e7:g} mm, "
        f"amplitude contrast {first.amplitude_contrast:g}"
    )
    pixels = {f"{g.pixel_size:.4g}" for g in groups}
    boxes = {str(g.box_size) for g in groups}
    if len(groups) > 1:
        told = f"the first: {told}"
    if len(pixels) > 1:
        told += f"; pixel sizes {', '.join(sorted(pixels))} Å"
    if len(boxes) > 1:
        told += f"; boxes {', '.join(sorted(boxes))} px"
    return f"{len(groups)}  ({told})"


def _half_sets(particles: Particles) -> str:
    if not particles.has_half_sets:
        return "none in the file; a random split will be written to particles.star"
    first, second = torch.bincount(particles.half_sets.long(), minlength=3)[1:].tolist()
    return f"{first:,} + {second:,}, as given"


def print_result(run: RunFolder, notes: list[Note]) -> None:
    """Resolution of the map beside the voxel baseline, the warnings ``notes``, time, memory, files."""
    summary = run.read_summary()
    console = plain_console()
    console.print()
    headline = headline_of(summary)
    told = f"  {headline.source}" + (", at Nyquist" if headline.at_nyquist else "")
    console.print(Text.assemble((f"Resolution {headline.angstrom}", "bold"), told))
    for sentence in (headline.advice, headline.reason, headline.fsc_xml):
        if sentence:
            console.print(sentence)
    console.print()
    console.print(_resolutions(summary, headline))
    table = _table()
    if headline.method:
        table.add_row("EMDB form", f"{headline.angstrom}, method {headline.method}")
    for name, value in facts(summary).items():
        table.add_row(name, value)
    console.print(table)
    for note in notes:
        console.print(Text.assemble(("! ", "bold yellow"), (note.advice, "yellow")))
    console.print(f"\nMap        {run.map}")
    if run.report.exists():
        console.print(f"Report     {run.report}")
        console.print(f"ChimeraX   {pasted('chimerax', run.chimerax)}")


def print_found_poses(run: RunFolder) -> None:
    """What was found from nothing: resolution, scores, notes, files, and the command to go on."""
    summary = run.read_summary()
    found = summary.abinit
    assert found is not None
    console = plain_console()
    console.print()
    if found.found:
        console.print(
            Text.assemble(
                (f"Poses found; resolution {angstrom(summary.resolution)}", "bold"),
                f". {summary.resolution_reason or ''}",
            )
        )
    for note in summary.notes or []:
        style = "" if note.severity == "note" else "bold yellow"
        text = Text.assemble(("! ", style), note.text)
        console.print(text.append(f" Remedy: {note.remedy}" if note.remedy else ""))
    if found.found:
        console.print(f"\nParticles  {run.particles}")
        console.print(f"Map        {run.map}")
    if run.report.exists():
        console.print(f"Report     {run.report}")
    if found.found:
        group = () if summary.symmetry == "C1" else ("--symmetry", summary.symmetry)
        how = [*_how_to_refine(found.refinement), *_as_searched(summary.settings or {})]
        command = pasted("cryosplat", "refine", run.particles, *group, *how, "--prior", "none")
        console.print(f"Next       {command} -o RUN")


def _how_to_refine(settings: Mapping[str, Any] | None) -> list[str]:
    """The options of `refine` that such poses need."""
    wide = {f"--{name}": f"{settings[name]:g}" for name in ("angle", "shift")} if settings else {}
    return [word for option in wide.items() for word in option]


def _as_searched(settings: Mapping[str, Any]) -> list[str]:
    """The options that a search and what follows it share, where they were given."""
    seed = settings.get("seed", 0)
    contrast = {"dark": ["--invert"], "bright": ["--no-invert"]}.get(
        str(settings.get("contrast")), []
    )
    return [*contrast, *(["--seed", str(seed)] if seed else [])]


def _resolutions(summary: RunSummary, headline: Headline) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("Å at FSC 0.143 / 0.5")
    table.add_column("Gaussians", justify="right")
    table.add_column("voxel baseline", justify="right")
    table.add_row("headline", headline.number, "", style="bold")
    found = summary.resolutions or {}
    for title, names in CURVES.items():
        cells = (
            " / ".join(angstrom(found[name][t], unit="") for t in THRESHOLDS) for name in names
        )
        table.add_row(title, *cells)
    return table


def facts(summary: RunSummary) -> dict[str, str]:
    """The numbers of a run that a microscopist asks for, in words."""
    first, second = summary.n_half or (0, 0)
    gaussians, timings = summary.gaussians or [0, 0, 0], summary.timings or {"total": 0.0}
    longest = sorted((s, name) for name, s in timings.items() if name != "total")[-3:]
    return {
        "particles": f"{first + second:,} ({first:,} + {second:,} in the half-sets)",
        "Gaussians": f"{gaussians[0]:,} (half-maps {gaussians[1]:,} and {gaussians[2]:,}); "
        f"{100 * (summary.scale_at_floor or 0.0):.0f} % of their scales at the minimum of "
        f"{summary.smallest_scale_allowed or 0.0:.2f} Å",
        **_symmetry(summary),
        "contrast": f"{summary.contrast.used} protein" if summary.contrast else "",
        "time": f"{duration(timings['total'])} ("
        + ", ".join(f"{name} {duration(seconds)}" for seconds, name in reversed(longest))
        + ")",
        "peak memory": gigabytes(summary.peak_memory_bytes or 0.0),
    }


def _symmetry(summary: RunSummary) -> dict[str, str]:
    if summary.symmetry == "C1":
        return {}
    stored = (summary.gaussians_stored or [0])[0]
    return {"symmetry": f"{summary.symmetry}; {stored:,} of the map's Gaussians are stored"}


def angstrom(value: float | None, unit: str = " Å") -> str:
    """A resolution; "none" where an FSC never rose above its threshold."""
    return "none" if value is None or not math.isfinite(value) else f"{value:.2f}{unit}"


def _table() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    return table
