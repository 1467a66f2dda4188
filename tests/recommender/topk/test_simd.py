import numpy as np
import pytest
from numba import njit

from recommender.topk.simd import DEPTH, HAS_VNNI, LANES, make_scan

USERS, UNROLLED, VECTORS = 3, 2, 4


@pytest.mark.parametrize("use_vnni", [False, True])
@pytest.mark.parametrize("dim", [0, 4, 16, 1024])
def test_scores_and_marks_are_those_of_whole_numbers(use_vnni, dim):
    if use_vnni and not HAS_VNNI:
        pytest.skip("this processor has no VNNI")
    scan = make_scan(USERS, UNROLLED, use_vnni=use_vnni)
    rng = np.random.default_rng(dim)
    size, words = VECTORS * LANES, dim // DEPTH
    # The extremes are there: -127 and 127 in every dimension of the first items and users.
    items, thetas = rng.integers(-127, 128, (size, dim)), rng.integers(-127, 128, (USERS, dim))
    items[:2], thetas[0] = [[-127] * dim, [127] * dim], 127
    sums = thetas @ items.T
    codes = (items + 128).astype(np.uint8).reshape(VECTORS, LANES, words, DEPTH).transpose(0, 2, 1, 3).copy()
    packed = thetas.astype(np.int8).reshape(USERS, words, DEPTH).transpose(1, 0, 2).copy()
    starts = (-128 * thetas.sum(axis=1)).astype(np.int32)
    weights = np.array([1.0, 2.0, 0.5], dtype=np.float32)
    scales, column = np.full(size, 4.0, dtype=np.float32), np.ones(size, dtype=np.float32)
    thresholds = np.array([0.0, -1e9, np.inf], dtype=np.float32)
    scores, marks = np.empty((USERS, size), dtype=np.float32), np.empty((USERS, VECTORS), dtype=np.uint16)

    @njit
    def run(codes, packed, starts, weights, scales, column, thresholds, scores, marks, words):
        scan(
            codes.ctypes.data,
            packed.ctypes.data,
            starts.ctypes.data,
            weights.ctypes.data,
            scales.ctypes.data,
            column.ctypes.data,
            thresholds.ctypes.data,
            scores.ctypes.data,
            marks.ctypes.data,
            VECTORS,
            words,
        )

    run(codes, packed, starts, weights, scales, column, thresholds, scores, marks, words)
    # Sums stay below 2^24 and the weights are powers of two, so one rounding is left, that of adding 1.
    exact = (sums * weights[:, None] * 4.0 + 1.0).astype(np.float32)
    assert scores.tolist() == exact.tolist()
    bits = np.unpackbits(marks.view(np.uint8), bitorder="little").reshape(USERS, size)
    assert bits.tolist() == (exact >= thresholds[:, None]).astype(np.uint8).tolist()
