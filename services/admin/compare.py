"""Two generations of one state, compared: their digests, and the users that differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from recommender.hashing import shard_of
from recommender.ledger import Ledger, unpack
from recommender.ledger.digest import user_line
from services.admin.digest import StateDigest, generation_digest
from services.admin.ledgers import ledgers_of
from streams.store.calls import as_unavailable
from streams.store.keys import ShardKeys

MOST_NAMED = 10
_USERS_A_CALL = 500


@dataclass(frozen=True, slots=True)
class UserDifference:
    """A user who is not the same in both; the t of each, 0 for a user it does not have."""

    user_id: str
    t_before: int
    t_after: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two generations beside one another.

    Attributes:
        before: digest of the first.
        after: digest of the second.
        users: how many users are not the same.
        named: some of them.
    """

    before: StateDigest
    after: StateDigest
    users: int
    named: tuple[UserDifference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether all counts, sums and times of users and items are the same."""
        return self.before == self.after


class ItemNames(dict[int, str]):
    """Item ids by hash; an item whose id is not known is named by its hash."""

    def __missing__(self, item: int) -> str:
        """Return the name of an item that is not known."""
        return f"#{item:016x}"

    def __contains__(self, _item: object) -> bool:
        """Return True: every item has a name."""
        return True


def compare_generations(
    client: Any, before: list[ShardKeys], after: list[ShardKeys], names: Mapping[int, str]
) -> Comparison:
    """Compare two generations at rest; the users are looked through only when the digests differ.

    Args:
        client: a blocking client of the store.
        before: the keys of every shard of the first.
        after: likewise of the second.
        names: a name of every item, by hash.

    Raises:
        StoreUnavailable: the store did not answer.
        LedgerError: a ledger cannot be read.
    """
    digests = generation_digest(client, before, names), generation_digest(client, after, names)
    if digests[0] == digests[1]:
        return Comparison(*digests, 0, ())
    count = 0
    named: list[UserDifference] = []
    for difference in _differences(client, before, after, names):
        count += 1
        if len(named) < MOST_NAMED:
            named.append(difference)
    return Comparison(*digests, count, tuple(named))


def _differences(
    client: Any, before: list[ShardKeys], after: list[ShardKeys], names: Mapping[int, str]
) -> Iterator[UserDifference]:
    for user_id, first, second in _side_by_side(client, before, after):
        if second is None or user_line(user_id, first, names) != user_line(user_id, second, names):
            yield UserDifference(user_id, first.t, 0 if second is None else second.t)
    for user_id, ledger, known in _side_by_side(client, after, before):
        if known is None:
            yield UserDifference(user_id, 0, ledger.t)


def _side_by_side(
    client: Any, shards: list[ShardKeys], others: list[ShardKeys]
) -> Iterator[tuple[str, Ledger, Ledger | None]]:
    """Yield every user of one generation with the ledger there and in the other one."""
    ledgers = ledgers_of(client, shards)
    while chunk := list(islice(ledgers, _USERS_A_CALL)):
        found = _read(client, others, [user_id for user_id, _ in chunk])
        for user_id, ledger in chunk:
            yield user_id, ledger, found.get(user_id)


def _read(client: Any, shards: list[ShardKeys], user_ids: Sequence[str]) -> dict[str, Ledger]:
    homes: dict[int, list[str]] = {}
    for user_id in user_ids:
        homes.setdefault(shard_of(user_id, len(shards)), []).append(user_id)
    found: dict[str, Ledger] = {}
    for shard, users in homes.items():
        with as_unavailable():
            values = client.mget([shards[shard].ledger(user_id) for user_id in users])
        found |= {u: unpack(value) for u, value in zip(users, values, strict=True) if value is not None}
    return found
