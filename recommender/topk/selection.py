"""Compiled selection: the kth of many numbers, and pairs in order of score."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

from recommender.arrays import Floats, Integers

_Function = TypeVar("_Function", bound=Callable[..., Any])

def compiled(function: _Function) -> _Function:
    """Return the function compiled at its first call, without the interpreter's lock, and kept on disk where possible."""
    try:
        return cast("_Function", njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no folder that can be written to
        return cast("_Function", njit(nogil=True)(function))


@compiled
def kth_largest(values: Floats, n: int, k: int) -> float:
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
    return values[place]


@compiled
def sort_best_first(scores: Floats, rows: Integers, n: int) -> None:
    """Sort the first ``n`` pairs in place: the highest score first, of equal ones the lowest row.

    Shell 1959, doi:10.1145/368370.368387, with the gaps of Ciura 2001, doi:10.1007/3-540-44669-9_12.
    """
    for gap in (301, 132, 57, 23, 10, 4, 1):
        for at in range(gap, n):
            score, row = scores[at], rows[at]
            hole = at
            while hole >= gap and (
                scores[hole - gap] < score or (scores[hole - gap] == score and rows[hole - gap] > row)
            ):
                scores[hole], rows[hole] = scores[hole - gap], rows[hole - gap]
                hole -= gap
            scores[hole], rows[hole] = score, row
