"""Compiled selection: the kth of many numbers, and places in order of score."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from recommender.arrays import Floats, Integers

_Function = TypeVar("_Function", bound=Callable[..., Any])

_HALVINGS = 24
_UNROLLED = 32
"""A loop over a multiple of this many has no rest that the compiler does one by one."""


def compiled(function: _Function, *, is_free_of_nan: bool = False) -> _Function:
    """Return the function compiled at its first call, without the interpreter's lock, and kept on disk where possible.

    Args:
        function: arrays and numbers in, arrays and numbers out.
        is_free_of_nan: whether the compiler may take it that no value is NaN, and keep a minimum in vectors.
    """
    options: dict[str, Any] = {"nogil": True}
    if is_free_of_nan:
        options["fastmath"] = {"nnan", "nsz"}
    try:
        return cast("_Function", njit(cache=True, **options)(function))
    except RuntimeError:  # no folder that can be written to
        return cast("_Function", njit(**options)(function))


@partial(compiled, is_free_of_nan=True)
def below_kth(values: np.ndarray, n: int, k: int) -> float:
    """Return a number that at least ``k`` of the first ``n`` values reach, and often few more; else -inf.

    It halves the range from the lowest to the highest value; counting takes no branch, so it is many times faster than
    a selection. Where the values lie very unevenly, many more may reach it.
    """
    low, high, finite = np.inf, -np.inf, 0
    for at in range(n):
        finite += values[at] > -np.inf
        low = values[at] if low > values[at] > -np.inf else low
        high = max(high, values[at])
    if finite < k:
        return -np.inf
    enough = k + k // 16
    for _ in range(_HALVINGS):
        middle = low + (high - low) / 2
        reached = 0
        for at in range(n):
            reached += values[at] >= middle
        if reached >= k:
            low = middle
            if reached <= enough:
                break
        else:
            high = middle
    return low


@compiled
def kth_largest(values: np.ndarray, n: int, k: int) -> float:
    """Return the kth largest of the first ``n`` values, 1 <= k <= n; their order is changed.

    Hoare 1961, doi:10.1145/366622.366647.
    """
    low, high, place = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    return float(values[place])


@compiled
def write_best_first(scores: Floats, rows: Integers, n: int, best_scores: Floats, best_rows: Integers) -> int:
    """Write the best of the first ``n`` pairs, the highest score first, of equal ones the first; return how many.

    As many as there is room for. The place of each pair is how many are above it: n^2 comparisons without a branch.
    """
    room, whole = len(best_rows), -(-n // _UNROLLED) * _UNROLLED
    padded, places = np.full(whole, -np.inf), np.zeros(whole, np.int64)
    padded[:n] = scores[:n]
    total = 0
    for at in range(0, n, 2):
        first, second, above_first, above_second = padded[at], padded[at + 1], 0, 0
        for other in range(whole):
            above_first += padded[other] > first
            above_second += padded[other] > second
        places[at], places[at + 1] = above_first, above_second
        total += above_first + above_second * (at + 1 < n)
    if total < n * (n - 1) // 2:  # some are equal
        for at in range(n):
            for other in range(at):
                places[at] += padded[other] == padded[at]
    for at in range(n):
        if places[at] < room:
            best_scores[places[at]], best_rows[places[at]] = scores[at], rows[at]
    return min(n, room)
