"""An index of item vectors that finds exactly the reference score's top k without scoring every item in float64.

The items are kept as bytes beside their float64 vectors. A search multiplies bytes, keeps what may be among the best
within a proven bound, and gives that its reference score: same bits, same ties. The proof is in docs/ranking.md.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial, reduce
from typing import Any

import numpy as np

from recommender.arrays import Flags, Floats, Integers, read_only
from recommender.topk import kernels
from recommender.topk.kernels import BLOCK, LARGEST_CODE, TOGETHER, Column, Found, Packed
from recommender.topk.queries import LARGEST, MAX_DIM, NOTHING, Queries, Ranking, make_queries, rank_plainly
from recommender.topk.simd import DEPTH, LANES

_ENCODED_ROWS = 8192
WORTH_A_THREAD_NS = 60_000
"""Where nothing else wants the cores."""
_CACHED_BYTES = 2**20
_FEW, _MANY = 16, 256
_rank_all: Callable[..., int] = kernels.rank_all


class ItemIndex:
    """Item vectors, ready to be searched from any number of threads.

    Args:
        vectors: shape [N, D], float64, C-contiguous; kept, not copied, and not to be written to.
        before: other items as packed, and how many of them these begin with; None to pack all.

    Raises:
        ValueError: if the vectors are not such an array.
    """

    def __init__(self, vectors: Floats, before: tuple[Packed, int] | None = None) -> None:
        if vectors.ndim != 2 or vectors.dtype != np.float64 or not vectors.flags.c_contiguous:  # noqa: PLR2004
            raise ValueError(f"vectors must be C-contiguous float64 [N, D], got {vectors.dtype} {vectors.shape}")
        if vectors.shape[1] > MAX_DIM:
            raise ValueError(f"D must be at most {MAX_DIM}, got {vectors.shape[1]}")
        self.vectors = vectors
        self.packed = _pack(read_only(vectors), before)
        self._last: tuple[Floats, Column] | None = None
        self._is_cached = self.packed.codes.nbytes < _CACHED_BYTES

    def changed(self, vectors: Floats, unchanged: int) -> "ItemIndex":
        """Return the index of other vectors, of which the first ``unchanged`` are the same as here.

        Raises:
            ValueError: as the class.
        """
        return ItemIndex(vectors, (self.packed, unchanged))

    @property
    def size(self) -> int:
        """Number of items, N."""
        return len(self.vectors)

    def column(self, values: Floats, allowed: Flags | None = None) -> Column:
        """Return what is added to every product, as the search reads it: item means, for one.

        That of the newest values that refuse writes is kept, so that a column that changes costs one pass over it.

        Args:
            values: shape [N], finite.
            allowed: items that may be found, shape [N]; None for all.

        Raises:
            ValueError: if a shape is another.
        """
        for given in (values, allowed):
            if given is not None and given.shape != (self.size,):
                raise ValueError(f"a column must have shape [{self.size}], got {given.shape}")
        last = self._last
        if allowed is None and last is not None and last[0] is values:
            return last[1]
        added = np.full(len(self.packed.scales), -np.inf, dtype=np.float32)
        largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
        added[: self.size] = values if largest < LARGEST else np.clip(values, -LARGEST, LARGEST)
        if allowed is not None:
            added[: self.size][~allowed] = -np.inf
        column = Column(read_only(np.ascontiguousarray(values, dtype=np.float64)), added, largest)
        if allowed is None and not values.flags.writeable:
            self._last = values, column
        return column

    def top_k(
        self,
        thetas: Floats,
        column: Column,
        k: int,
        excluded: Sequence[Integers] | None = None,
        worth_a_thread_ns: int = WORTH_A_THREAD_NS,
    ) -> Ranking:
        """Return the k highest of column + theta . x for each theta, ties by row.

        The scores are :func:`~recommender.topk.reference_scores` added to the column, bit for bit.

        Args:
            thetas: shape [B, D].
            column: of :meth:`column`.
            k: how many, at least 1.
            excluded: for each theta the rows not wanted, in any order; None for none.
            worth_a_thread_ns: how much work justifies one more thread.

        Raises:
            ValueError: if ``k`` is below 1 or a shape does not fit.
        """
        queries, size = make_queries(thetas, self.vectors.shape[1], k, excluded), len(thetas)
        ranking = Ranking(size, k)
        asked: tuple[Any, ...] = (*self.packed, *column, *queries)
        written: tuple[Any, ...] = (ranking.rows, ranking.scores, ranking.counts)
        capacity = min(3 * k + 192, self.size + 1)
        together = _FEW if self._is_cached else _MANY
        threads = self._threads_for(size, k, worth_a_thread_ns)
        if threads == 1:
            left_out = _rank_all(*asked, 0, size, together, capacity, *written)
        elif size >= (TOGETHER if self._is_cached else _MANY) * threads:
            parts = _split(size, threads, TOGETHER)
            work = partial(_rank_part, asked, (together, capacity, *written))
            left_out = sum(_in_threads(work, parts))
        else:
            left_out = 0
            for first in range(0, size, _MANY):
                last = min(first + _MANY, size)
                found = self._find_in_parts(column, queries, (first, last), capacity, threads)
                left_out += kernels.rank(self.packed, column, queries, first, found, *written)
        if left_out:
            rank_plainly(self.vectors, column.values, column.filter[: self.size] > -np.inf, queries, ranking)
        return ranking

    def shortlist(
        self, theta: Floats, column: Column, k: int, excluded: Integers | None = None, slack: float = 0.0
    ) -> Integers | None:
        """Return rows, ascending, that hold every item whose score is at least the kth highest less ``slack``.

        None when they are very many: more than a few thousand may equal the kth.

        Args:
            theta: shape [D].
            column: of :meth:`column`.
            k: how many at least, when as many are allowed.
            excluded: rows not wanted, in any order.
            slack: at least 0.
        """
        queries = make_queries(theta[np.newaxis], self.vectors.shape[1], k, None if excluded is None else [excluded])
        queries = queries._replace(keeps_ties=True, slack=slack)
        found = self._find_in_parts(column, queries, (0, 1), 8 * k + 4096, self._threads_for(1, k))
        if found.counts[0] < 0:
            return None
        return found.rows[0, : found.counts[0]].copy()

    def _find_in_parts(
        self, column: Column, queries: Queries, users: tuple[int, int], capacity: int, threads: int
    ) -> Found:
        """Return what may be among the best, each thread having searched its part of the items."""
        parts = _split(len(self.packed.errors), threads, 1)
        found: list[Found] = _in_threads(
            lambda blocks: kernels.find_part(self.packed, column, queries, *users, blocks, capacity), parts
        )
        return reduce(lambda one, other: kernels.merge(one, other, queries.k), found)

    def _threads_for(self, queries: int, k: int, worth_a_thread_ns: int = WORTH_A_THREAD_NS) -> int:
        dim = self.vectors.shape[1]
        cost_ns = queries * (1_000 + self.size * (0.06 + 0.004 * dim) + k * (30 + 0.4 * dim))
        return max(1, min(_cores(), int(cost_ns / worth_a_thread_ns)))


def _rank_part(asked: tuple[Any, ...], rest: tuple[Any, ...], part: tuple[int, int]) -> int:
    return _rank_all(*asked, *part, *rest)


def warm_up() -> None:
    """Compile everything a search runs, or load it from disk."""
    index = ItemIndex(np.zeros((2, 4)))
    column = index.column(np.zeros(2))
    index.top_k(np.zeros((9, 4)), column, 1)
    index.shortlist(np.zeros(4), column, 1)
    queries = Queries(np.zeros((1, 4)), 1, False, 0.0, np.zeros(2, dtype=np.int64), NOTHING)
    index._find_in_parts(column, queries, (0, 1), 8, 1)  # noqa: SLF001
    kernels.merge(kernels.make_found(1, 8), kernels.make_found(1, 8), 1)


def _pack(vectors: Floats, before: tuple[Packed, int] | None = None) -> Packed:
    size, dim = vectors.shape
    blocks, words = -(-size // BLOCK), -(-dim // DEPTH)
    codes = np.empty((blocks * BLOCK // LANES, words, LANES, DEPTH), dtype=np.uint8)
    scales = np.zeros(blocks * BLOCK, dtype=np.float32)
    errors, norms = np.zeros(blocks), np.zeros(blocks)
    largest = max(float(vectors.max(initial=0.0)), -float(vectors.min(initial=0.0)))
    unit = 2.0 ** np.frexp(largest)[1] if largest else 1.0
    kept = 0
    if before is not None and before[0].unit == unit and before[0].vectors.shape[1] == dim:
        packed, kept = before[0], before[1] // BLOCK
        codes[: kept * BLOCK // LANES] = packed.codes[: kept * BLOCK // LANES]
        scales[: kept * BLOCK] = packed.scales[: kept * BLOCK]
        errors[:kept], norms[:kept] = packed.errors[:kept], packed.norms[:kept]
    for first in range(kept * BLOCK, size, _ENCODED_ROWS):
        part = vectors[first : first + _ENCODED_ROWS]
        scale = (np.abs(part).max(axis=1, initial=0.0) / (unit * LARGEST_CODE)).astype(np.float32)
        own = scale.astype(np.float64)[:, np.newaxis] * unit
        code = np.rint(np.divide(part, own, out=np.zeros(part.shape), where=own > 0))
        np.clip(code, -LARGEST_CODE, LARGEST_CODE, out=code)
        error = _norms(part - code * own)
        norm = _norms(part) + error
        starts = np.arange(0, len(part), BLOCK)
        block = slice(first // BLOCK, first // BLOCK + len(starts))
        errors[block] = np.maximum.reduceat(error, starts)
        norms[block] = np.maximum.reduceat(norm, starts)
        scales[first : first + len(part)] = scale
        whole = np.full((len(starts) * BLOCK, words * DEPTH), LARGEST_CODE + 1, dtype=np.uint8)
        whole[: len(part), :dim] += code.astype(np.int8).view(np.uint8)
        lanes = slice(first // LANES, first // LANES + len(whole) // LANES)
        codes[lanes] = whole.reshape(len(whole) // LANES, LANES, words, DEPTH).transpose(0, 2, 1, 3)
    return Packed(codes, scales, errors, norms, vectors, unit, float(norms.max(initial=0.0)))


def _norms(vectors: Floats) -> Floats:
    """Return the norm of each row, rounded up by more than its rounding errors."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scaled = np.divide(vectors, largest[:, np.newaxis], out=np.zeros(vectors.shape), where=largest[:, np.newaxis] > 0)
    return np.asarray(largest * np.sqrt((scaled * scaled).sum(axis=1)) * (1.0 + 2.0**-30))


def _split(n: int, parts: int, multiple: int) -> list[tuple[int, int]]:
    """Return up to ``parts`` ranges of 0..n-1, each but the last of a multiple of ``multiple``.

    >>> _split(20, 2, 8)
    [(0, 16), (16, 20)]
    """
    step = max(1, -(-n // (parts * multiple))) * multiple
    return [(first, min(first + step, n)) for first in range(0, n, step)]


def _in_threads(work: Callable[[tuple[int, int]], Any], parts: Sequence[tuple[int, int]]) -> list[Any]:
    """Return the results of ``work`` on each part, the first of which this thread does itself."""
    others = [_pool().submit(work, part) for part in parts[1:]]
    return [*(work(part) for part in parts[:1]), *(other.result() for other in others)]


@cache
def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="search")
