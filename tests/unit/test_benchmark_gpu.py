"""The benchmark of CUDA devices runs: its measurements, of small sizes, on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_cases, gpu_runs

CPU = torch.device("cpu")
LIMITS = gpu_cases.Ceilings(1e11, 1e10)


def test_rows_of_the_statistics_solver() -> None:
    rows = [
        *gpu_cases.gridding(CPU, LIMITS, 16, 4), *gpu_cases.accumulation(CPU, LIMITS, 16, 4),
        *gpu_cases.descent(CPU, LIMITS, 16, 20),
    ]  # fmt: skip
    assert len(rows) == 4 and all(row["time_s"] > 0.0 < row["bound_reached"] for row in rows)
    assert max(gpu_cases.check(CPU, 16, 4).values()) == 0.0


def test_rows_of_splatting() -> None:
    rates = gpu.projection(20, 2, 16, CPU), gpu.training(20, 2, 16, CPU)
    assert all(rate["images_per_second"] > 0.0 for rate in rates)


@pytest.mark.slow
def test_whole_runs(tmp_path: Path) -> None:
    options = ("--quick", "--gaussians", "60", "--steps", "3")
    problem = gpu_runs.Problem("small", 60, 24, 6.0, options)
    (row,) = gpu_runs.runs((problem,), ("cpu",), tmp_path)
    assert row["cpu"]["device"] == "CPU" and row["cpu"]["fsc_with_truth"][0] > 0.3
