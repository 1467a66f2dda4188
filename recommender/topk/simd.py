"""One instruction stream for the filter: bytes times bytes into 32-bit sums, compared with a threshold in registers.

Written as LLVM code, because no loop of Python reaches the instruction that multiplies and adds 64 bytes at once (VNNI,
`vpdpbusd`). Where the processor has none, the same sums are made of shifts and products, bit for bit the same.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Items in a vector: one 32-bit sum each."""
DEPTH = 4
"""Dimensions in a lane: one byte each."""

HAS_VNNI = bool(llvmlite.binding.get_host_cpu_features().get("avx512vnni", False))

_INT16, _INT32, _INT64, _FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_INTS, _BYTES, _FLOATS = ir.VectorType(_INT32, LANES), ir.VectorType(ir.IntType(8), 64), ir.VectorType(_FLOAT, LANES)


def make_scan(users: int, unrolled: int, *, use_vnni: bool = HAS_VNNI) -> Any:
    """Return a function for compiled code that scores items for ``users`` users and marks those at a threshold.

    Its arguments are addresses, then sizes:

        items      bytes + 128, [vectors, D/4, 16, 4]
        thetas     bytes, [D/4, users, 4]
        starts     -128 sum_d theta_d, int32 [users]
        weights    float32 [users]
        scales     float32 [vectors * 16]
        column     float32 [vectors * 16]
        thresholds float32 [users]
        scores     written: (sum_d theta_d x_d) weight scale + column, float32 [users, vectors * 16]
        marks      written: whether each score is at least the threshold, bits [users, vectors * 16]
        vectors    a multiple of ``unrolled``
        words      D/4
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def scan(
        typing: Any,  # noqa: ARG001
        items: Any,  # noqa: ARG001
        thetas: Any,  # noqa: ARG001
        starts: Any,  # noqa: ARG001
        weights: Any,  # noqa: ARG001
        scales: Any,  # noqa: ARG001
        column: Any,  # noqa: ARG001
        thresholds: Any,  # noqa: ARG001
        scores: Any,  # noqa: ARG001
        marks: Any,  # noqa: ARG001
        vectors: Any,  # noqa: ARG001
        words: Any,  # noqa: ARG001
    ) -> tuple[Any, Any]:
        signature = types.void(*([types.uintp] * 9), types.intp, types.intp)

        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            _Scan(builder, users, unrolled, use_vnni, arguments).generate()
            return context.get_dummy_value()

        return signature, generate

    return scan


class _Scan:
    """Writes the loop over vectors of items; see :func:`make_scan`."""

    def __init__(self, builder: Any, users: int, unrolled: int, use_vnni: bool, arguments: Any) -> None:
        self.b = builder
        self.users = range(users)
        self.unrolled = range(unrolled)
        self.use_vnni = use_vnni
        (
            self.items,
            self.thetas,
            self.starts,
            self.weights,
            self.scales,
            self.column,
            self.thresholds,
            self.scores,
            self.marks,
            self.vectors,
            self.words,
        ) = arguments

    def generate(self) -> None:
        b = self.b
        sums = [[cgutils.alloca_once(b, _INTS) for _ in self.unrolled] for _ in self.users]
        step = _int(len(self.unrolled))
        with cgutils.for_range_slice(b, _int(0), self.vectors, step, _INT64) as (first, _):
            for user in self.users:
                start = self._broadcast(self._load(self.starts, _INT32, _int(user)), _INTS)
                for at in self.unrolled:
                    b.store(start, sums[user][at])
            with cgutils.for_range(b, self.words) as loop:
                self._add_products(sums, first, loop.index)
            for at in self.unrolled:
                self._compare([row[at] for row in sums], b.add(first, _int(at)))

    def _add_products(self, sums: Any, first: Any, word: Any) -> None:
        b = self.b
        places = [b.add(b.mul(b.add(first, _int(at)), self.words), word) for at in self.unrolled]
        items = [self._load(self.items, _INTS, place) for place in places]
        for user in self.users:
            place = b.add(b.mul(word, _int(len(self.users))), _int(user))
            theta = self._broadcast(self._load(self.thetas, _INT32, place), _INTS)
            for at in self.unrolled:
                b.store(self._dot(b.load(sums[user][at]), items[at], theta), sums[user][at])

    def _dot(self, total: Any, items: Any, theta: Any) -> Any:
        """Return ``total`` plus, lane by lane, four unsigned bytes times four signed ones."""
        b = self.b
        if self.use_vnni:
            kind = ir.FunctionType(_INTS, [_INTS, _BYTES, _BYTES])
            function = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.vpdpbusd.512")
            return b.call(function, [total, b.bitcast(items, _BYTES), b.bitcast(theta, _BYTES)])
        right = ir.Constant(_INTS, [24] * LANES)
        for byte in range(DEPTH):
            left = ir.Constant(_INTS, [24 - 8 * byte] * LANES)
            unsigned, signed = b.lshr(b.shl(items, left), right), b.ashr(b.shl(theta, left), right)
            total = b.add(total, b.mul(unsigned, signed))
        return total

    def _compare(self, sums: Any, vector: Any) -> None:
        b = self.b
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        fused = cgutils.get_or_insert_function(b.module, kind, "llvm.fma.v16f32")
        scale, column = self._load(self.scales, _FLOATS, vector), self._load(self.column, _FLOATS, vector)
        for user in self.users:
            place = b.add(b.mul(self.vectors, _int(user)), vector)
            weight = self._broadcast(self._load(self.weights, _FLOAT, _int(user)), _FLOATS)
            score = b.call(fused, [b.fmul(b.sitofp(b.load(sums[user]), _FLOATS), weight), scale, column])
            self._store(self.scores, _FLOATS, place, score)
            threshold = self._broadcast(self._load(self.thresholds, _FLOAT, _int(user)), _FLOATS)
            self._store(self.marks, _INT16, place, b.bitcast(b.fcmp_ordered(">=", score, threshold), _INT16))

    def _load(self, address: Any, kind: Any, place: Any) -> Any:
        loaded = self.b.load(self.b.gep(self.b.inttoptr(address, kind.as_pointer()), [place]))
        loaded.align = 1
        return loaded

    def _store(self, address: Any, kind: Any, place: Any, value: Any) -> None:
        self.b.store(value, self.b.gep(self.b.inttoptr(address, kind.as_pointer()), [place])).align = 1

    def _broadcast(self, value: Any, kind: Any) -> Any:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.b.insert_element(undefined, value, ir.Constant(_INT32, 0))
        return self.b.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * LANES))


def _int(value: int) -> Any:
    return ir.Constant(_INT64, value)
