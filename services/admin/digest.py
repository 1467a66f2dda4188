"""The digest of the state in the store; its lines are those of :mod:`recommender.ledger.digest`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from recommender.hashing import hash_id
from recommender.ledger import unpack
from recommender.ledger.digest import digest, statistics_line, user_line
from schemas.errors import StreamrecError
from services.admin.ledgers import live_shards
from streams.settings import Settings
from streams.store.calls import as_unavailable
from streams.store.keys import STATISTICS_BUCKETS, ShardKeys

_SCAN_COUNT = 2000
_LEDGERS_A_CALL = 500
_BUCKETS_A_CALL = 64


class StateDigest(NamedTuple):
    """What a state at rest amounts to.

    Attributes:
        state: digest of the ledgers, 64 hexadecimal digits.
        statistics: digest of the item statistics, 64 hexadecimal digits.
        users: number of ledgers.
        events: ratings applied, over all users.
    """

    state: str
    statistics: str
    users: int
    events: int


def state_digest(client: Any, settings: Settings, item_ids: Iterable[str]) -> StateDigest:
    """Return the digest of the live generation of every shard; nothing may be applied meanwhile.

    Args:
        client: a blocking client of the store.
        settings: namespace and number of shards.
        item_ids: every id that was ever rated, from catalogue or log; others may be among them.

    Raises:
        StreamrecError: an item of the state is not among ``item_ids``.
        StoreUnavailable: the store did not answer.
        LedgerError: a ledger cannot be read.
    """
    names = {hash_id(item_id): item_id for item_id in item_ids}
    return generation_digest(client, live_shards(client, settings), names)


def generation_digest(client: Any, shards: list[ShardKeys], names: Mapping[int, str]) -> StateDigest:
    """Return the digest of one generation, as :func:`state_digest` does of the live one.

    Args:
        client: a blocking client of the store.
        shards: the keys of each of its shards.
        names: item ids by hash.
    """
    totals = [0, 0]
    with as_unavailable():
        state = digest(_user_lines(client, shards, names, totals))
        statistics = digest(_statistics_lines(client, shards, names))
    return StateDigest(state, statistics, *totals)


def _user_lines(client: Any, shards: list[ShardKeys], names: Mapping[int, str], totals: list[int]) -> Iterator[str]:
    for keys, found in _ledger_keys(client, shards).items():
        for first in range(0, len(found), _LEDGERS_A_CALL):
            batch = found[first : first + _LEDGERS_A_CALL]
            for key, value in zip(batch, client.mget(batch), strict=True):
                if value is None:
                    continue
                user_id = keys.user_of(key)
                ledger = unpack(value)
                totals[0] += 1
                totals[1] += ledger.t
                try:
                    yield user_line(user_id, ledger, names)
                except KeyError as error:
                    raise _unknown_item(f"user {user_id!r} rated", error.args[0], len(names)) from None


def _ledger_keys(client: Any, shards: list[ShardKeys]) -> dict[ShardKeys, list[str]]:
    """Return the ledgers' keys by shard; one SCAN finds those of all, perhaps more than once."""
    owners = {keys.ledger(""): keys for keys in shards}
    found: dict[ShardKeys, set[str]] = {keys: set() for keys in shards}
    pattern = f"{{{shards[0].namespace}:*}}:g*:user:*"
    for raw in client.scan_iter(match=pattern, count=_SCAN_COUNT):
        key = raw.decode()
        prefix = key[: key.index(":user:") + len(":user:")]
        if prefix in owners:
            found[owners[prefix]].add(key)
    return {keys: sorted(users) for keys, users in found.items()}


def _statistics_lines(client: Any, shards: list[ShardKeys], names: Mapping[int, str]) -> Iterator[str]:
    for first in range(0, STATISTICS_BUCKETS, _BUCKETS_A_CALL):
        counts: dict[int, int] = {}
        sums: dict[int, int] = {}
        for keys in shards:
            pipe = client.pipeline(transaction=False)
            for bucket in range(first, first + _BUCKETS_A_CALL):
                pipe.hgetall(keys.statistics(bucket))
            for content in pipe.execute():
                for field, value in content.items():
                    target = counts if field[8:] == b"c" else sums
                    item = int.from_bytes(field[:8], "little")
                    target[item] = target.get(item, 0) + int(value)
        for item, count in counts.items():
            if item not in names:
                raise _unknown_item("the item statistics have", item, len(names))
            yield statistics_line(names[item], count, sums.get(item, 0))


def _unknown_item(whose: str, item: int, known: int) -> StreamrecError:
    return StreamrecError(
        f"{whose} the item with hash {item}, which is none of the {known} ids given: "
        "give the ids of the whole log, not of the catalogue alone (`streamrec state digest --from-log`)"
    )
