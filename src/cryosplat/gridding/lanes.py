"""Several single precision numbers at a time: taps of a point, and rows of the cells about it.

Numba leaves short loops over neighbouring numbers as they are (LLVM's SLP vectoriser is off), so these
are written in vectors. ``starts`` (c,) int64: where rows of four cells begin in a flat array ``cells``
of float32; ``heights`` (c,) float32: what rows count. Numba's cache knows a kernel by its own file:
after a change here, remove the ``__pycache__`` beside it.
"""

# LLVM's own types
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._kernel import POLYNOMIALS, TAPS

LANES = 8  # numbers in a vector
_INT = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_TAPS = ir.VectorType(ir.FloatType(), TAPS)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)


@intrinsic
def gather(context, cells, starts, heights, weights, out, lanes):
    """``out[lane] = sum_cj heights[c] weights[j] cells[starts[c] + j lanes + lane]``.

    ``weights`` (4,) of the cells j of a row; ``lanes``: numbers of a cell, a multiple of `LANES`.
    """

    def made(context, builder, signature, given):
        *arrays, lanes = arguments_of(context, builder, signature, given)
        cells, starts, heights, weights, out = arrays
        weights = [weights.spread(j) for j in range(TAPS)]
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(TAPS)]
        with _blocks(builder, lanes) as block:
            for own in sums:
                builder.store(_ZERO, own)
            with cgutils.for_range(builder, starts.size) as row:
                at, height = builder.add(starts.load(row.index), block), heights.spread(row.index)
                for own in sums:
                    builder.store(fused(builder, height, cells.vector(at), builder.load(own)), own)
                    at = builder.add(at, lanes)
            total = _ZERO
            for own, weight in zip(sums, weights, strict=True):
                total = fused(builder, weight, builder.load(own), total)
            out.store(total, block)
        return context.get_dummy_value()

    return types.none(cells, starts, heights, weights, out, lanes), made


@intrinsic
def scatter(context, cells, starts, heights, weights, values, lanes):
    """``cells[starts[c] + j lanes + lane] += heights[c] weights[j] values[lane]``; as `gather`."""

    def made(context, builder, signature, given):
        *arrays, lanes = arguments_of(context, builder, signature, given)
        cells, starts, heights, weights, values = arrays
        weights = [weights.spread(j) for j in range(TAPS)]
        with _blocks(builder, lanes) as block:
            own = [builder.fmul(weight, values.vector(block)) for weight in weights]
            with cgutils.for_range(builder, starts.size) as row:
                at, height = builder.add(starts.load(row.index), block), heights.spread(row.index)
                for part in own:
                    cells.store(fused(builder, height, part, cells.vector(at)), at)
                    at = builder.add(at, lanes)
        return context.get_dummy_value()

    return types.none(cells, starts, heights, weights, values, lanes), made


def _row_sums(n: int) -> Any:
    @intrinsic
    def row_sums(context, cells, starts, heights, out):
        def made(context, builder, signature, given):
            cells, starts, heights, out = arguments_of(context, builder, signature, given)
            sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(n)]
            for own in sums:
                builder.store(_ZERO, own)
            with cgutils.for_range(builder, starts.size) as row:
                values, at = cells.vector(starts.load(row.index)), row.index
                for own in sums:
                    height = heights.spread(at)
                    builder.store(fused(builder, height, values, builder.load(own)), own)
                    at = builder.add(at, starts.size)
            for i, own in enumerate(sums):
                out.store(builder.load(own), ir.Constant(_INT, i * LANES))
            return context.get_dummy_value()

        return types.none(cells, starts, heights, out), made

    return row_sums


row_sum, three_row_sums = _row_sums(1), _row_sums(3)
"""``out[8 h + lane] = sum_c heights[h, c] cells[starts[c] + lane]``, for one and three h.

``heights`` and ``out`` flat arrays. Eight numbers are the real and imaginary parts of a row's cells.
"""


def _taps(slopes: bool) -> Any:
    table = [ir.Constant(_TAPS, [float(np.float32(v)) for v in row]) for row in POLYNOMIALS]

    def made(context, builder, signature, given):
        t, *out = arguments_of(context, builder, signature, given)
        t = in_all_lanes(builder, t, _TAPS)
        value, slope = table[0], ir.Constant(_TAPS, [0.0] * TAPS)
        for row in table[1:]:
            if slopes:
                slope = fused(builder, slope, t, value)
            value = fused(builder, value, t, row)
        first = ir.Constant(_INT, 0)
        out[0].store(value, first)
        if slopes:  # a step of the position is two of t
            out[1].store(builder.fadd(slope, slope), first)
        return context.get_dummy_value()

    if slopes:

        @intrinsic
        def tap_slopes(context, t, weights, by_position):
            return types.none(t, weights, by_position), made

        return tap_slopes

    @intrinsic
    def tap_weights(context, t, weights):
        return types.none(t, weights), made

    return tap_weights


tap_weights, tap_slopes = _taps(False), _taps(True)
"""The kernel at a point's taps into an array (4,), by ``t``: twice its place in its cell less one; with
``tap_slopes`` also its derivatives by the position, into another."""


class Array:
    """An array among the arguments."""

    def __init__(self, builder: Any, held: Any) -> None:
        self.builder, self.data = builder, held.data
        self.size = builder.extract_value(held.shape, 0)

    def load(self, at: Any) -> Any:
        """A number."""
        return self.builder.load(self.builder.gep(self.data, [at]))

    def spread(self, at: Any) -> Any:
        """A number in all lanes."""
        number = self.load(ir.Constant(_INT, at) if isinstance(at, int) else at)
        return in_all_lanes(self.builder, number, _VECTOR)

    def _place(self, at: Any, kind: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [at]), kind.as_pointer())

    def vector(self, at: Any, kind: Any = _VECTOR) -> Any:
        """The numbers from ``at`` on."""
        return self.builder.load(self._place(at, kind), align=4)

    def store(self, vector: Any, at: Any) -> None:
        """Put a vector there."""
        self.builder.store(vector, self._place(at, vector.type), align=4)


def arguments_of(context: Any, builder: Any, signature: Any, given: Any) -> list[Any]:
    """The arguments: arrays, integers and single precision numbers."""
    found = []
    for kind, value in zip(signature.args, given, strict=True):
        if isinstance(kind, types.Array):
            found.append(Array(builder, context.make_array(kind)(context, builder, value)))
        else:
            wanted = types.int64 if isinstance(kind, types.Integer) else types.float32
            found.append(context.cast(builder, value, kind, wanted))
    return found


def in_all_lanes(builder: Any, number: Any, kind: Any) -> Any:
    """A number in all lanes of a vector."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_INT, 0))
    firsts = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, one, firsts)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c``, in one step where the processor has one."""
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


@contextmanager
def _blocks(builder: Any, lanes: Any) -> Iterator[Any]:
    """A loop over the first lanes of all vectors of a cell."""
    width = ir.Constant(_INT, LANES)
    with cgutils.for_range(builder, builder.udiv(lanes, width)) as loop:
        yield builder.mul(loop.index, width)
