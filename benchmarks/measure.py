"""Run one command and report what it took, as one line of JSON on standard output.

``python measure.py LOG COMMAND...``. A process of its own, and one that imports little: on Linux a
child starts with its parent's peak memory as its own, so the parent must be small. Peak memory is
that of the largest single process of the command (``wait4``), not the sum over its processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main(log: str, command: list[str]) -> None:
    """Run ``command`` with its output in the file ``log``."""
    load = os.getloadavg()[0]
    with open(log, "wb") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    report = {
        "wall_s": round(wall, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_gb": round(usage.ru_maxrss * unit / 1e9, 3),
        "load_before": round(load, 2),
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
