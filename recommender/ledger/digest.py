"""The digest of a state: one number that two states share exactly when their exact fields agree.

Sum modulo 2^256 of SHA-256 over one line a user, ``user_id TAB t TAB item_id:count:last_t:sum,...`` sorted by item_id
bytes; and the same over item statistics, ``item_id TAB count TAB sum``. Sums are in units of 1/10000. Mean, tail order,
rev and position are left out.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from recommender.ledger.layout import Ledger, entries

MODULUS = 2**256


def user_line(user_id: str, ledger: Ledger, item_ids: Mapping[int, str]) -> str:
    """Return a user's line; ``item_ids`` gives the id of each item hash.

    Raises:
        KeyError: an item hash has no id.
    """
    rated = sorted(
        ((item_ids[item], count, last_t, total) for item, count, last_t, total in entries(ledger).tolist()),
        key=lambda entry: entry[0].encode(),
    )
    return f"{user_id}\t{ledger.t}\t" + ",".join(f"{i}:{c}:{last_t}:{s}" for i, c, last_t, s in rated)


def statistics_line(item_id: str, count: int, rating_sum: int) -> str:
    """Return an item's line.

    >>> statistics_line("a", 2, 70000).split()
    ['a', '2', '70000']
    """
    return f"{item_id}\t{count}\t{rating_sum}"


def digest(lines: Iterable[str]) -> str:
    """Return the digest of lines in any order, as 64 hexadecimal digits.

    >>> digest([])
    '0000000000000000000000000000000000000000000000000000000000000000'
    """
    total = sum(int.from_bytes(sha256(line.encode()).digest()) for line in lines)
    return f"{total % MODULUS:064x}"
