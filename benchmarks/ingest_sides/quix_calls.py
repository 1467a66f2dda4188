"""Quix Streams with the state in Redis as the plain agent has it; runs in an environment of its own."""

import sys
import tempfile
from typing import Any

import redis
from quixstreams import Application

from benchmarks.ingest_sides.progress import GROUP_HEARTBEAT_MS, GROUP_SESSION_MS, Progress
from benchmarks.ingest_sides.rated import add_to_item, add_to_user


def main(servers: str, redis_url: str, topic: str, name: str, events: str) -> None:
    """Apply ``events`` of a topic's records."""
    client = redis.Redis.from_url(redis_url)
    progress = Progress(int(events))
    app = Application(
        servers,
        consumer_group=name,
        auto_offset_reset="earliest",
        consumer_extra_config={"session.timeout.ms": GROUP_SESSION_MS, "heartbeat.interval.ms": GROUP_HEARTBEAT_MS},
        state_dir=tempfile.mkdtemp(prefix="streamrec-bench-"),
        loglevel="WARNING",
    )

    def apply(rating: dict[str, Any]) -> None:
        user_key, item_id = f"{name}:user:{rating['user_id']}", rating["item_id"]
        user = add_to_user(client.get(user_key), item_id, rating["rating"])
        item = add_to_item(client.hget(f"{name}:items", item_id), rating["rating"])
        client.set(user_key, user)
        client.hset(f"{name}:items", item_id, item)
        progress.add()

    app.dataframe(app.topic(topic, value_deserializer="json")).update(apply)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
