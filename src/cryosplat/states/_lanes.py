"""Eight single precision numbers at a time, over the cells about a point.

Numba leaves short loops over neighbouring numbers as they are (LLVM's SLP vectoriser is off), so these
two are written in vectors.
"""

# LLVM's own types
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..gridding import TAPS

LANES = 8  # numbers in a vector; those of a cell are a multiple
_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class _Arguments:
    """The arguments of `gather` or `scatter`, and the walk over blocks of lanes and rows of cells."""

    def __init__(self, context: Any, builder: Any, signature: Any, given: Any) -> None:
        self.builder = builder
        *arrays, lanes = zip(signature.args, given, strict=True)
        held = [context.make_array(kind)(context, builder, value) for kind, value in arrays]
        self.data = [array.data for array in held]
        self.n_rows = builder.extract_value(held[1].shape, 0)
        self.lanes = context.cast(builder, lanes[1], lanes[0], types.int64)
        self.weights = [self._spread(3, ir.Constant(_INT, j)) for j in range(TAPS)]

    def vector(self, which: int, at: Any) -> Any:
        """Where the numbers of argument ``which`` lie from ``at`` on."""
        place = self.builder.gep(self.data[which], [at])
        return self.builder.bitcast(place, _VECTOR.as_pointer())

    def blocks(self) -> Any:
        """A loop over the first lanes of all vectors."""
        return _stepped(self.builder, self.lanes)

    @contextmanager
    def rows(self, block: Any) -> Iterator[tuple[Any, list[Any]]]:
        """A loop over rows of cells: their height, and where a block of lanes of each cell lies."""
        builder = self.builder
        with cgutils.for_range(builder, self.n_rows) as loop:
            at = builder.add(builder.load(builder.gep(self.data[1], [loop.index])), block)
            places = []
            for _ in range(TAPS):
                places.append(self.vector(0, at))
                at = builder.add(at, self.lanes)
            yield self._spread(2, loop.index), places

    def _spread(self, which: int, at: Any) -> Any:
        """A number of argument ``which`` in all lanes."""
        number = self.builder.load(self.builder.gep(self.data[which], [at]))
        empty, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_INT, 0)
        one = self.builder.insert_element(empty, number, first)
        firsts = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(one, one, firsts)


@intrinsic
def gather(context, cells, starts, heights, weights, out, lanes):
    """``out[lane] = sum_cj heights[c] weights[j] cells[starts[c] + j lanes + lane]``.

    ``cells`` and ``out`` flat arrays of float32; ``starts`` of int64 and as many ``heights`` (c,) of
    rows of cells; ``weights`` (4,) of the cells j of a row; ``lanes``: numbers of a cell.
    """

    def made(context, builder, signature, given):
        read = _Arguments(context, builder, signature, given)
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(TAPS)]
        with read.blocks() as block:
            for own in sums:
                builder.store(zero, own)
            with read.rows(block) as (height, places):
                for own, place in zip(sums, places, strict=True):
                    value = builder.load(place, align=4)
                    builder.store(_fma(builder, height, value, builder.load(own)), own)
            total = zero
            for own, weight in zip(sums, read.weights, strict=True):
                total = _fma(builder, weight, builder.load(own), total)
            builder.store(total, read.vector(4, block), align=4)
        return context.get_dummy_value()

    return types.none(cells, starts, heights, weights, out, lanes), made


@intrinsic
def scatter(context, cells, starts, heights, weights, values, lanes):
    """``cells[starts[c] + j lanes + lane] += heights[c] weights[j] values[lane]``; as `gather`."""

    def made(context, builder, signature, given):
        read = _Arguments(context, builder, signature, given)
        with read.blocks() as block:
            value = builder.load(read.vector(4, block), align=4)
            own = [builder.fmul(weight, value) for weight in read.weights]
            with read.rows(block) as (height, places):
                for part, place in zip(own, places, strict=True):
                    before = builder.load(place, align=4)
                    builder.store(_fma(builder, height, part, before), place, align=4)
        return context.get_dummy_value()

    return types.none(cells, starts, heights, weights, values, lanes), made


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c``, in one step where the processor has one."""
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


@contextmanager
def _stepped(builder: Any, stop: Any) -> Iterator[Any]:
    """A loop over 0, `LANES`, ... below ``stop``."""
    n = builder.udiv(stop, ir.Constant(_INT, LANES))
    with cgutils.for_range(builder, n) as loop:
        yield builder.mul(loop.index, ir.Constant(_INT, LANES))
