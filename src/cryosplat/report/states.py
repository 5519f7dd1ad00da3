"""The page of classes or motion: what was found, what says so, and how the states look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from ..appearance import contour_level
from ..grid import Grid
from ..io.atomic import write_text
from ..run_folder.stored_states import StoredStates
from ..splatting import voxelize
from ._drawing import COLOURS, DASHES, legend, panel
from .evidence import Evidence, Panel
from .page import Chapter, render_page
from .pictures import Tile, as_png, difference_tile, grey_tile, reach_of, tile
from .surface import OBLIQUE, Painted, Surface, surface_picture
from .wording import findings, reached_by

PICTURE = 420  # pixels
FILM = 8  # pictures of the filmstrip
DRAWN = 0.8  # of the mass of a mixture inside its surface: it has no noise about it
SHORT = 10  # letters of a label: three of them fit beside each other
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shown:
    """A state on the sheet: its surface, a projection, and how that differs from the others'."""

    title: str
    surface: Tile | None
    projection: Tile
    difference: Tile


def write_states_page(run: Evidence) -> None:
    """Write ``report.html``, figures and a script for ChimeraX of a run of classify or motion."""
    found = run.section("states")
    is_motion = found["kind"] == "motion"
    parts = _maps(run.folder.states if is_motion else run.folder.classes, is_motion)
    frames = sorted(run.folder.states.glob("frame_??.mrc")) if is_motion else []
    panels = [p for p in _panels(run, found) if p]
    headline = _headline(found)
    film = _film(run, frames)
    render_page(
        run,
        "states.html",
        title=headline,
        chapters=[Chapter("Evidence", panels)],
        label="Motion" if is_motion else "Classes",
        headline=headline,
        reason=_reason(found),
        facts=_facts(run, found),
        findings=[finding for finding in findings(run) if finding.severity != "note"],
        film=film.tiles,
        film_caption=film.caption,
        sheet_title="Voxel maps along the coordinate" if is_motion else "Classes",
        sheet=_sheet(run, parts, found),
    )
    write_text(run.folder.chimerax, _chimerax(run, frames or parts))


def _panels(run: Evidence, found: dict[str, Any]) -> list[Panel | None]:
    return [_scores(run, found), _distribution(run, found), _moving(run), _fsc(run)]


def _maps(folder: Path, is_motion: bool) -> list[Path]:
    return sorted(folder.glob("part_??.mrc" if is_motion else "class_??.mrc"))


def _headline(found: dict[str, Any]) -> str:
    if not found["found"]:
        return "No states found"
    if found["kind"] == "motion":
        n = found["coordinates"]
        return f"{n} coordinate{'s' if n > 1 else ''} of motion"
    return f"{found['n']} classes" if found["n"] > 1 else "One class, as asked for"


def _reason(found: dict[str, Any]) -> str:
    (a, da), (b, db) = found["gains"]
    gain = (
        f"Gain over a single map, on images of the other half-set: {a:.2f} ± {da:.2f} and "
        f"{b:.2f} ± {db:.2f} nats per image"
    )
    rival = found.get("rival") or [0.0, 0.0]
    return (
        f"{gain}; wrong poses alone would give {rival[0]:.2f} ± {rival[1]:.2f}. Agreement of the two "
        f"half-sets, learned independently: {found.get('agreement') or 0.0:.2f}. "
        f"{found.get('further', '')}"
    ).rstrip()


def _facts(run: Evidence, found: dict[str, Any]) -> list[tuple[str, str]]:
    first, second = run.summary.get("n_half") or (0, 0)
    return [
        ("particles", f"{first + second:,}"),
        ("half-sets", f"{first:,} + {second:,}"),
        ("empty images", f"{100 * (found.get('absent') or 0.0):.1f} %"),
        ("box", f"{run.box_size} px of {run.pixel_size:.3g} Å"),
        *(
            (f"moving part, {name}", reached_by(at, run.pixel_size))
            for name, at in found.get("moving", {}).items()
            if name != "those in this state"
        ),
    ]


