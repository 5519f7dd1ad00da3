"""Fourier conventions live in `fourier` alone: nobody else makes a grid, a crop or an edge."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cryosplat

SOURCE = Path(cryosplat.__file__).parent
KERNELS = {"njit", "jit"}  # numba and Triton count their own indices


def _is_kernel(node: ast.AST) -> bool:
    decorators = getattr(node, "decorator_list", [])
    names = [d.func if isinstance(d, ast.Call) else d for d in decorators]
    return any(ast.unparse(name).split(".")[-1] in KERNELS for name in names)


def _conventions(node: ast.AST) -> Iterator[str]:
    """Code that writes out a Fourier convention, kernels aside."""
    if _is_kernel(node):
        return
    match node:
        case ast.Attribute(attr="fftfreq" | "rfftfreq") | ast.Name(id="fftfreq" | "rfftfreq"):
            yield ast.unparse(node)
        case ast.Slice(
            upper=ast.BinOp(
                ast.BinOp(_, ast.FloorDiv(), ast.Constant(2)), ast.Add(), ast.Constant(1)
            )
        ):
            yield f"a crop [{ast.unparse(node)}]"
        case ast.BinOp(
            ast.Constant(0.5),
            ast.Add() | ast.Sub(),
            ast.BinOp(ast.Constant(0.5), ast.Mult(), ast.Call(func)),
        ) if ast.unparse(func).endswith("cos"):
            yield f"an edge {ast.unparse(node)}"
    for child in ast.iter_child_nodes(node):
        yield from _conventions(child)


def _written_out(source: str) -> list[str]:
    return list(_conventions(ast.parse(source)))


def test_no_other_module_writes_out_a_fourier_convention() -> None:
    places = {
        str(path.relative_to(SOURCE)): written
        for path in SOURCE.rglob("*.py")
        if path.name != "fourier.py" and (written := _written_out(path.read_text("utf-8")))
    }
    assert places == {}


def test_what_is_looked_for_is_found() -> None:
    assert _written_out("k = torch.fft.rfftfreq(d)") == ["torch.fft.rfftfreq"]
    assert _written_out("x = t[rows][:, : d // 2 + 1]") == ["a crop [:d // 2 + 1]"]
    assert _written_out("w = 0.5 - 0.5 * np.cos(x)") == ["an edge 0.5 - 0.5 * np.cos(x)"]
    assert _written_out("@njit(cache=True)\ndef f(d):\n    return t[: d // 2 + 1]") == []
    assert _written_out("n = d // 2 + 1\ny = t[: n // 4 + 1]") == []
