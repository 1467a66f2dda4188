"""Generations beside the live one: who moves them, the number of the next, and how one is dropped."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from schemas.errors import StreamrecError
from streams.settings import Settings
from streams.store.calls import as_unavailable, call_script
from streams.store.generations import Generation, read_generation, shards_of
from streams.store.keys import ShardKeys
from streams.store.scripts import LOOK
from streams.store.writer import Watermark

BUSY_MS = 5000
"""A worker refreshes its watermarks at least every second when idle; a longer batch keeps it from that."""
REBUILD_OWNER = "rebuild-"
"""How the owner of a fence begins that a rebuild has taken."""
PAST_SCALE = "as of "
"""How the scale of a state begins that is for looking at only: no worker and no scorer takes it for its own."""

_SCAN_COUNT = 2000
_KEYS_A_CALL = 200


def require_generation(client: Any, settings: Settings) -> Generation:
    """Return the live generation in the shards it has, whatever the settings say.

    Raises:
        StreamrecError: there is no state in this namespace.
        StoreUnavailable: the store did not answer.
    """
    live = read_generation(client, settings.namespace, settings.shards)
    if live is None:
        raise StreamrecError(
            f"the store holds no state in namespace {settings.namespace!r}: if it was emptied, `streamrec worker "
            "--rebuild` makes it anew from the log"
        )
    with as_unavailable():
        scale = client.get(live.keys(settings.namespace, 0).scale)
    return live if scale is None else Generation(live.number, shards_of(scale.decode()))


def require_idle(client: Any, keys: Iterable[ShardKeys], topic_id: str, partitions: int) -> None:
    """Refuse a generation whose watermarks a worker moves.

    Raises:
        StreamrecError: naming a partition and how long ago it moved.
        StoreUnavailable: the store did not answer.
    """
    for shard in keys:
        marks = [shard.watermark(topic_id, partition) for partition in range(partitions)]
        (_, _, *values), (seconds, micros) = call_script(client, LOOK, [shard.live_generation, shard.sequence, *marks])
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        for partition, value in enumerate(values):
            mark = None if value is None else Watermark.parse(value)
            if mark is None or mark.owner.startswith(REBUILD_OWNER) or now_ms - mark.stamp_ms > BUSY_MS:
                continue
            raise StreamrecError(
                f"a worker moved partition {partition} {(now_ms - mark.stamp_ms) / 1000:.1f} s ago, in shard "
                f"{shard.shard}: stop the workers of namespace {shard.namespace!r}, and run this again when their "
                f"last move is {BUSY_MS / 1000:g} s old"
            )


def next_number(client: Any, namespace: str, shards: int) -> int:
    """Return a number above that of every generation that is live or being built in any of some shards."""
    numbers = [0]
    with as_unavailable():
        for shard in range(shards):
            keys = ShardKeys(namespace, shard)
            numbers += [int(client.get(key) or 0) for key in (keys.live_generation, keys.building)]
    return max(numbers) + 1


def drop_generations(
    client: Any, settings: Settings, number: int | None = None, on_dropped: Callable[[int], None] = lambda _: None
) -> dict[int, int]:
    """Remove generations that are not live, some keys at a time; return how many keys each had.

    A rebuild that builds one of them is ended first, so that what is dropped cannot become live.

    Args:
        client: a blocking client of the store.
        settings: the namespace.
        number: the only one to remove; None for all that are not live.
        on_dropped: told how many keys were removed so far.

    Raises:
        StreamrecError: there is no live generation, or it is the one to remove.
        StoreUnavailable: the store did not answer; doing it again goes on.
    """
    live = require_generation(client, settings).number
    if number != live:
        _end_building(client, settings.namespace, number)
        live = require_generation(client, settings).number
    if number == live:
        raise StreamrecError(f"generation {live} is the live one: it cannot be dropped")
    pattern = re.compile(rf"^\{{{re.escape(settings.namespace)}:\d+\}}:g(\d+):")

    def dropped() -> Iterator[tuple[str, int]]:
        for key in _scan(client, f"{{{settings.namespace}:*}}:g*"):
            found = pattern.match(key)
            if found and int(found[1]) != live and number in (None, int(found[1])):
                yield key, int(found[1])

    return _unlink(client, dropped(), on_dropped)


def drop_past(client: Any, namespace: str, on_dropped: Callable[[int], None] = lambda _: None) -> int:
    """Remove a state that was made for looking at, some keys at a time; return how many keys it had.

    Raises:
        StreamrecError: what is in the namespace was not made for looking at; nothing was removed.
        StoreUnavailable: the store did not answer; doing it again goes on.
    """
    keys = list(_scan(client, f"{{{namespace}:*}}:*"))
    with as_unavailable():
        scale = client.get(ShardKeys(namespace, 0).scale) or b""
    if keys and not scale.startswith(PAST_SCALE.encode()):
        raise StreamrecError(
            f"namespace {namespace!r} holds {len(keys)} keys that are no past state made by `streamrec state rebuild "
            "--until`: it is left alone"
        )
    mark = ShardKeys(namespace, 0).scale  # goes last, so that an interrupted removal can be gone on with
    rest = ((key, 1) for key in [*(key for key in keys if key != mark), *(key for key in keys if key == mark)])
    return sum(_unlink(client, rest, on_dropped).values())


def _end_building(client: Any, namespace: str, number: int | None) -> None:
    for key in _scan(client, f"{{{namespace}:*}}:building"):
        with as_unavailable():
            if number is None or client.get(key) == str(number).encode():
                client.delete(key)


def _scan(client: Any, pattern: str) -> Iterator[str]:
    with as_unavailable():
        for raw in client.scan_iter(match=pattern, count=_SCAN_COUNT):
            yield raw.decode()


def _unlink(client: Any, keys: Iterable[tuple[str, int]], on_dropped: Callable[[int], None]) -> dict[int, int]:
    """Remove keys, those of one slot together; UNLINK frees their memory beside the store's work."""
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    counts: Counter[int] = Counter()
    with as_unavailable():
        for key, number in keys:
            root = key[: key.index("}")]
            waiting[root].append(key)
            if len(waiting[root]) >= _KEYS_A_CALL:
                client.unlink(*waiting.pop(root))
                on_dropped(counts.total())
            counts[number] += 1
        for left in waiting.values():
            client.unlink(*left)
    on_dropped(counts.total())
    return dict(counts)
