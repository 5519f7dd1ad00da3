"""Stacks: are they there, do their headers agree with the table, is an image used twice?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..notes import Note
from ..particles import Particles, StackFaults
from .values import Item, listed, rows_in_words

PIXEL_SIZE = 0.02  # by which a header may differ from the table


def stack_items(particles: Particles, faults: StackFaults) -> list[Item]:
    """Items on paths, headers and duplicates."""
    return [_paths(particles, faults), _headers(particles, faults), _duplicates(particles)]


def _paths(particles: Particles, faults: StackFaults) -> Item:
    stacks = particles.images.stacks
    lost = len(faults.missing) + len(faults.unreadable) + len(faults.ambiguous)
    findings = [*_absent(particles, faults), *_past_the_end(particles, faults),
                *_elsewhere(particles)]  # fmt: skip
    text = (
        f"{len(stacks):,}, all found" if not lost else f"{len(stacks) - lost:,} of {len(stacks):,}"
    )
    return Item("stacks", text, tuple(findings))


def _absent(particles: Particles, faults: StackFaults) -> Iterator[Note]:
    total, n = len(particles.images.stacks), len(particles)
    drop = f"cryosplat check {particles.source} --fix OUT.star --drop-missing"
    if faults.missing:
        rows = sum(faults.missing.values())
        yield Note(
            "stacks-missing", "alarm",
            f"{len(faults.missing):,} of {total:,} stacks were not found ({rows:,} of {n:,} rows): "
            f"{listed(list(faults.missing))}.",
            f"--datadir FOLDER, where FOLDER/{next(iter(faults.missing)).lstrip('/')} exists; or "
            f"{drop}",
        )  # fmt: skip
    if faults.ambiguous:
        rows = sum(k for k, _ in faults.ambiguous.values())
        path = next(iter(faults.ambiguous.values()))[1]
        yield Note(
            "stacks-ambiguous", "alarm",
            f"{len(faults.ambiguous):,} different stacks were found as one and the same file "
            f"({rows:,} of {n:,} rows): {listed(list(faults.ambiguous))} as {path}.",
            f"--datadir FOLDER, the folder that the names are relative to; or {drop}",
        )  # fmt: skip
    if faults.unreadable:
        rows = sum(k for k, _ in faults.unreadable.values())
        _, why = next(iter(faults.unreadable.values()))
        yield Note(
            "stacks-unreadable", "alarm",
            f"{len(faults.unreadable):,} of {total:,} stacks cannot be read ({rows:,} of {n:,} "
            f"rows): {listed(list(faults.unreadable))}. {_first_sentence(why)}",
            f"Copy them again; or {drop}",
        )  # fmt: skip


def _first_sentence(message: str) -> str:
    return message.partition("\n")[0]


def _past_the_end(particles: Particles, faults: StackFaults) -> Iterator[Note]:
    if not faults.past_the_end:
        return
    rows = sum(k for k, _ in faults.past_the_end.values())
    name, (wanted, held) = next(iter(faults.past_the_end.items()))
    yield Note(
        "sections-missing", "alarm",
        f"{rows:,} rows ask for images past the end of {len(faults.past_the_end):,} stacks: {name} "
        f"holds {held:,} images, {wanted:,} rows ask for later ones. Extraction was probably run "
        f"again.",
        f"Take the file that was written with these stacks; or cryosplat check {particles.source} "
        f"--fix OUT.star --drop-missing",
    )  # fmt: skip


def _elsewhere(particles: Particles) -> Iterator[Note]:
    """Stacks found under another suffix, or in another folder, than the table says."""
    images = particles.images
    _, first = np.unique(images.stack, return_index=True)
    respelled, relocated = [], []
    for number, row in enumerate(first):
        file = images.stacks[number]
        named = Path(str(particles.names[row]).partition("@")[2] or str(particles.names[row]))
        if not file.n_images:
            continue
        if named.suffix != file.path.suffix:
            respelled.append(f"{file.path} for {named}")
        elif (named.is_absolute() and named != file.path) or named.name != file.path.name:
            relocated.append(f"{file.path} for {named}")
    for code, found, how in (
        ("stacks-respelled", respelled, "another suffix"),
        ("stacks-relocated", relocated, "another place or name"),
    ):
        if found:
            yield Note(
                code, "note", f"{len(found):,} stacks were found under {how}: {listed(found, 2)}.",
                "None needed; --fix OUT.star writes the paths that were found.",
            )  # fmt: skip


def _headers(particles: Particles, faults: StackFaults) -> Item:
    images, rows = particles.images, particles.images.row
    findings = []
    if len(faults.resized):
        i = int(faults.resized[0])
        bad = np.zeros(len(particles), bool)
        bad[faults.resized] = True
        told = "another" if faults.table_boxes is None else f"{faults.table_boxes[i]} pixels"
        findings.append(Note(
            "box-size-table", "alarm",
            f"The images of {images.stacks[images.stack[i]].path} measure {images.box_sizes[i]} "
            f"pixels, the table says {told} ({rows_in_words(bad, rows)}). They were rescaled or "
            f"extracted again after the table was written.",
            "Take the file that was written with these stacks.",
        ))  # fmt: skip
    told = particles.optics.of_group("pixel_size").numpy()
    held = np.array([s.pixel_size for s in images.stacks])[images.stack]
    # programs that do not know the pixel size write 0 or 1
    known = np.isfinite(held) & (held > 0.0) & (np.abs(held - 1.0) > 1e-4)
    bad = known & (np.abs(held / told - 1.0) > PIXEL_SIZE)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        findings.append(Note(
            "pixel-size-header", "warning",
            f"The header of {images.stacks[images.stack[i]].path} says {held[i]:.4g} Å per pixel, "
            f"the table {told[i]:.4g} Å ({rows_in_words(bad, rows)}). The table's is used.",
            f"Find out which is right; --pixel-size {held[i]:.4g} where it is the header's.",
        ))  # fmt: skip
    sizes = sorted({g.box_size for g in particles.optics.groups})
    return Item("headers", f"{', '.join(map(str, sizes))} px, agree with the table"
                if not findings else f"{', '.join(map(str, sizes))} px", tuple(findings))  # fmt: skip


def duplicated(particles: Particles) -> NDArray[np.bool_]:
    """Rows (n,) whose image, or whose place on its micrograph, an earlier row has already."""
    key, _ = _keys(particles)
    return key.duplicated().to_numpy()


def _keys(particles: Particles) -> tuple[pd.DataFrame, str]:
    images = particles.images
    files = pd.factorize(np.array([str(s.path) for s in images.stacks], object))[0]
    key = pd.DataFrame({"file": files[images.stack], "section": images.section})
    table, places = particles.table, ["rlnCoordinateX", "rlnCoordinateY"]
    if (
        particles.micrographs is None or particles.tilt_particles is not None
        or any(c not in table or not pd.api.types.is_numeric_dtype(table[c]) for c in places)
        or key.duplicated().any()
    ):  # fmt: skip
        return key, "image"
    place = table[places].reset_index(drop=True).assign(micrograph=particles.micrographs)
    # all in one place: a table without real coordinates
    return (place, "place") if len(place.drop_duplicates()) > 0.5 * len(place) else (key, "image")


def _duplicates(particles: Particles) -> Item:
    key, kind = _keys(particles)
    again = key.duplicated().to_numpy()
    if not again.any():
        return Item("duplicates", "none")
    what = "repeat an image" if kind == "image" else "repeat a place on a micrograph"
    where = rows_in_words(again, particles.images.row)
    group = key.groupby(list(key.columns), sort=False).ngroup().to_numpy()
    remedy = f"cryosplat check {particles.source} --fix OUT.star keeps the first of each."
    if particles.has_half_sets:
        half = particles.half_sets.numpy()
        sides = np.zeros((int(group.max()) + 1, 2), bool)
        sides[group, half - 1] = True
        shared = sides.all(1)
        if shared.any():
            return Item("duplicates", f"{int(again.sum()):,}", (Note(
                "duplicates-across-half-sets", "alarm",
                f"{int(again.sum()):,} of {len(particles):,} rows {what} that an earlier row lists "
                    f"({where}); "
                f"{int(shared.sum()):,} of these are in both half-sets, which so share noise: every "
                f"FSC between them will be too high.",
                remedy,
            ),))  # fmt: skip
    expanded = kind == "image" and _many_poses(particles.poses.rotations, group)
    hint = " Their poses differ: was the set symmetry-expanded?" if expanded else ""
    return Item("duplicates", f"{int(again.sum()):,}", (Note(
        "duplicates", "warning",
        f"{int(again.sum()):,} of {len(particles):,} rows {what} that an earlier row lists "
                f"({where}).{hint}", remedy,
    ),))  # fmt: skip


def _many_poses(rotations: torch.Tensor, group: NDArray[np.int64]) -> bool:
    _, first = np.unique(group, return_index=True)
    difference = (rotations - rotations[torch.from_numpy(first[group])]).abs().amax((1, 2))
    return bool((difference > 0.1).any())
