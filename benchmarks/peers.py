"""The programs that are compared: where they are, what they are asked, and the maps they write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .sets import ParticleSet

MEASURE = Path(__file__).with_name("measure.py")


@dataclass(frozen=True, slots=True)
class Stage:
    """One process: ``arguments`` after the program's name, and what of the work it does."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """A program under test.

    ``stages(set, folder, out)`` are its processes, run in the set's folder in this order; ``maps``
    names each map it leaves in ``out``, ``half_maps`` the two half-maps among its files.
    """

    name: str
    executable: str
    version_flag: str
    stages: Callable[[ParticleSet, Path, Path], list[Stage]]
    maps: dict[str, str]
    half_maps: tuple[str, str]
    note: str = ""


def _relion(s: ParticleSet, folder: Path, out: Path) -> list[Stage]:
    common = ("--i", "particles.star", "--ctf", "--angpix", str(s.pixel_size))
    halves = [
        Stage(f"half{h}", (*common, "--subset", str(h), "--o", str(out / f"half{h}.mrc")))
        for h in (1, 2)
    ]
    return [Stage("full", (*common, "--o", str(out / "full.mrc"))), *halves]


def _cryodrgn(s: ParticleSet, folder: Path, out: Path) -> list[Stage]:
    stack = "particles.mrcs" if s.parts == 1 else "particles.txt"
    lazy = () if s.parts == 1 else ("--lazy",)
    files = ("--poses", "poses.pkl", "--ctf", "ctf.pkl", "-o", str(out))
    return [Stage("full and halves", ("backproject_voxel", stack, *files, *lazy))]


def _cryosplat(s: ParticleSet, folder: Path, out: Path) -> list[Stage]:
    return [
        Stage("full, halves, baseline", ("reconstruct", "particles.star", "-o", str(out / "run")))
    ]


PEERS = (
    Peer("relion", "relion_reconstruct", "--version", _relion, {"map": "full.mrc"},
         ("half1.mrc", "half2.mrc"), "one process per map"),
    Peer("cryodrgn", "cryodrgn", "--version", _cryodrgn, {"map": "backproject.mrc"},
         ("half_map_a.mrc", "half_map_b.mrc"), "halves are even and odd images; CPU"),
    Peer("cryosplat", "cryosplat", "--version", _cryosplat,
         {"map": "run/map.mrc", "voxel baseline": "run/voxel_map.mrc"},
         ("run/half1.mrc", "run/half2.mrc"), "no options"),
)  # fmt: skip


def find(peer: Peer, given: str | None) -> str | None:
    """The peer's executable: as given, beside this Python, or on the path; None if missing."""
    beside = Path(sys.executable).with_name(peer.executable)
    candidates = [given] if given else [str(beside), peer.executable]
    return next((found for c in candidates if (found := shutil.which(c))), None)


def version(peer: Peer, executable: str) -> str:
    """The line of the peer's version output that holds a digit."""
    done = subprocess.run(
        [executable, peer.version_flag], check=False, capture_output=True, text=True
    )
    lines = (done.stdout + "\n" + done.stderr).splitlines()
    named = [
        line.strip() for line in lines if "version" in line.lower() or peer.name in line.lower()
    ]
    return next((line for line in named if any(c.isdigit() for c in line)), "unknown")


def run(peer: Peer, executable: str, s: ParticleSet, folder: Path) -> dict[str, object]:
    """Run every stage of a peer on the set in ``folder``; what it took, in total and per stage.

    ``out_folder`` is where its maps are. A failing stage ends the run and is told in ``failed``.
    """
    out = folder / peer.name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    stages = []
    for stage in peer.stages(s, folder, out):
        log = out / f"{stage.name.replace(' ', '_').replace(',', '')}.log"
        command = [sys.executable, str(MEASURE), str(log), executable, *stage.arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        told = [a.replace(f"{folder}/", "") for a in stage.arguments]
        taken = {"stage": stage.name, "command": " ".join([peer.executable, *told])}
        stages.append(taken | json.loads(done.stdout))
        if stages[-1]["exit_code"] != 0:
            tail = log.read_text(errors="replace").strip().splitlines()[-8:]
            return {"failed": f"{stage.name}: exit {stages[-1]['exit_code']}", "log_tail": tail}
    return {
        "wall_s": round(sum(t["wall_s"] for t in stages), 2),
        "cpu_s": round(sum(t["cpu_s"] for t in stages), 2),
        "peak_gb": max(t["peak_gb"] for t in stages),
        "stages": stages,
    }
