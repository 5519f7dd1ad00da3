"""Time, peak memory and FSC with truth of cryosplat and its peers on the same particles.

``python -m benchmarks.run`` simulates the sets, runs every installed program on each, writes
``benchmarks/results/SET.json`` and rewrites the tables of ``benchmarks/README.md`` from them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

from . import machine, peers, scoring, sets, table

LOG = logging.getLogger("benchmark")
HERE = Path(__file__).resolve().parent
OF_THE_RUN = (
    "schema_version", "resolution", "resolution_from", "resolutions", "fitted_side", "gaussians",
    "choices", "residual", "solvent", "notes", "timings", "peak_memory_bytes", "settings",
)  # fmt: skip
"""What of ``run.json`` is kept: nothing of where the particles are."""


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write indented JSON with every list of numbers on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    numbers = re.compile(r"\[\s+(-?[\d.][^\]\[{}\"]*?)\s+\]")
    flat = numbers.sub(lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]", text)
    path.write_text(flat + "\n", encoding="utf-8")


def measure(
    peer: peers.Peer, executable: str | None, s: sets.ParticleSet, folder: Path
) -> dict[str, object]:
    """One program on one set: its cost and the FSC with truth of its maps."""
    if executable is None:
        return {"missing": f"{peer.executable} is not installed"}
    LOG.info("%s: %s ...", s.name, peer.name)
    result = {"version": peers.version(peer, executable), **peers.run(peer, executable, s, folder)}
    if "failed" in result:
        LOG.warning("%s: %s failed: %s", s.name, peer.name, result["failed"])
        return result
    out = folder / peer.name
    maps = {name: out / file for name, file in peer.maps.items()}
    result["fsc"] = {n: scoring.score(p, folder / "truth.mrc") for n, p in maps.items()}
    result["predicted_from_halves"] = scoring.predicted(*(out / h for h in peer.half_maps))
    stored = out / "run" / "run.json"
    if stored.exists():
        found = json.loads(stored.read_text())
        result["run"] = {key: found.get(key) for key in OF_THE_RUN}
    LOG.info("%s: %s took %s s, %s GB", s.name, peer.name, result["wall_s"], result["peak_gb"])
    return result


def options() -> argparse.Namespace:
    """The command line."""
    names = [s.name for s in sets.SETS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", nargs="+", choices=names, default=list(sets.DEFAULT_SETS))
    known = [p.name for p in peers.PEERS]
    parser.add_argument("--peers", nargs="+", choices=known, default=known)
    for peer in peers.PEERS:
        parser.add_argument(f"--{peer.name}-program", metavar="PATH", help=f"{peer.executable}")
    shared = os.environ.get("CRYOSPLAT_SHARED", str(HERE.parent.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=Path(shared), metavar="FOLDER",
                        help="holds tools/make_particles.py and data/models")  # fmt: skip
    data = Path(tempfile.gettempdir()) / "cryosplat-benchmark"
    parser.add_argument("--data", type=Path, default=data, metavar="FOLDER",
                        help="where particles and maps are kept (default: %(default)s)")  # fmt: skip
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--table-only", action="store_true",
                        help="measure nothing, rewrite the tables from the results")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Simulate, run, score, write."""
    given = options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given.results.mkdir(parents=True, exist_ok=True)
    if not given.table_only:
        measure_all(given)
    table.rewrite(HERE / "README.md", given.results)


def measure_all(given: argparse.Namespace) -> None:
    """Every chosen program on every chosen set, one after the other."""
    chosen = [p for p in peers.PEERS if p.name in given.peers]
    programs = {p.name: peers.find(p, getattr(given, f"{p.name}_program")) for p in peers.PEERS}
    own = [programs["cryosplat"]] if programs["cryosplat"] else None
    warm = False
    for s in (s for s in sets.SETS if s.name in given.sets):
        folder = given.data.resolve() / s.name
        described = machine.describe()
        LOG.info("%s: simulating %d particles of %d px ...", s.name, s.n, s.box_size)
        simulator = sets.simulate(s, folder, given.shared.resolve(), own)
        results: dict[str, object] = {}
        for peer in chosen:
            first = None
            if peer.name == "cryosplat" and own and not warm:
                # the first run on a machine compiles the kernels; it is told, not counted
                first = peers.run(peer, own[0], s, folder).get("wall_s")
                warm = True
            result = measure(peer, programs[peer.name], s, folder)
            results[peer.name] = result if first is None else {**result, "first_run_wall_s": first}
        content = {"set": asdict(s), "simulator": simulator, "machine": described,
                   "programs": results}  # fmt: skip
        write_json(given.results / f"{s.name}.json", content)


if __name__ == "__main__":
    main()
