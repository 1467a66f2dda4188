"""The digest of the state that a log of ratings must lead to, computed from the log alone.

It shares nothing with the worker's fold, so that the two can check one another.

**State digest**: the sum modulo 2^256 of SHA-256, read as a big-endian number, over one line a user, in UTF-8:

    user_id TAB t TAB item_id:count:last_t:sum,item_id:count:last_t:sum,...

``t`` is the number of the user's ratings. Items are sorted by the UTF-8 bytes of their ids, separated by commas.
``count`` is how often the user rated the item; ``last_t`` how many ratings the user had given before the newest one of
the item (the user's first rating has 0); ``sum`` the sum of these ratings in units of 1/10000, each rounded half to
even (``round(rating * 10000)`` in float64).

**Statistics digest**: the same sum over one line an item, all users together:

    item_id TAB count TAB sum

A line has no newline at its end, numbers are plain decimal, and a digest is written as 64 hex digits. An empty log has
64 zeros. The sum makes the order of lines, and how users are spread over shards, irrelevant.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

_MODULUS = 2**256
_QUANTUM = 10_000


@dataclass(frozen=True, slots=True)
class Digest:
    """What a state must look like.

    Attributes:
        state: digest of the users' ledgers, 64 hex digits.
        statistics: digest of the item statistics, 64 hex digits.
        users: number of users with a rating.
        events: number of ratings.
    """

    state: str
    statistics: str
    users: int
    events: int


@dataclass(slots=True)
class _Entry:
    count: int = 0
    last_t: int = 0
    total: int = 0


def expected_digest(ratings: pd.DataFrame | Iterable[tuple[str, str, float]]) -> Digest:
    r"""Return the digest of the state after these ratings.

    Args:
        ratings: user_id, item_id and rating; each user's in the order in which they are applied. Of a frame the three
            columns of these names are read.

    >>> digest = expected_digest([("u", "a", 4.0)])
    >>> digest.state == hashlib.sha256(b"u\t1\ta:1:0:40000").hexdigest()
    True
    >>> digest.statistics == hashlib.sha256(b"a\t1\t40000").hexdigest()
    True
    """
    if isinstance(ratings, pd.DataFrame):
        columns = [ratings[name].tolist() for name in ("user_id", "item_id", "rating")]
        ratings = zip(*columns, strict=True)
    users: dict[str, dict[str, _Entry]] = {}
    seen: dict[str, int] = {}
    for user_id, item_id, rating in ratings:
        t = seen.get(user_id, 0)
        entry = users.setdefault(user_id, {}).setdefault(item_id, _Entry())
        entry.count += 1
        entry.last_t = t
        entry.total += round(rating * _QUANTUM)
        seen[user_id] = t + 1
    return Digest(
        state=_sum_lines(_user_line(user_id, seen[user_id], entries) for user_id, entries in users.items()),
        statistics=_sum_lines(_statistics_lines(users)),
        users=len(users),
        events=sum(seen.values()),
    )


def _user_line(user_id: str, t: int, entries: dict[str, _Entry]) -> str:
    ordered = sorted(entries.items(), key=lambda pair: pair[0].encode())
    items = ",".join(f"{item_id}:{entry.count}:{entry.last_t}:{entry.total}" for item_id, entry in ordered)
    return f"{user_id}\t{t}\t{items}"


def _statistics_lines(users: dict[str, dict[str, _Entry]]) -> Iterable[str]:
    counts: dict[str, int] = {}
    totals: dict[str, int] = {}
    for entries in users.values():
        for item_id, entry in entries.items():
            counts[item_id] = counts.get(item_id, 0) + entry.count
            totals[item_id] = totals.get(item_id, 0) + entry.total
    return (f"{item_id}\t{count}\t{totals[item_id]}" for item_id, count in counts.items())


def _sum_lines(lines: Iterable[str]) -> str:
    total = sum(int.from_bytes(hashlib.sha256(line.encode()).digest(), "big") for line in lines)
    return f"{total % _MODULUS:064x}"
