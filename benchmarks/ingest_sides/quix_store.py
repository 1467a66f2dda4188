"""Quix Streams in its own idiom: the user's state in its state store with a changelog, and its sink to Redis.

Item statistics are left out: Quix keys its state by the record's key, so they would take another topic, repartitioned
by item. Runs in an environment of its own.
"""

import sys
import tempfile
from typing import Any
from urllib.parse import urlsplit

from quixstreams import Application, State
from quixstreams.sinks.base import SinkBatch
from quixstreams.sinks.community.redis import RedisSink

from benchmarks.ingest_sides.progress import GROUP_HEARTBEAT_MS, GROUP_SESSION_MS, Progress


class CountingSink(RedisSink):
    """The sink, which counts what it has written."""

    def __init__(self, progress: Progress, **where: Any) -> None:
        super().__init__(db=0, **where)
        self._progress = progress

    def write(self, batch: SinkBatch) -> None:
        """Write a batch of one partition."""
        super().write(batch)
        self._progress.add(batch.size)


def _add(rating: dict[str, Any], state: State) -> dict[str, Any]:
    """Return the user's state with one more rating."""
    user = state.get("user", {"t": 0, "items": {}})
    t, items = user["t"], user["items"]
    count, _, rating_sum = items.get(rating["item_id"], (0, 0, 0.0))
    items[rating["item_id"]] = [count + 1, t, rating_sum + rating["rating"]]
    user["t"] = t + 1
    state.set("user", user)
    return user


def main(servers: str, redis_url: str, topic: str, name: str, events: str) -> None:
    """Apply ``events`` of a topic's records."""
    where = urlsplit(redis_url)
    app = Application(
        servers,
        consumer_group=name,
        auto_offset_reset="earliest",
        consumer_extra_config={"session.timeout.ms": GROUP_SESSION_MS, "heartbeat.interval.ms": GROUP_HEARTBEAT_MS},
        state_dir=tempfile.mkdtemp(prefix="streamrec-bench-"),
        commit_interval=1.0,
        loglevel="WARNING",
    )
    progress = Progress(int(events))

    def add(rating: dict[str, Any], state: State) -> dict[str, Any]:
        progress.begin()
        return _add(rating, state)

    sink = CountingSink(
        progress,
        host=where.hostname,
        port=where.port,
        key_serializer=lambda key, _: f"{name}:user:{key.decode()}",
    )
    app.dataframe(app.topic(topic, value_deserializer="json")).apply(add, stateful=True).sink(sink)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
