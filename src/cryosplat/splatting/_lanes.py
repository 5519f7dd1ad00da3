"""A Gaussian on tiles of pixels, 16 lanes at a time, as LLVM instructions for numba kernels.

Written out because LLVM does not find them in loops over arrays that might overlap. Numba's cache
knows a kernel by its own file: after a change here, remove the ``__pycache__`` beside it.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
FREE = {"contract", "reassoc", "nsz", "arcp"}  # of fast mathematics, what keeps NaN
FLAGS = tuple(sorted(FREE))

_SINGLE = ir.FloatType()
_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_SINGLE, LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)
_POWERS = [math.log(2.0) ** i / math.factorial(i) for i in range(7)]  # Taylor's series of 2^x


def _single(x):
    return ir.Constant(_VECTOR, [float(np.float32(x))] * LANES)


def _broadcast(builder, value):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTEGERS, [0] * LANES))


def _multiply_add(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=FLAGS), c, flags=FLAGS)


def _exp2(builder, x):
    """2^x for x from -126 (where it is held) to 126, to 2e-7: by series about the next integer."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    rint = cgutils.get_or_insert_function(builder.module, kind, f"llvm.rint.v{LANES}f32")
    low = _single(-126.0)
    x = builder.select(builder.fcmp_ordered(">", x, low), x, low)
    whole = builder.call(rint, [x])
    rest = builder.fsub(x, whole)
    value = _single(_POWERS[-1])
    for coefficient in _POWERS[-2::-1]:
        value = _multiply_add(builder, value, rest, _single(coefficient))
    power = builder.shl(builder.fptosi(whole, _INTEGERS), ir.Constant(_INTEGERS, [23] * LANES))
    return builder.bitcast(builder.add(builder.bitcast(value, _INTEGERS), power), _VECTOR)


class _Tile:
    """The Gaussian on one tile of 16 columns, row after row, as LLVM instructions.

    ``form``: x, y (offset of the tile's first pixel from the centre), a, b, c (the exponent of 2 is
    ``a dx^2 + b dx dy + c dy^2``), low, high (the lanes with ``low <= dx <= high`` count).
    """

    def __init__(self, builder, form, recur):
        x, y, a, b, c, low, high = (_broadcast(builder, f) for f in form)
        self.recur = recur
        self.a, self.b, self.c = a, b, c
        lanes = ir.Constant(_VECTOR, [float(j) for j in range(LANES)])
        self.dx = dx = builder.fadd(x, lanes)
        self.inside = builder.and_(
            builder.fcmp_ordered(">=", dx, low), builder.fcmp_ordered("<=", dx, high)
        )
        self.dy = cgutils.alloca_once_value(builder, y)
        if recur:
            nothing, one = _single(0.0), _single(1.0)
            first = _exp2(builder, self._exponent(builder, y))
            step = _multiply_add(builder, _single(2.0), y, one)
            step = builder.fmul(c, step, flags=FLAGS)
            step = _exp2(builder, _multiply_add(builder, b, dx, step))
            self.value = cgutils.alloca_once_value(
                builder, builder.select(self.inside, first, nothing)
            )
            self.step = cgutils.alloca_once_value(builder, builder.select(self.inside, step, one))
            self.change = _exp2(builder, builder.fadd(c, c))

    def _exponent(self, builder, y):
        slope = _multiply_add(builder, self.b, y, builder.fmul(self.a, self.dx, flags=FLAGS))
        square = builder.fmul(builder.fmul(self.c, y, flags=FLAGS), y, flags=FLAGS)
        return _multiply_add(builder, slope, self.dx, square)

    def row(self, builder):
        """The values of the present row; then the next row is the present one."""
        y = builder.load(self.dy)
        if self.recur:
            value, step = builder.load(self.value), builder.load(self.step)
            builder.store(builder.fmul(value, step, flags=FLAGS), self.value)
            builder.store(builder.fmul(step, self.change, flags=FLAGS), self.step)
        else:
            value = _exp2(builder, self._exponent(builder, y))
            value = builder.select(self.inside, value, _single(0.0))
        builder.store(builder.fadd(y, _single(1.0), flags=FLAGS), self.dy)
        return value, y


