"""A plain Faust agent: one event at a time by faust.Record, and GET, HGET, SET, HSET, a round trip each."""

import sys

import faust
import redis.asyncio

from benchmarks.ingest_sides.faust_app import Rating, make_app, run
from benchmarks.ingest_sides.progress import Progress
from benchmarks.ingest_sides.rated import add_to_item, add_to_user


def main(servers: str, redis_url: str, topic: str, name: str, events: str) -> None:
    """Apply ``events`` of a topic's records."""
    app = make_app(name, servers)
    client = redis.asyncio.Redis.from_url(redis_url)
    progress = Progress(int(events))
    ratings = app.topic(topic, value_type=Rating)

    @app.agent(ratings)
    async def apply(stream: faust.Stream) -> None:
        async for rating in stream:
            user_key, item_id = f"{name}:user:{rating.user_id}", rating.item_id
            user = add_to_user(await client.get(user_key), item_id, rating.rating)
            item = add_to_item(await client.hget(f"{name}:items", item_id), rating.rating)
            await client.set(user_key, user)
            await client.hset(f"{name}:items", item_id, item)
            progress.add()

    run(app)


if __name__ == "__main__":
    main(*sys.argv[1:])
