"""Bare aiokafka: getmany(), nothing decoded, nothing applied."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer

from benchmarks.ingest_sides.progress import GROUP_HEARTBEAT_MS, GROUP_SESSION_MS, Progress


async def _consume(servers: str, topic: str, name: str, events: int) -> None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=name,
        auto_offset_reset="earliest",
        session_timeout_ms=GROUP_SESSION_MS,
        heartbeat_interval_ms=GROUP_HEARTBEAT_MS,
    )
    await consumer.start()
    try:
        progress = Progress(events)
        while not progress.is_over:
            found = await consumer.getmany(timeout_ms=500, max_records=2048)
            if found:
                progress.add(sum(map(len, found.values())))
    finally:
        await consumer.stop()


def main(servers: str, _: str, topic: str, name: str, events: str) -> None:
    """Read ``events`` of a topic's records."""
    asyncio.run(_consume(servers, topic, name, int(events)))


if __name__ == "__main__":
    main(*sys.argv[1:])
