"""Stacks: are they there, do their headers agree with the table, is an image used twice?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..commands import pasted
from ..notes import Note
from ..particles import Particles, StackFaults
from ._half_sets import on_both_sides
from .values import Item, describe_rows, shortlist

PIXEL_SIZE = 0.02  # by which a header may differ from the table


def stack_items(particles: Particles, faults: StackFaults) -> list[Item]:
    """Items on paths, headers and duplicates."""
    return [
        _path_item(particles, faults),
        _header_item(particles, faults),
        _duplicate_item(particles),
    ]


def _path_item(particles: Particles, faults: StackFaults) -> Item:
    stacks = particles.images.stacks
    n_lost = len(faults.missing) + len(faults.unreadable) + len(faults.ambiguous)
    findings = [*_missing_notes(particles, faults), *_section_notes(particles, faults),
                *_location_notes(particles)]  # fmt: skip
    text = (
        f"{len(stacks):,}, all found"
        if not n_lost
        else f"{len(stacks) - n_lost:,} of {len(stacks):,}"
    )
    return Item("stacks", text, tuple(findings))


def _missing_notes(particles: Particles, faults: StackFaults) -> Iterator[Note]:
    total, n = len(particles.images.stacks), len(particles)
    drop = f"; or {pasted('cryosplat', 'check', particles.source)} --fix OUT.star --drop-missing"
    if faults.without_image.all():  # nothing would be left
        drop = ""
    if faults.missing:
        rows = sum(faults.missing.values())
        yield Note(
            "stacks-missing", "alarm",
            f"{len(faults.missing):,} of {total:,} stacks were not found ({rows:,} of {n:,} rows): "
            f"{shortlist(list(faults.missing))}.",
            f"--datadir FOLDER, where FOLDER/{next(iter(faults.missing)).lstrip('/')} exists"
            f"{drop}",
        )  # fmt: skip
    if faults.ambiguous:
        rows = sum(k for k, _ in faults.ambiguous.values())
        path = next(iter(faults.ambiguous.values()))[1]
        yield Note(
            "stacks-ambiguous", "alarm",
            f"{len(faults.ambiguous):,} different stacks resolve to the same file ({rows:,} of {n:,} "
            f"rows): {shortlist(list(faults.ambiguous))} to {path}.",
            f"--datadir FOLDER, where FOLDER is the folder that the names are relative to{drop}",
        )  # fmt: skip
    if faults.unreadable:
        rows = sum(k for k, _ in faults.unreadable.values())
        _, why = next(iter(faults.unreadable.values()))
        yield Note(
            "stacks-unreadable", "alarm",
            f"{len(faults.unreadable):,} of {total:,} stacks cannot be read ({rows:,} of {n:,} "
            f"rows): {shortlist(list(faults.unreadable))}. {why.partition(chr(10))[0]}",
            f"{why.partition('Remedy: ')[2].rstrip('.') or 'copy them again'}{drop}",
        )  # fmt: skip


def _section_notes(particles: Particles, faults: StackFaults) -> Iterator[Note]:
    if not faults.past_the_end:
        return
    rows = sum(k for k, _ in faults.past_the_end.values())
    name, (n_rows, n_images) = next(iter(faults.past_the_end.items()))
    yield Note(
        "sections-missing", "alarm",
        f"{rows:,} rows ask for images past the end of {len(faults.past_the_end):,} stacks: {name} "
        f"holds {n_images:,} images, {n_rows:,} rows ask for later ones. Extraction was probably "
        f"run again.",
        f"Use the file that was written with these stacks, or "
        f"{pasted('cryosplat', 'check', particles.source)} --fix OUT.star --drop-missing",
    )  # fmt: skip


def _location_notes(particles: Particles) -> Iterator[Note]:
    """On stacks with another suffix, or in another folder, than in the table."""
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
    for code, stacks, how in (
        ("stacks-respelled", respelled, "with another suffix"),
        ("stacks-relocated", relocated, "in another folder or under another name"),
    ):
        if stacks:
            yield Note(
                code, "note", f"{len(stacks):,} stacks were found {how}: {shortlist(stacks, 2)}.",
                "Optional: --fix OUT.star writes the actual paths.",
            )  # fmt: skip


def _header_item(particles: Particles, faults: StackFaults) -> Item:
    images, rows = particles.images, particles.images.row
    findings = []
    if len(faults.resized):
        i = int(faults.resized[0])
        bad = np.zeros(len(particles), bool)
        bad[faults.resized] = True
        expected = "another" if faults.table_boxes is None else f"{faults.table_boxes[i]} pixels"
        findings.append(Note(
            "box-size-table", "alarm",
            f"The images of {images.stacks[images.stack[i]].path} measure {images.box_sizes[i]} "
            f"pixels, but {expected} in the table ({describe_rows(bad, rows)}). They were rescaled or "
            f"extracted again after the table was written.",
            "Use the file that was written with these stacks.",
        ))  # fmt: skip
    table = particles.optics.of_group("pixel_size").numpy()
    header = np.array([s.pixel_size for s in images.stacks])[images.stack]
    # programs that do not know the pixel size write 0 or 1
    known = np.isfinite(header) & (header > 0.0) & (np.abs(header - 1.0) > 1e-4)
    bad = known & (np.abs(header / table - 1.0) > PIXEL_SIZE)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        findings.append(Note(
            "pixel-size-header", "warning",
            f"The pixel size is {header[i]:.4g} Å in the header of "
            f"{images.stacks[images.stack[i]].path}, {table[i]:.4g} Å in the table "
            f"({describe_rows(bad, rows)}). The table's is used.",
            f"Find out which is right; use --pixel-size {header[i]:.4g} if it is the header's.",
        ))  # fmt: skip
    sizes = sorted({g.box_size for g in particles.optics.groups})
    if not any(stack.n_images for stack in images.stacks):
        return Item("headers", "not read: no stack can be read", tuple(findings))
    return Item("headers", f"{', '.join(map(str, sizes))} px, agree with the table"
                if not findings else f"{', '.join(map(str, sizes))} px", tuple(findings))  # fmt: skip


def duplicate_rows(particles: Particles) -> NDArray[np.bool_]:
    """Rows (n,) that repeat the image, or the place on its micrograph, of an earlier row."""
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


def _duplicate_item(particles: Particles) -> Item:
    key, kind = _keys(particles)
    again = key.duplicated().to_numpy()
    if not again.any():
        return Item("duplicates", "none")
    what = "the image" if kind == "image" else "the place on the micrograph"
    text = (
        f"{int(again.sum()):,} of {len(particles):,} rows repeat {what} of an earlier row "
        f"({describe_rows(again, particles.images.row)})"
    )
    group = key.groupby(list(key.columns), sort=False).ngroup().to_numpy()
    remedy = f"cryosplat check {particles.source} --fix OUT.star keeps the first of each."
    shared = on_both_sides(group, particles.half_sets.numpy()) if particles.has_half_sets else 0
    if shared:
        note = Note(
            "duplicates-across-half-sets", "alarm",
            f"{text}; {shared:,} of these are in both half-sets, which therefore share noise: their "
            f"FSC will be too high.",
            remedy,
        )  # fmt: skip
    else:
        expanded = kind == "image" and _many_poses(particles.poses.rotations, group)
        hint = " Their poses differ: was the set symmetry-expanded?" if expanded else ""
        note = Note("duplicates", "warning", f"{text}.{hint}", remedy)
    return Item("duplicates", f"{int(again.sum()):,}", (note,))


def _many_poses(rotations: torch.Tensor, group: NDArray[np.int64]) -> bool:
    _, first = np.unique(group, return_index=True)
    difference = (rotations - rotations[torch.from_numpy(first[group])]).abs().amax((1, 2))
    return bool((difference > 0.1).any())