def _sheet(run: Evidence, paths: list[Path], found: dict[str, Any]) -> list[Shown]:
    volumes = [run.map(path) for path in paths]
    maps = [v for v in volumes if v is not None]
    if not maps:
        return []
    mean = np.mean(maps, axis=0)
    level = contour_level(mean)
    reach = reach_of(mean, level) if level > 0 else mean.shape[0] / 2
    centre = mean.shape[0] // 2
    window = slice(max(0, centre - int(reach)), centre + int(reach))
    sums = [v.sum(0)[window, window] for v in maps]
    middle = np.mean(sums, axis=0)
    largest = float(max(np.abs(s - middle).max() for s in sums)) or 1.0
    white = float(max(s.max() for s in sums))
    side = 2 * int(reach) * run.pixel_size
    shown = []
    for j, volume in enumerate(maps):
        shown.append(Shown(
            _title(found, j, run.pixel_size), _surface(volume, level, reach, run.pixel_size, "surface"),
            grey_tile("projection", sums[j], white, side),
            difference_tile("minus the mean", sums[j] - middle, largest, side),
        ))  # fmt: skip
    return shown


def _title(found: dict[str, Any], j: int, pixel_size: float) -> str:
    reached = found["resolutions"][j] if j < len(found.get("resolutions", [])) else None
    told = "" if reached is None else f", {reached_by(reached, pixel_size)}"
    if found["kind"] == "motion":
        return f"Part {j + 1}{told}"
    return f"Class {j + 1}: {100 * found['shares'][j]:.0f} %{told}"


def _surface(
    volume: Array, level: float, reach: float, pixel_size: float, caption: str,
    painted: Painted | None = None,
) -> Tile | None:  # fmt: skip
    if level <= 0:
        return None
    picture = surface_picture(Surface.of(volume, level, reach), OBLIQUE, PICTURE, painted)
    return tile(caption, as_png(Image.fromarray(picture)), 2 * reach * pixel_size)


@dataclass(frozen=True, slots=True)
class Film:
    """Surfaces along a coordinate, and what their colours mean."""

    tiles: list[Tile]
    caption: str = ""


