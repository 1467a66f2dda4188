"""What the doctor asks of Redis: the server, its clock, and the state in it."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from redis import RedisCluster, exceptions

from schemas.errors import StoreUnavailable
from services.admin.findings import Finding, Status
from services.admin.ledgers import live_shards
from streams.bus.topics import TopicInfo
from streams.settings import Settings
from streams.store.calls import as_unavailable
from streams.store.clients import make_client, without_password
from streams.store.generations import scale_line
from streams.store.keys import ShardKeys
from streams.store.reader import ShardView, StateReader, merge_watermarks

MIN_VERSION = 7
FULL_SHARE = 0.9
SKEW_WARN_S = 0.5
SKEW_FAIL_S = 5.0
"""As long as a request may wait by default: beyond it, every request looks late."""
STALE_MS = 10_000
"""Workers touch their watermarks at least every second, so that an older one has no worker."""


def open_store(settings: Settings) -> Any:
    """Return a client of a store that answers.

    Raises:
        ConfigurationError: the URL is not one of Redis.
        StoreUnavailable: no answer, or it wants another password.
    """
    client = None
    try:
        client = make_client(settings)
        client.ping()
    except (exceptions.RedisError, OSError) as error:
        if client is not None:
            client.close()
        raise StoreUnavailable(f"no Redis answers at {without_password(settings.redis_url)}: {error}") from error
    return client


def check_store(client: Any) -> Iterator[Finding]:
    """Yield a finding for each server: version, eviction, memory."""
    if not isinstance(client, RedisCluster):
        info = client.info()
        yield judge_store("store", info)
        if info.get("redis_mode") == "cluster":
            yield Finding("store", "fail", "the server is part of a cluster", "use a redis+cluster:// URL")
        return
    primaries: list[Any] = client.get_primaries()  # type: ignore[no-untyped-call]
    for node in primaries:
        yield judge_store(f"store {node.name}", client.get_redis_connection(node).info())


def judge_store(check: str, info: Mapping[str, Any]) -> Finding:
    """Return what a server's INFO means for us."""
    name = info.get("server_name", "redis")
    shown = info.get("valkey_version", info.get("redis_version"))
    version = str(info.get("redis_version", "0"))
    if int(version.split(".", maxsplit=1)[0]) < MIN_VERSION:
        return Finding(check, "fail", f"{name} {shown}", f"use Redis {MIN_VERSION} or newer, or Valkey")
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = info.get("maxmemory_policy", "noeviction")
    room = f"{limit / 2**20:.0f} MiB" if limit else "no limit"
    says = f"{name} {shown}, {policy}, {used / 2**20:.0f} MiB used of {room}"
    if policy != "noeviction":
        return Finding(
            check, "fail" if limit else "warn", says, "set maxmemory-policy noeviction, or ledgers are thrown away"
        )
    if limit and used > FULL_SHARE * limit:
        return Finding(check, "warn", says, "raise maxmemory, or the worker stops when it is full")
    return Finding(check, "ok", says)


def check_clock(client: Any, clock: Callable[[], float] = time.time) -> Finding:
    """Return how far this machine's clock is from the store's."""
    before = clock()
    seconds, micros = client.time() if not isinstance(client, RedisCluster) else client.time(target_nodes="random")
    after = clock()
    skew_s = seconds + micros / 1e6 - (before + after) / 2
    says = f"the store's is {abs(skew_s) * 1000:.0f} ms {'ahead of' if skew_s > 0 else 'behind'} this machine's"
    excess_s = abs(skew_s) - (after - before) / 2
    if excess_s < SKEW_WARN_S:
        return Finding("clock", "ok", says)
    status: Status = "fail" if excess_s >= SKEW_FAIL_S else "warn"
    return Finding("clock", status, says, "synchronise both by NTP: deadlines and ages are wrong by as much")


def check_state(client: Any, settings: Settings, topic: TopicInfo, ends: Mapping[int, int]) -> Iterator[Finding]:
    """Yield what of the state does not fit the log: its topic, and where its watermarks are.

    Args:
        client: a client of the store.
        settings: namespace and number of shards.
        topic: the ratings topic.
        ends: its end offset by partition.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    made_from = _written_in_shards(client, settings, lambda keys: keys.topic)
    if not made_from:
        yield Finding("state", "warn", "nothing was applied yet", "run `streamrec worker`")
        return
    if made_from != {topic.topic_id}:
        yield Finding(
            "state",
            "fail",
            f"it was made from topic id {', '.join(sorted(made_from))}, {topic.name!r} has id {topic.topic_id}",
            f"use the right broker or store; a topic made again on purpose: `streamrec worker --accept-topic-id "
            f"{topic.topic_id}`",
        )
        return
    expected = scale_line(settings.rating_scale, len(live_shards(client, settings)))
    other = sorted(_written_in_shards(client, settings, lambda keys: keys.scale) - {expected})
    if other:
        says = f"it was made with {other[0]}, the settings say {expected}"
        yield Finding(
            "state",
            "fail",
            says,
            "set rating_min, rating_max and shards as they were, or the worker halts; `streamrec state rebuild` makes "
            "it anew in other shards",
        )
        return
    reader = StateReader(client, settings.namespace, settings.shards, topic.topic_id, topic.partitions)
    yield judge_watermarks(reader.read([], all_shards=True).shards, ends)


def judge_watermarks(shards: Mapping[int, ShardView], ends: Mapping[int, int]) -> Finding:
    """Return what the watermarks mean beside the ends of the log."""
    marks = merge_watermarks(shards)
    beyond = {partition: mark for partition, mark in marks.items() if mark > ends.get(partition, 0)}
    if beyond:
        partition, mark = min(beyond.items())
        says = f"partition {partition} ends at {ends.get(partition, 0)}, the state is at {mark}"
        return Finding("state", "fail", says, "the state was made from another log: use the right broker or store")
    lag = sum(end - marks.get(partition, 0) for partition, end in ends.items())
    age_ms = max((view.age_ms for view in shards.values() if view.age_ms is not None), default=None)
    says = f"{sum(marks.values())} of {sum(ends.values())} offsets done, {lag} to go"
    if age_ms is None or age_ms > STALE_MS or len(marks) < len(ends):
        since = "no watermark" if age_ms is None else f"watermarks are {age_ms / 1000:.0f} s old"
        return Finding("state", "warn", f"{says}; {since}", "run `streamrec worker`")
    return Finding("state", "ok", f"{says}; watermarks are {age_ms:.0f} ms old")


def _written_in_shards(client: Any, settings: Settings, key_of: Callable[[ShardKeys], str]) -> set[str]:
    """Return the different values that one key has in the shards of the state."""
    found = set()
    with as_unavailable():
        for keys in live_shards(client, settings):
            value = client.get(key_of(keys))
            if value is not None:
                found.add(value.decode())
    return found
