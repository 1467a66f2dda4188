"""The compiled search: filter with a proven bound, rescore what lies within it; see docs/ranking.md for the proof.

The bound of a user in a block is how far the filter's score of an item can be from the reference score. What is found
has ``lower <= reference score <= upper``, and both equal it once it was rescored. The threshold is at most the kth
largest ``lower``, so an item whose ``upper`` is below it has k items above it for certain.
"""

from typing import NamedTuple

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from recommender.arrays import Floats, Integers
from recommender.topk.queries import LARGEST, Queries
from recommender.topk.selection import below_kth, compiled, kth_largest, write_best_first
from recommender.topk.simd import LANES, make_scan

BLOCK = 512
"""Items that share a bound: their scores for eight users stay in the first-level cache."""
TOGETHER = 8
"""Users whose scores are computed at once."""
LARGEST_CODE = 127
_VECTORS = BLOCK // LANES
_MARKS = BLOCK // 64
_ALONE = 2
"""So many users left over are searched one by one instead of together with none."""
_ROUNDING = 2.0**-22
_TINY = 2.0**-140
_LOWEST = np.float32(-3e38)
_OVERFLOWN = -1
_NEVER = 1e300

_scan_wide = make_scan(TOGETHER, 2)
_scan_one = make_scan(1, 4)


class Packed(NamedTuple):
    """The items as the search reads them; M is N rounded up to whole blocks.

    Attributes:
        codes: round(x / scale) + 128, bytes [M/16, D/4, 16, 4].
        scales: of each item, in units of ``unit``, float32 [M].
        errors: largest norm of x - code scale in each block, float64 [M/512].
        norms: largest norm in each block, of x or code scale, float64 [M/512].
        vectors: x, float64 [N, D].
        unit: a power of two.
        largest: the largest norm.
    """

    codes: np.ndarray
    scales: np.ndarray
    errors: Floats
    norms: Floats
    vectors: Floats
    unit: float
    largest: float


class Column(NamedTuple):
    """What is added to each item's product.

    Attributes:
        values: float64 [N].
        filter: the same rounded, -inf for items not allowed, float32 [M].
        largest: the largest magnitude of ``values`` of allowed items.
    """

    values: Floats
    filter: np.ndarray
    largest: float


class Found(NamedTuple):
    """What may be among the best of some users, in ascending order of rows.

    Attributes:
        counts: how many, -1 for too many, int64 [users].
        threshold: at least k items have this score or a higher one, float64 [users].
        lower: float64 [users, capacity].
        upper: float64 [users, capacity].
        rows: int64 [users, capacity].
    """

    counts: Integers
    threshold: Floats
    lower: Floats
    upper: Floats
    rows: Integers


class Coded(NamedTuple):
    """Some users as the filter reads them, in groups of ``width`` of which the last may be filled up.

    The bound of a user in a block is ``per_error error + per_norm norm + always`` of the block's error and norm.

    Attributes:
        words: four codes each, int32 [groups, D/4, width].
        starts: int32 [groups * width].
        weights: float32 [groups * width].
        per_error: float64 [groups * width].
        per_norm: float64 [groups * width].
        always: float64 [groups * width].
    """

    words: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    per_error: Floats
    per_norm: Floats
    always: Floats


@compiled
def make_found(users: int, capacity: int) -> Found:
    """Return room for what is found of ``users``."""
    bounds = np.empty((2, users, capacity))
    rows = np.empty((users, capacity), np.int64)
    return Found(np.zeros(users, np.int64), np.full(users, -np.inf), bounds[0], bounds[1], rows)


