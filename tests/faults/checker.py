"""Recomputes every field of every user from the acknowledged records; shares nothing with the worker's fold."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from xxhash import xxh64_intdigest

from recommender.ledger import Ledger, unpack
from streams.store.keys import STATISTICS_BUCKETS, ShardKeys
from tests.faults.book import QUANTUM, Book, Message

WINDOW, KEPT = 64, 32
TOLERANCE = 1e-9
MOST_SHOWN = 5

Place = tuple[int, int, Message]


def without_repeats(events: Sequence[Place]) -> list[Place]:
    """Leave out events whose event_id is among the newest events kept as they come: 64, then 32 when there are more."""
    taken, window = [], []
    for place in events:
        event_id = place[2].event_id
        if event_id is not None and event_id in window:
            continue
        taken.append(place)
        window.append(event_id)
        if len(window) > WINDOW:
            window = window[-KEPT:]
    return taken


def expected_users(book: Book) -> dict[str, list[Place]]:
    """Return what must be applied of each user, each partition in order."""
    return {user_id: without_repeats(events) for user_id, events in book.user_events().items()}


def stored_entries(ledger: Ledger) -> dict[int, list[int]]:
    """Return [count, last_t, sum] of each item hash, from base and tail."""
    found = {int(e["item"]): [int(e["count"]), int(e["last_t"]), int(e["rating_sum"])] for e in ledger.base}
    for t, event in enumerate(ledger.tail, ledger.t - len(ledger.tail)):
        entry = found.setdefault(int(event["item"]), [0, 0, 0])
        entry[0] += 1
        entry[1] = t
        entry[2] += int(event["rating"])
    return found


def user_faults(user_id: str, ledger: Ledger | None, events: Sequence[Place], vectors: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with one user."""
    if ledger is None:
        return [f"{user_id}: lost, {len(events)} events"]
    faults = []
    if ledger.t != len(events):
        verb = "lost" if ledger.t < len(events) else "doubled"
        faults.append(f"{user_id}: {verb} {abs(ledger.t - len(events))} of {len(events)} events (t is {ledger.t})")
    found, expected = stored_entries(ledger), {}
    for t, (_, _, message) in enumerate(events):
        entry = expected.setdefault(xxh64_intdigest(message.item_id.encode()), [0, 0, 0])
        entry[0] += 1
        entry[1] = t
        entry[2] += message.rating
    is_ordered = len({partition for partition, _, _ in events}) == 1
    if not is_ordered:
        faults += _last_t_faults(user_id, found, len(events))
    for table in (found, expected) if not is_ordered else ():
        for entry in table.values():
            entry[1] = 0
    if found != expected:
        faults.append(f"{user_id}: counts, last_t or sums differ")
    faults += _mean_faults(user_id, ledger, events, vectors)
    return faults + _tail_faults(user_id, ledger, events, is_ordered)


def _last_t_faults(user_id: str, found: Mapping[int, list[int]], events: int) -> list[str]:
    """In any interleaving every last_t is another number below t, and the greatest is t - 1."""
    times = [entry[1] for entry in found.values()]
    if len(set(times)) == len(times) and max(times, default=-1) == events - 1:
        return []
    return [f"{user_id}: last_t belongs to no interleaving"]


def _mean_faults(user_id: str, ledger: Ledger, events: Sequence[Place], vectors: Mapping[str, Any]) -> list[str]:
    mean = [0.0] * len(ledger.mean)
    for _, _, message in events:
        for d, x in enumerate(vectors.get(message.item_id, ())):
            mean[d] += message.rating / QUANTUM * float(x) / len(events)
    worst = max((abs(a - float(b)) for a, b in zip(mean, ledger.mean, strict=True)), default=0.0)
    return [] if worst <= TOLERANCE else [f"{user_id}: the mean is off by {worst:.3g}"]


def _tail_faults(user_id: str, ledger: Ledger, events: Sequence[Place], is_ordered: bool) -> list[str]:
    if not is_ordered or ledger.t != len(events):
        return []
    tail = [(int(event["item"]), int(event["rating"])) for event in ledger.tail]
    newest = [(xxh64_intdigest(m.item_id.encode()), m.rating) for _, _, m in events[len(events) - len(tail) :]]
    faults = [] if tail == newest else [f"{user_id}: the tail is not the newest events"]
    partition, offset, _ = events[-1]
    if ledger.last is None or (ledger.last.partition, ledger.last.offset) != (partition, offset):
        faults.append(f"{user_id}: the last event applied is {ledger.last}, not {partition}/{offset}")
    return faults


def state_faults(
    store: Any, namespace: str, shards: int, book: Book, vectors: Mapping[bytes, Mapping[str, Any]]
) -> list[str]:
    """Return everything that is wrong with ledgers and item statistics; ``vectors`` are by release and item."""
    expected, faults, seen = expected_users(book), [], set()
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for shard in range(shards):
        keys = ShardKeys(namespace, shard, int(store.get(ShardKeys(namespace, shard).live_generation) or 1))
        stored = {keys.user_of(key.decode()): key for key in store.scan_iter(match=keys.ledger_pattern(), count=1000)}
        for user_id, key in stored.items():
            seen.add(user_id)
            ledger = unpack(store.get(key))
            if ledger.embedding_id not in vectors:
                faults.append(f"{user_id}: the mean is of no release that was published")
                continue
            faults += user_faults(user_id, ledger, expected.get(user_id, ()), vectors[ledger.embedding_id])
        for bucket in range(STATISTICS_BUCKETS):
            for name, value in store.hgetall(keys.statistics(bucket)).items():
                (counts if name[8:] == b"c" else sums)[int.from_bytes(name[:8], "little")] += int(value)
    for user_id in expected.keys() - seen:
        faults += user_faults(user_id, None, expected[user_id], {})
    return faults + _statistics_faults(expected, counts, sums)


def _statistics_faults(expected: Mapping[str, list[Place]], counts: Counter[int], sums: Counter[int]) -> list[str]:
    right_counts: Counter[int] = Counter()
    right_sums: Counter[int] = Counter()
    for events in expected.values():
        for _, _, message in events:
            item = xxh64_intdigest(message.item_id.encode())
            right_counts[item] += 1
            right_sums[item] += message.rating
    faults = []
    if counts != right_counts:
        faults.append(f"item statistics count {counts.total()} events, not {right_counts.total()}")
    if sums != right_sums:
        faults.append("sums of item statistics differ")
    return faults


def letter_faults(records: Sequence[Any], topic_id: str, book: Book) -> list[str]:
    """Return what is wrong with the dead letters: each bad record under its key, verbatim, and none beside them."""
    expected = {f"{topic_id}/{p}/{o}".encode(): message for (p, o), message in book.bad().items()}
    found = {record.key: record for record in records}
    faults = [f"dead letter {key!r} is lost" for key in expected.keys() - found.keys()]
    faults += [f"dead letter {key!r} is of no bad record" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        message, record = expected[key], found[key]
        if record.value != message.value or dict(record.headers)["streamrec-reason"] != message.reason.encode():
            faults.append(f"dead letter {key!r} is not what was refused, or why")
    return faults
