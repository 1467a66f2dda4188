"""A Faust agent that takes up to 500 events, reads by one pipeline, folds them, and writes by one pipeline."""

import sys

import faust
import redis.asyncio

from benchmarks.ingest_sides.faust_app import Rating, make_app, run
from benchmarks.ingest_sides.progress import Progress
from benchmarks.ingest_sides.rated import add_to_item, add_to_user

MOST = 500
WITHIN_S = 0.1


def main(servers: str, redis_url: str, topic: str, name: str, events: str) -> None:
    """Apply ``events`` of a topic's records."""
    app = make_app(name, servers)
    client = redis.asyncio.Redis.from_url(redis_url)
    progress = Progress(int(events))
    ratings = app.topic(topic, value_type=Rating)

    @app.agent(ratings)
    async def apply(stream: faust.Stream) -> None:
        async for taken in stream.take(MOST, within=WITHIN_S):
            user_keys = list({f"{name}:user:{rating.user_id}" for rating in taken})
            item_ids = list({rating.item_id for rating in taken})
            stored = await client.pipeline(transaction=False).mget(user_keys).hmget(f"{name}:items", item_ids).execute()
            users = dict(zip(user_keys, stored[0], strict=True))
            items = dict(zip(item_ids, stored[1], strict=True))
            for rating in taken:
                key, item_id = f"{name}:user:{rating.user_id}", rating.item_id
                users[key] = add_to_user(users[key], item_id, rating.rating)
                items[item_id] = add_to_item(items[item_id], rating.rating)
            await client.pipeline(transaction=False).mset(users).hset(f"{name}:items", mapping=items).execute()
            progress.add(len(taken))

    run(app)


if __name__ == "__main__":
    main(*sys.argv[1:])