@compiled
def _encode(packed: Packed, column: Column, queries: Queries, first: int, last: int, width: int) -> Coded:
    """Return the queries first..last-1 as the filter reads them."""
    groups, depth, unit = (last - first + width - 1) // width, packed.codes.shape[1], packed.unit
    codes = np.zeros((groups, depth, width, 4), np.int8)
    starts, weights = np.zeros(groups * width, np.int32), np.zeros(groups * width, np.float32)
    bounds = np.zeros((3, groups * width))
    per_error, per_norm, always = bounds[0], bounds[1], bounds[2]
    for at in range(last - first):
        theta = queries.thetas[first + at]
        greatest = 0.0
        for d in range(len(theta)):
            greatest = max(greatest, abs(theta[d]))
        weights[at] = np.float32(greatest * unit / LARGEST_CODE)
        scale = np.float64(weights[at]) / unit
        inverse = 1.0 / scale if scale > _TINY else 0.0
        total, norm, error = 0, 0.0, 0.0
        for d in range(len(theta)):
            code = min(max(np.rint(theta[d] * inverse), -127.0), 127.0)
            codes[at // width, d // 4, at % width, d % 4] = np.int8(code)
            total += int(code)
            norm += theta[d] * theta[d]
            error += (theta[d] - code * scale) * (theta[d] - code * scale)
        starts[at] = -128 * total
        per_error[at] = np.sqrt(norm)
        per_norm[at] = np.sqrt(error) + _ROUNDING * (np.sqrt(norm) + np.sqrt(error))
        always[at] = _ROUNDING * column.largest + _TINY + queries.slack
    words = codes.reshape(groups * depth * width * 4).view(np.int32).reshape((groups, depth, width))
    return Coded(words, starts, weights, per_error, per_norm, always)


@compiled
def _scan(
    packed: Packed,
    column: Column,
    coded: Coded,
    group: int,
    block: int,
    thresholds: np.ndarray,
    scores: np.ndarray,
    marks: np.ndarray,
) -> None:
    depth, width = coded.words.shape[1], coded.words.shape[2]
    codes = packed.codes.ctypes.data + block * BLOCK * depth * 4
    words = coded.words.ctypes.data + group * depth * width * 4
    starts = coded.starts.ctypes.data + group * width * 4
    weights = coded.weights.ctypes.data + group * width * 4
    scales = packed.scales.ctypes.data + block * BLOCK * 4
    added = column.filter.ctypes.data + block * BLOCK * 4
    at_least, out, marked = thresholds.ctypes.data, scores.ctypes.data, marks.ctypes.data
    if width == TOGETHER:
        _scan_wide(codes, words, starts, weights, scales, added, at_least, out, marked, _VECTORS, depth)
    else:
        _scan_one(codes, words, starts, weights, scales, added, at_least, out, marked, _VECTORS, depth)


@compiled
def _reference_score(vectors: Floats, row: int, theta: Floats, added: float) -> float:
    total = 0.0
    for d in range(len(theta)):
        total += vectors[row, d] * theta[d]
    return added + total


@compiled
def _rescore(packed: Packed, column: Column, theta: Floats, found: Found, user: int) -> None:
    """Give every item found of a user its reference score; four at a time, so that additions need not wait."""
    lower, upper, rows = found.lower[user], found.upper[user], found.rows[user]
    vectors = packed.vectors
    n = found.counts[user]
    whole = n - n % 4
    for at in range(0, whole, 4):
        a, b, c, d = rows[at], rows[at + 1], rows[at + 2], rows[at + 3]
        first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
        for dim in range(len(theta)):
            weight = theta[dim]
            first += vectors[a, dim] * weight
            second += vectors[b, dim] * weight
            third += vectors[c, dim] * weight
            fourth += vectors[d, dim] * weight
        lower[at], lower[at + 1] = column.values[a] + first, column.values[b] + second
        lower[at + 2], lower[at + 3] = column.values[c] + third, column.values[d] + fourth
    for at in range(whole, n):
        lower[at] = _reference_score(vectors, rows[at], theta, column.values[rows[at]])
    for at in range(n):
        upper[at] = lower[at]


@compiled
def _raise_threshold(found: Found, user: int, k: int) -> None:
    """Raise the threshold towards the kth largest ``lower`` and forget what is below it for certain."""
    lower, upper, rows = found.lower[user], found.upper[user], found.rows[user]
    n = found.counts[user]
    threshold = max(found.threshold[user], below_kth(lower, n, k))
    kept = 0
    for at in range(n):
        lower[kept], upper[kept], rows[kept] = lower[at], upper[at], rows[at]
        kept += upper[at] >= threshold
    found.threshold[user], found.counts[user] = threshold, kept


@compiled
def _keep_first(found: Found, user: int, k: int) -> None:
    """Of rescored items keep the k best, of those that equal the kth the first."""
    lower, upper, rows = found.lower[user], found.upper[user], found.rows[user]
    n = found.counts[user]
    if n <= k:
        return
    kth = kth_largest(lower[:n].copy(), n, k)
    equal = k
    for at in range(n):
        equal -= lower[at] > kth
    kept = 0
    for at in range(n):
        if lower[at] > kth or (lower[at] == kth and equal > 0):
            equal -= lower[at] == kth
            lower[kept], upper[kept], rows[kept] = lower[at], upper[at], rows[at]
            kept += 1
    found.counts[user] = kept
    found.threshold[user] = max(found.threshold[user], kth)


@compiled
def _make_room(packed: Packed, column: Column, queries: Queries, query: int, found: Found, user: int) -> None:
    """Forget enough of a user's items; where bounds leave too many, by their reference scores."""
    _raise_threshold(found, user, queries.k)
    if found.counts[user] <= 3 * found.rows.shape[1] // 4:
        return
    if queries.keeps_ties:
        found.counts[user], found.threshold[user] = _OVERFLOWN, _NEVER
        return
    _rescore(packed, column, queries.thetas[query], found, user)
    _keep_first(found, user, queries.k)


@compiled
def _is_excluded(queries: Queries, query: int, row: int) -> bool:
    low, high = queries.ends[query], queries.ends[query + 1]
    while low < high:
        middle = (low + high) >> 1
        if queries.excluded[middle] < row:
            low = middle + 1
        else:
            high = middle
    return bool(low < queries.ends[query + 1] and queries.excluded[low] == row)


@compiled
def _start_thresholds(
    packed: Packed,
    column: Column,
    queries: Queries,
    coded: Coded,
    group: int,
    first_query: int,
    thresholds: Floats,
    blocks: tuple[int, int],
    scores: np.ndarray,
    marks: np.ndarray,
) -> None:
    """Give a group of users thresholds from the first blocks: the kth largest of the best of every few items."""
    width, users = coded.words.shape[2], len(thresholds)
    wanted = 0
    for query in range(first_query, first_query + users):
        wanted = max(wanted, queries.k + queries.ends[query + 1] - queries.ends[query])
    tried = min(blocks[1] - blocks[0], max(2, (16 * wanted + BLOCK - 1) // BLOCK), 64)
    each = 1
    while each < LANES and tried * BLOCK >= 8 * each * wanted:
        each *= 2
    kept = BLOCK // each
    if tried * kept < wanted:
        return
    best = np.empty((users, tried * kept), np.float32)
    never = np.full(width, np.inf, np.float32)
    error, norm = 0.0, 0.0
    for at in range(tried):
        error, norm = max(error, packed.errors[blocks[0] + at]), max(norm, packed.norms[blocks[0] + at])
        _scan(packed, column, coded, group, blocks[0] + at, never, scores, marks)
        for user in range(users):
            for place in range(kept):
                best[user, at * kept + place] = scores[user, place]
            for start in range(kept, BLOCK, kept):
                for place in range(kept):
                    score, other = scores[user, start + place], best[user, at * kept + place]
                    best[user, at * kept + place] = max(other, score)
    for user in range(users):
        slot = group * width + user
        bound = coded.per_error[slot] * error + coded.per_norm[slot] * norm + coded.always[slot]
        k = queries.k + queries.ends[first_query + user + 1] - queries.ends[first_query + user]
        thresholds[user] = max(thresholds[user], below_kth(best[user], tried * kept, k) - bound)


@compiled
def _walk(  # noqa: C901 - calls in this loop cost more than its work
    packed: Packed,
    column: Column,
    queries: Queries,
    coded: Coded,
    first_query: int,
    first_user: int,
    found: Found,
    blocks: tuple[int, int],
) -> None:
    """Walk over the items for the users of ``coded``, the first of whom is ``first_user`` of ``found``."""
    groups, depth, width = coded.words.shape
    scores, marks = np.empty((width, BLOCK), np.float32), np.empty((width, _MARKS), np.uint64)
    thresholds, bounds = np.full(width, np.inf, np.float32), np.zeros(width)
    counts, least, capacity = found.counts, found.threshold, found.rows.shape[1]
    lower, upper, rows = found.lower, found.upper, found.rows
    errors, norms = packed.errors, packed.norms
    per_error, per_norm, always = coded.per_error, coded.per_norm, coded.always
    ends = queries.ends
    codes, scales, added = packed.codes.ctypes.data, packed.scales.ctypes.data, column.filter.ctypes.data
    words, starts, weights = coded.words.ctypes.data, coded.starts.ctypes.data, coded.weights.ctypes.data
    at_least, out, marked = thresholds.ctypes.data, scores.ctypes.data, marks.ctypes.data
    for group in range(groups):
        first = first_user + group * width
        last = min(first + width, len(counts))
        _start_thresholds(
            packed, column, queries, coded, group, first_query + first, least[first:last], blocks, scores, marks
        )
    for block in range(blocks[0], blocks[1]):
        for group in range(groups):
            first = first_user + group * width
            users = min(width, len(counts) - first)
            thresholds[users:] = np.inf
            for at in range(users):
                slot = group * width + at
                bounds[at] = per_error[slot] * errors[block] + per_norm[slot] * norms[block] + always[slot]
                threshold = least[first + at] - bounds[at]
                thresholds[at] = max(np.float32(threshold - _ROUNDING * abs(threshold) - _TINY), _LOWEST)
            if width == TOGETHER:
                _scan_wide(
                    codes + block * BLOCK * depth * 4,
                    words + group * depth * width * 4,
                    starts + group * width * 4,
                    weights + group * width * 4,
                    scales + block * BLOCK * 4,
                    added + block * BLOCK * 4,
                    at_least,
                    out,
                    marked,
                    _VECTORS,
                    depth,
                )
            else:
                _scan_one(
                    codes + block * BLOCK * depth * 4,
                    words + group * depth * width * 4,
                    starts + group * width * 4,
                    weights + group * width * 4,
                    scales + block * BLOCK * 4,
                    added + block * BLOCK * 4,
                    at_least,
                    out,
                    marked,
                    _VECTORS,
                    depth,
                )
            for at in range(users):
                user, bound = first + at, bounds[at]
                query = first_query + user
                for word in range(_MARKS):
                    left = marks[at, word]
                    while left != 0:
                        place = word * 64 + trailing_zeros(left)
                        left &= left - np.uint64(1)
                        score, row = np.float64(scores[at, place]), block * BLOCK + place
                        if ends[query + 1] > ends[query] and _is_excluded(queries, query, row):
                            continue
                        if counts[user] == capacity:
                            _make_room(packed, column, queries, query, found, user)
                        if score + bound < least[user]:
                            continue
                        lower[user, counts[user]], upper[user, counts[user]] = score - bound, score + bound
                        rows[user, counts[user]] = row
                        counts[user] += 1


@compiled
def _is_held(packed: Packed, column: Column, theta: Floats) -> bool:
    """Return whether float32 holds whatever the filter computes for a user."""
    total = 0.0
    for d in range(len(theta)):
        total += abs(theta[d])
    return total * max(packed.largest, packed.unit, 1.0) < LARGEST and column.largest < LARGEST


@compiled
def find(
    packed: Packed, column: Column, queries: Queries, first: int, last: int, blocks: tuple[int, int], found: Found
) -> None:
    """Write into ``found`` what may be among the best k of the queries first..last-1, of the items in ``blocks``."""
    users = last - first
    for user in range(users):
        is_held = _is_held(packed, column, queries.thetas[first + user])
        found.counts[user] = 0 if is_held else _OVERFLOWN
        found.threshold[user] = -np.inf if is_held else _NEVER
    wide = users - users % TOGETHER if users % TOGETHER <= _ALONE else users
    if wide:
        coded = _encode(packed, column, queries, first, first + wide, TOGETHER)
        _walk(packed, column, queries, coded, first, 0, found, blocks)
    for user in range(wide, users):
        coded = _encode(packed, column, queries, first + user, first + user + 1, 1)
        _walk(packed, column, queries, coded, first, user, found, blocks)


@compiled
def find_part(
    packed: Packed, column: Column, queries: Queries, first: int, last: int, blocks: tuple[int, int], capacity: int
) -> Found:
    """Return what :func:`find` finds, as far as it is not below the threshold at the end."""
    found = make_found(last - first, capacity)
    find(packed, column, queries, first, last, blocks, found)
    for user in range(last - first):
        if found.counts[user] > 0:
            _raise_threshold(found, user, queries.k)
    return found


@compiled
def merge(one: Found, other: Found, k: int) -> Found:
    """Return what was found of the same users in two parts of the items, the rows of ``one`` being lower."""
    users, room = len(one.counts), one.rows.shape[1] + other.rows.shape[1]
    merged = make_found(users, room)
    for user in range(users):
        n = 0
        for part in (one, other):
            end = n + part.counts[user]
            merged.threshold[user] = max(merged.threshold[user], part.threshold[user])
            if part.counts[user] < 0 or n < 0:
                n = _OVERFLOWN
                break
            merged.lower[user, n:end] = part.lower[user, : end - n]
            merged.upper[user, n:end] = part.upper[user, : end - n]
            merged.rows[user, n:end] = part.rows[user, : end - n]
            n = end
        merged.counts[user] = n
        if n > 0:
            _raise_threshold(merged, user, k)
    return merged


@compiled
def rank(
    packed: Packed,
    column: Column,
    queries: Queries,
    first: int,
    found: Found,
    rows: Integers,
    scores: Floats,
    counts: Integers,
) -> int:
    """Write the best k of the queries first, first + 1, ... in order, from all that may be among them.

    Returns how many users are left out, because their magnitudes are beyond float32; their count is -1.

    Args:
        packed: the items.
        column: what is added.
        queries: all of them.
        first: the query of the first user in ``found``.
        found: of some users.
        rows: written at each query, int64 [B, k].
        scores: written at each query, float64 [B, k].
        counts: how many there are, written at each query, int64 [B].
    """
    left_out = 0
    for user in range(len(found.counts)):
        query = first + user
        if found.counts[user] < 0:
            counts[query] = _OVERFLOWN
            left_out += 1
            continue
        if found.counts[user] > 2 * queries.k:
            _raise_threshold(found, user, queries.k)
        _rescore(packed, column, queries.thetas[query], found, user)
        _raise_threshold(found, user, queries.k)
        if found.counts[user] > 2 * queries.k:
            _keep_first(found, user, queries.k)
        n = found.counts[user]
        counts[query] = write_best_first(found.lower[user], found.rows[user], n, scores[query], rows[query])
    return left_out


@compiled
def rank_all(
    codes: np.ndarray,
    scales: np.ndarray,
    errors: Floats,
    norms: Floats,
    vectors: Floats,
    unit: float,
    largest: float,
    values: Floats,
    rounded: np.ndarray,
    largest_value: float,
    thetas: Floats,
    k: int,
    keeps_ties: bool,
    slack: float,
    ends: Integers,
    excluded: Integers,
    first: int,
    last: int,
    together: int,
    capacity: int,
    rows: Integers,
    scores: Floats,
    counts: Integers,
) -> int:
    """Search all items for the queries first..last-1, ``together`` at a time; see :func:`rank`.

    The first arguments are the fields of :class:`Packed`, :class:`Column` and :class:`Queries`: handed over one by one
    they take half the time.
    """
    packed = Packed(codes, scales, errors, norms, vectors, unit, largest)
    column = Column(values, rounded, largest_value)
    queries = Queries(thetas, k, keeps_ties, slack, ends, excluded)
    left_out = 0
    for start in range(first, last, together):
        end = min(start + together, last)
        if start == first or end - start < together:
            found = make_found(end - start, capacity)
        find(packed, column, queries, start, end, (0, len(errors)), found)
        left_out += rank(packed, column, queries, start, found, rows, scores, counts)
    return left_out
