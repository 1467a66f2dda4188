"""Every ledger of the state, a bounded number at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from redis import exceptions

from recommender.hashing import hash_ids
from recommender.ledger import Ledger, unpack
from schemas.errors import StoreUnavailable
from streams.settings import Settings
from streams.store.generations import Generation, read_generation
from streams.store.keys import ShardKeys

_SCAN_COUNT = 2000
_LEDGERS_A_CALL = 200
_USERS_A_BATCH = 20_000


def live_shards(client: Any, settings: Settings) -> list[ShardKeys]:
    """Return the keys of every shard of the live generation."""
    live = read_generation(client, settings.namespace, settings.shards) or Generation(1, settings.shards)
    return live.all_keys(settings.namespace)


def every_ledger(client: Any, settings: Settings) -> Iterator[tuple[str, Ledger]]:
    """Yield every user of the live generation with the ledger, as :func:`ledgers_of` does."""
    yield from ledgers_of(client, live_shards(client, settings))


def ledgers_of(client: Any, shards: Sequence[ShardKeys]) -> Iterator[tuple[str, Ledger]]:
    """Yield every user of a generation with the ledger, once, in no order; each as it is when it is read.

    It takes eight bytes a user, to tell those that SCAN names twice.

    Raises:
        StoreUnavailable: the store did not answer.
        LedgerError: a ledger cannot be read.
    """
    try:
        owners = {keys.ledger(""): keys for keys in shards}
        pattern = f"{{{shards[0].namespace}:*}}:g*:user:*"
        seen = np.empty(0, np.uint64)
        batch: dict[str, ShardKeys] = {}
        for raw in client.scan_iter(match=pattern, count=_SCAN_COUNT):
            key = raw.decode()
            owner = owners.get(key[: key.index(":user:") + len(":user:")])
            if owner is not None:
                batch[key] = owner
            if len(batch) >= _USERS_A_BATCH:
                seen, fresh = _drop_seen(seen, batch)
                yield from _read(client, fresh)
                batch = {}
        yield from _read(client, _drop_seen(seen, batch)[1])
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise StoreUnavailable(f"the store did not answer: {error}") from error


def _drop_seen(seen: np.ndarray, batch: dict[str, ShardKeys]) -> tuple[np.ndarray, dict[str, ShardKeys]]:
    hashes = hash_ids(batch)
    is_new = np.isin(hashes, seen, invert=True)
    fresh = {key: keys for (key, keys), new in zip(batch.items(), is_new.tolist(), strict=True) if new}
    return np.union1d(seen, hashes), fresh


def _read(client: Any, batch: dict[str, ShardKeys]) -> Iterator[tuple[str, Ledger]]:
    for keys in sorted(set(batch.values()), key=lambda keys: keys.shard):
        found = [key for key, owner in batch.items() if owner == keys]
        for first in range(0, len(found), _LEDGERS_A_CALL):
            yield from _read_call(client, keys, found[first : first + _LEDGERS_A_CALL])


def _read_call(client: Any, keys: ShardKeys, found: Sequence[str]) -> Iterator[tuple[str, Ledger]]:
    for key, value in zip(found, client.mget(found), strict=True):
        if value is not None:
            yield keys.user_of(key), unpack(value)