def _film(run: Evidence, paths: list[Path]) -> Film:
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, FILM).astype(int)] if paths else []
    volumes = [v for v in map(run.map, chosen) if v is not None]
    if not volumes:
        return Film([])
    mean = np.mean(volumes, axis=0)
    level = contour_level(volumes[len(volumes) // 2], DRAWN)
    reach = reach_of(np.maximum.reduce(volumes), level) if level > 0 else mean.shape[0] / 2
    frames = run.section("states").get("frames", [])
    places = [frames[paths.index(path)] for path in chosen]
    painted = _ways(run, places, len(mean))
    tiles = (
        _surface(volume, level, reach, run.pixel_size, f"{at[0]:+.2f}", paint)
        for volume, at, paint in zip(volumes, places, painted, strict=True)
    )
    return Film(
        [t for t in tiles if t is not None],
        f"Coloured by how far a part moves between these states, from nothing (blue) to "
        f"{painted[0].high:.0f} Å (orange).",
    )


def _ways(run: Evidence, places: list[list[float]], box: int) -> list[Painted]:
    """For the state at each of the ``places``, how far what is there moves between them (Angstrom)."""
    stored, grid = StoredStates.open(run.folder), Grid(box, run.pixel_size)
    mixtures = [stored.at(at) for at in places]
    means = torch.stack([mixture.means for mixture in mixtures])
    way = (means - means.mean(0)).norm(dim=2).amax(0) * 2.0
    longest = max(float(torch.quantile(way, 0.98)), 1.0)
    found = []
    for mixture in mixtures:
        mass = voxelize(mixture, grid)
        moved = voxelize(replace(mixture, amplitudes=mixture.amplitudes * way), grid)
        field = (moved / mass.clamp_min(1e-6 * float(mass.max()))).numpy()
        found.append(Painted(field, 0.0, longest))
    return found


def _scores(run: Evidence, found: dict[str, Any]) -> Panel | None:
    rows = found.get("scores") or []
    if len(rows) < 2:
        return None
    n, gain, error = np.array(rows, float).T
    path = run.figure("classes")
    with panel(path) as (_, axes):
        axes.errorbar(n, gain, error, color=COLOURS[0], marker="o", ms=3, lw=1.2, capsize=2)
        axes.axvline(found["n"], color=COLOURS[1], lw=0.8, ls=DASHES[1])
        axes.set_xlabel("classes")
        axes.set_ylabel("gain (nats per image)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return Panel(
        path, "How many classes",
        "Gain over one map: classes of one half-set, judged on images of the other. The line "
        "marks the number used: the one asked for, or the smallest that no other number clearly beats.",
    )  # fmt: skip


def _distribution(run: Evidence, found: dict[str, Any]) -> Panel | None:
    if found["kind"] != "motion" or found.get("coordinates") != 1:
        return None
    z = np.array(found["nodes"], float)[:, 0]
    energy = -np.log(np.clip(np.array(found["shares"], float), 1e-6, None))
    path = run.figure("distribution")
    with panel(path, rows=1) as (drawing, axes):
        axes.plot(z, energy - energy.min(), color=COLOURS[0], marker="o", ms=3, label="all")
        for half, shares in enumerate(found.get("half_shares", [])):
            own = -np.log(np.clip(np.array(shares, float), 1e-6, None))
            axes.plot(
                z, own - own.min(), color=COLOURS[1 + half], lw=0.9, ls=DASHES[1 + half],
                label=f"half-set {half + 1}",
            )  # fmt: skip
        axes.set_xlabel("coordinate")
        axes.set_ylabel("\N{MINUS SIGN}log share, above its least")
        legend(drawing, axes, 3)
    return Panel(
        path, "Distribution along the coordinate",
        "Minus the logarithm of the share of particles at each node. It is a free energy in kT only if "
        "the coordinate is uniform and all particles were picked. The half-sets show its error.",
    )  # fmt: skip


def _fsc(run: Evidence) -> Panel | None:
    return _curves(
        run, "fsc", "state ", "Half-map FSC of each state",
        "Voxel maps: each half-set found its states independently, and they weight its particles.",
    )  # fmt: skip


def _moving(run: Evidence) -> Panel | None:
    return _curves(
        run, "moving", "moving part, ", "FSC of the part that moves",
        "In a mask around what moves, half-maps against the voxel map of the other half-set's "
        "particles in the middle fifth of the coordinate: those of all particles, of that fifth, and "
        "of all particles with their motion undone. (Two half-maps with the same blur would agree.)",
    )  # fmt: skip


def _curves(run: Evidence, name: str, prefix: str, title: str, caption: str) -> Panel | None:
    curves = {key: curve for key, curve in run.curves.items() if key.startswith(prefix)}
    if not curves:
        return None
    path = run.figure(name)
    each = "part" if run.section("states")["kind"] == "motion" else "class"
    labels = [key.removeprefix("moving part, ").replace("state ", f"{each} ") for key in curves]
    columns = 3 if max(map(len, labels)) <= SHORT else 1
    with panel(path, rows=-(-len(curves) // columns)) as (drawing, axes):
        for i, (label, curve) in enumerate(zip(labels, curves.values(), strict=True)):
            style = {"color": COLOURS[i % len(COLOURS)], "ls": DASHES[i // len(COLOURS) % 4]}
            axes.plot(run.frequencies, curve, lw=1.1, label=label, **style)
        axes.axhline(0.143, color="#888888", lw=0.6)
        axes.set_ylim(-0.1, 1.03)
        axes.set_xlabel("spatial frequency (1/Å)")
        axes.set_ylabel("FSC")
        legend(drawing, axes, columns)
    return Panel(path, title, caption)


def _chimerax(run: Evidence, paths: list[Path]) -> str:
    """All maps as one series with a slider."""
    lines = ["# chimerax open_in_chimerax.cxc"]
    volumes = [v for v in map(run.map, paths) if v is not None]
    if volumes:
        drawn = paths[0].name.startswith("frame")
        level = contour_level(volumes[0], DRAWN) if drawn else contour_level(volumes[0])
        names = " ".join(str(path.relative_to(run.folder.path)) for path in paths)
        lines += [
            f"open {names} vseries true",
            f"volume #1 step 1 style surface level {level:.6g}",
            "vseries slider #1",
        ]
    lines.append("set bgColor white; lighting soft; graphics silhouettes true; view")
    return "\n".join(lines) + "\n"