def _load(builder, pointer):
    value = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
    value.align = 4
    return value


def _store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer())).align = 4


def adding(recur):
    """Intrinsic ``add``: a tile's Gaussian times ``weight`` onto ``rows`` rows of a flat image.

    The first pixel is ``start``, the next row's ``stride`` further; ``form`` as of `_Tile`.
    """

    @intrinsic
    def add(typingctx, image, start, stride, rows, form, weight):
        signature = types.void(image, types.int64, types.int64, types.int64, form, types.float32)

        def generate(context, builder, sig, arguments):
            array, start, stride, rows, form, weight = arguments
            pixels = context.make_array(sig.args[0])(context, builder, array).data
            tile = _Tile(builder, cgutils.unpack_tuple(builder, form), recur)
            weight = _broadcast(builder, weight)
            place = cgutils.alloca_once_value(builder, start)
            with cgutils.for_range(builder, rows):
                at = builder.load(place)
                builder.store(builder.add(at, stride), place)
                pointer = builder.gep(pixels, [at])
                value, _ = tile.row(builder)
                old = _load(builder, pointer)
                _store(builder, _multiply_add(builder, value, weight, old), pointer)
            return context.get_dummy_value()

        return signature, generate

    return add


def gathering(recur):
    """Intrinsic ``gather``: a tile's moments of Gaussian times image, added to ``moments`` (96,).

    Per lane: 1, dx, dy, dx dx, dx dy, dy dy. The other arguments are those of `adding`.
    """

    @intrinsic
    def gather(typingctx, image, start, stride, rows, form, moments):
        signature = types.void(image, types.int64, types.int64, types.int64, form, moments)

        def generate(context, builder, sig, arguments):
            array, start, stride, rows, form, moments = arguments
            pixels = context.make_array(sig.args[0])(context, builder, array).data
            sums = context.make_array(sig.args[5])(context, builder, moments).data
            tile = _Tile(builder, cgutils.unpack_tuple(builder, form), recur)
            place = cgutils.alloca_once_value(builder, start)
            by_y = [cgutils.alloca_once_value(builder, _single(0.0)) for _ in range(3)]
            with cgutils.for_range(builder, rows):
                at = builder.load(place)
                builder.store(builder.add(at, stride), place)
                value, y = tile.row(builder)
                term = builder.fmul(value, _load(builder, builder.gep(pixels, [at])), flags=FLAGS)
                for power, total in enumerate(by_y):
                    builder.store(builder.fadd(builder.load(total), term, flags=FLAGS), total)
                    if power < 2:
                        term = builder.fmul(term, y, flags=FLAGS)
            one, y, yy = (builder.load(total) for total in by_y)
            x = builder.fmul(one, tile.dx, flags=FLAGS)
            terms = [one, x, y, builder.fmul(x, tile.dx, flags=FLAGS),
                     builder.fmul(y, tile.dx, flags=FLAGS), yy]  # fmt: skip
            for i, term in enumerate(terms):
                pointer = builder.gep(sums, [ir.Constant(_WORD, i * LANES)])
                total = builder.fadd(_load(builder, pointer), term, flags=FLAGS)
                _store(builder, total, pointer)
            return context.get_dummy_value()

        return signature, generate

    return gather


@intrinsic
def sums(typingctx, moments):
    """The six sums over 16 lanes of ``moments`` (96,), which becomes zero."""
    signature = types.UniTuple(types.float32, 6)(moments)

    def generate(context, builder, sig, arguments):
        data = context.make_array(sig.args[0])(context, builder, arguments[0]).data
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        kind = ir.FunctionType(_SINGLE, [_SINGLE, _VECTOR])
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        results = []
        for i in range(6):
            pointer = builder.gep(data, [ir.Constant(_WORD, i * LANES)])
            zero = ir.Constant(_SINGLE, 0.0)
            results.append(builder.call(reduce, [zero, _load(builder, pointer)], fastmath=FLAGS))
            _store(builder, _single(0.0), pointer)
        return context.make_tuple(builder, sig.return_type, results)

    return signature, generate
