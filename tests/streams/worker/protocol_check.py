"""Compares what a shard holds with the model at the shard's own watermarks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis
from xxhash import xxh64_intdigest

from recommender.ledger import Ledger, unpack
from streams.store.keys import ShardKeys
from streams.store.writer import DELTA, DELTA_TOKEN_BYTES
from tests.faults.book import QUANTUM
from tests.faults.checker import TOLERANCE, stored_entries
from tests.streams.worker.protocol_model import (
    Log,
    Table,
    User,
    expected_redriven,
    expected_users,
)
from tests.streams.worker.protocol_stage import TOPIC_ID

Statistics = dict[int, tuple[int, int]]


@dataclass(slots=True)
class Stored:
    """What a shard holds."""

    marks: list[int]
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=dict)
    followed: Statistics = field(default_factory=dict)
    redriven: set[bytes] = field(default_factory=set)
    sequence: int = 0
    newest_delta: int = 0


def hash_of(item_id: str) -> int:
    return xxh64_intdigest(item_id.encode())


def read_shard(client: redis.Redis, namespace: str, shard: int, partitions: int) -> Stored:
    """Return everything a shard holds, the statistics also as a follower of the deltas would have them."""
    keys = ShardKeys(namespace, shard)
    names = client.keys(f"{keys.root}:*")
    users = [name for name in names if name.startswith(keys.ledger("").encode())]
    buckets = [name for name in names if b":items:" in name]
    with client.pipeline(transaction=False) as pipe:
        for partition in range(partitions):
            pipe.get(keys.watermark(TOPIC_ID, partition))
        for name in users:
            pipe.get(name)
        for name in buckets:
            pipe.hgetall(name)
        pipe.smembers(keys.redriven).get(keys.sequence).xrange(keys.deltas)
        answers = iter(pipe.execute())
    stored = Stored([int(mark.split()[0]) if (mark := next(answers)) else 0 for _ in range(partitions)])
    stored.ledgers = {keys.user_of(name.decode()): unpack(next(answers)) for name in users}
    changes: Counter[tuple[int, bytes]] = Counter()
    for _ in buckets:
        changes.update({(int.from_bytes(f[:8], "little"), f[8:]): int(n) for f, n in next(answers).items()})
    stored.statistics = {item: (n, changes[item, b"s"]) for (item, kind), n in changes.items() if kind == b"c" and n}
    stored.redriven, sequence, deltas = next(answers), next(answers), next(answers)
    stored.sequence = int(sequence or 0)
    stored.newest_delta = int(deltas[-1][0].split(b"-")[0]) if deltas else 0
    stored.followed = _followed(deltas)
    return stored


def _followed(deltas: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> Statistics:
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for _, fields in deltas:
        for item, count, rating_sum in np.frombuffer(fields[b"d"][DELTA_TOKEN_BYTES:], DELTA).tolist():
            counts[item] += count
            sums[item] += rating_sum
    return {item: (count, sums[item]) for item, count in counts.items() if count}


def shard_faults(stored: Stored, log: Log, homes: Mapping[str, int | None], vectors: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a shard whose users have these homes."""
    users = expected_users(log, stored.marks, homes)
    faults = [f"{user_id}: {fault}" for user_id, user in users.items() for fault in _user_faults(
        user, stored.ledgers.get(user_id), vectors)]  # fmt: skip
    faults += [f"{user_id}: must not be there" for user_id in stored.ledgers.keys() - users.keys()]
    right = Counter[int](), Counter[int]()
    for user_id, user in users.items():
        table = Table.of(user.events)
        found = {hash_of(item): entry for item, entry in table.entries.items()}
        if user.is_open:
            found = stored_entries(stored.ledgers[user_id]) if user_id in stored.ledgers else {}
        for item, (count, _, rating_sum) in found.items():
            right[0][item] += count
            right[1][item] += rating_sum
    expected = {item: (count, right[1][item]) for item, count in right[0].items()}
    if stored.statistics != expected:
        faults.append(f"the item statistics are {stored.statistics}, not {expected}")
    if stored.followed != expected:
        faults.append(f"a follower of the deltas has {stored.followed}, not {expected}")
    if stored.sequence != stored.newest_delta:
        faults.append(f"the newest delta is {stored.newest_delta}, the sequence says {stored.sequence}")
    if stored.redriven != (marks := expected_redriven(log, stored.marks, homes)):
        faults.append(f"the redrive marks are {stored.redriven}, not {marks}")
    return [f"at {stored.marks}: {fault}" for fault in faults]


def _user_faults(user: User, ledger: Ledger | None, vectors: Mapping[str, Any]) -> list[str]:
    if user.is_open:
        return []
    if ledger is None:
        return [f"lost, {len(user.events)} events"]
    faults = []
    if ledger.t != len(user.events):
        faults.append(f"t is {ledger.t}, not {len(user.events)}")
    found = stored_entries(ledger)
    expected = {hash_of(item): entry for item, entry in Table.of(user.events).entries.items()}
    times = [entry[1] for entry in found.values()]
    if user.is_ordered:
        newest = [
            (hash_of(said.item_id), said.rating) for _, _, said in user.events[len(user.events) - len(ledger.tail) :]
        ]
        if [(int(event["item"]), int(event["rating"])) for event in ledger.tail] != newest:
            faults.append("the tail is not the newest events")
        if ledger.last is None or (ledger.last.partition, ledger.last.offset) != user.events[-1][:2]:
            faults.append(f"the last event is {ledger.last}, not {user.events[-1][:2]}")
    else:
        if len(set(times)) != len(times) or max(times, default=-1) != len(user.events) - 1:
            faults.append(f"no interleaving has the last_t {times}")
        for entry in (*found.values(), *expected.values()):
            entry[1] = 0
    if found != expected:
        faults.append(f"the entries are {found}, not {expected}")
    return faults + _mean_faults(user, ledger, vectors)


def _mean_faults(user: User, ledger: Ledger, vectors: Mapping[str, Any]) -> list[str]:
    mean, unembedded = [0.0] * len(ledger.mean), 0
    for _, _, said in user.events:
        unembedded += said.item_id not in vectors
        for d, x in enumerate(vectors.get(said.item_id, ())):
            mean[d] += said.rating / QUANTUM * x / len(user.events)
    faults = [] if ledger.unembedded == unembedded else [f"unembedded is {ledger.unembedded}, not {unembedded}"]
    if any(abs(a - float(b)) > TOLERANCE for a, b in zip(mean, ledger.mean, strict=True)):
        faults.append(f"the mean is {ledger.mean.tolist()}, not {mean}")
    return faults
