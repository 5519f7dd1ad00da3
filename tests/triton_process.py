"""Triton's interpreter has to be asked for before Triton is loaded, hence a process of its own.

In a file of laws of Triton kernels one test runs the others there; in the process of that test they
need a GPU, for which they are compiled.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="the package triton is not installed"
)
needs_gpu = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="no CUDA device to compile for"
)


def passes(file: str) -> None:
    """Assert that the tests of a ``file`` pass where Triton interprets its kernels."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, file], env=environment, cwd=Path(file).parents[2], check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-6000:] + done.stderr


def compiles(kernel: Any, constants: dict[str, Any], types: dict[str, str]) -> None:
    """Assert that a kernel compiles for an H200; arguments without a type are pointers to float32."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    given = {a: constants[a] for a in kernel.arg_names if a in constants}
    signature = {a: "constexpr" if a in given else types.get(a, "*fp32") for a in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=given)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"], kernel
