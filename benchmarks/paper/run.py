"""The studies of CryoSplat's paper (arXiv 2508.04929), on simulated particles, as one command.

``python -m benchmarks.paper.run`` simulates the particles, runs every study, writes
``benchmarks/results/paper/STUDY.json`` as each ends, draws ``benchmarks/paper/figures`` and
rewrites the tables of ``benchmarks/paper/README.md`` and ``docs/solvers.md``.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
HERE = Path(__file__).resolve().parent
BENCHMARKS = HERE.parent


from cryosplat.cli._threads import use_threads  # noqa: E402

from .. import machine  # noqa: E402
from ..run import write_json  # noqa: E402
from . import figures, page  # noqa: E402
from .problem import Molecule  # noqa: E402
from .solvers import solvers  # noqa: E402
from .speed import speed  # noqa: E402
from .studies import QUICK, STUDIES, Bench, Size  # noqa: E402

LOG = logging.getLogger("studies")
RESULTS = BENCHMARKS / "results" / "paper"
ALL: dict[str, Callable[[Bench], Iterator[dict[str, Any]]]] = {
    "solvers": solvers, **STUDIES, "speed": speed,
}  # fmt: skip


def run(name: str, bench: Bench, results: Path) -> None:
    """One study, written as it goes."""
    content: dict[str, Any] = {
        "study": name, "machine": machine.describe(), "problems": [], "rows": [],
    }  # fmt: skip
    begun = time.perf_counter()
    for row in ALL[name](bench):
        if "problem" in row:
            content["problems"].append(row["problem"])
            continue
        plain = {key: value for key, value in row.items() if key != "mixture"}
        content["rows"].append({**plain, "load": round(os.getloadavg()[0], 2)})
        content["wall_s"] = round(time.perf_counter() - begun, 1)
        write_json(results / f"{name}.json", content)
        LOG.info("%s: %s %s", name, row["name"], told(row))


def told(row: dict[str, Any]) -> str:
    """A row in a few words, for the log."""
    if "fsc" not in row:
        return str(row.get("images_per_s", row.get("missing", "")))
    last = len(row["fsc"]) - 2
    shells = [round(last * f) for f in (0.25, 0.5, 0.75, 1.0)]
    return f"{row['seconds']} s, FSC " + " ".join(f"{row['fsc'][s]:.3f}" for s in shells)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="The studies of CryoSplat's paper.")
    parser.add_argument("--study", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--quick", action="store_true",
                        help="tiny sizes, to see that all runs; results go to --data")  # fmt: skip
    parser.add_argument("--model", type=Path, help="PDB or mmCIF; default: the demo's protein")
    parser.add_argument("--page-only", action="store_true",
                        help="measure nothing: figures and pages from the results")  # fmt: skip
    parser.add_argument("--threads", type=int, help="default: all cores")
    shared = os.environ.get("CRYOSPLAT_SHARED", str(BENCHMARKS.parent.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=Path(shared), metavar="FOLDER",
                        help="holds tools/make_particles.py and data/models")  # fmt: skip
    data = Path(tempfile.gettempdir()) / "cryosplat-benchmark"
    parser.add_argument("--data", type=Path, default=data, metavar="FOLDER",
                        help="where particles are kept (default: %(default)s)")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Run the studies, then draw and write."""
    given = options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given.data.mkdir(parents=True, exist_ok=True)
    results = given.data / "quick" if given.quick else RESULTS
    results.mkdir(parents=True, exist_ok=True)
    if not given.page_only:
        use_threads(given.threads)
        size = QUICK if given.quick else Size()
        bench = Bench(size, Molecule(given.model), given.data.resolve(), given.shared.resolve())
        for name in given.study:
            LOG.info("%s ...", name)
            run(name, bench, results)
    drawings = results / "figures" if given.quick else HERE / "figures"
    figures.draw(results, drawings)
    if not given.quick:
        page.rewrite(HERE / "README.md", BENCHMARKS.parent / "docs" / "solvers.md", results)


if __name__ == "__main__":
    main()
