"""How much of the log a worker holds before it is applied."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.structs import TopicPartition

from streams.bus.clients import make_producer
from streams.worker.app import make_app
from streams.worker.transport import FETCHED_BYTES, RESPONSE_BYTES, WorkerConsumerThread, bytes_a_partition

pytestmark = pytest.mark.integration

PARTITIONS = 3
RECORD_BYTES = 50_000
RECORDS = 150
BATCH_BYTES = 256 * 1024 + 1024


@pytest.fixture
def filled(topics):
    """Settings whose ratings topic has seven megabytes in each of three partitions."""
    producer = make_producer(topics)
    for n in range(PARTITIONS * RECORDS):
        producer.send(topics.topic("ratings"), bytes(RECORD_BYTES), partition=n % PARTITIONS)
    producer.flush(30)
    producer.close()
    return topics


def test_what_waits_to_be_applied_is_bounded_by_the_share_of_each_partition(filled, broker, tmp_path):
    share = bytes_a_partition(128) if "kafka" in broker.name else RESPONSE_BYTES
    tps = [TopicPartition(filled.topic("ratings"), partition) for partition in range(PARTITIONS)]

    async def scenario():
        thread = SimpleNamespace(app=make_app(filled, str(tmp_path)), run=lambda work: work)
        client = WorkerConsumerThread._create_worker_consumer(thread, SimpleNamespace(settings=filled))
        thread.client = client
        await client.start()
        try:
            await WorkerConsumerThread.share_fetches(thread, 128)
            client.assign(tps)
            for tp in tps:
                client.seek(tp, 0)
            held, taken = [], 0
            async with asyncio.timeout(60):
                while taken < PARTITIONS * RECORDS:
                    for tp in tps:
                        taken += len(await WorkerConsumerThread.fetch(thread, tp, 1, 0.5))
                        held.append(_held_bytes(client))
            return held
        finally:
            await client.stop()

    held = asyncio.run(scenario())
    assert 0 < max(held) <= PARTITIONS * (share + BATCH_BYTES)


def _held_bytes(client) -> int:
    """Bytes of the fetched pieces that were not taken to their end."""
    held = 0
    for piece in client._fetcher._records.values():
        records = piece._partition_records
        held += 0 if records is None else records._records.size_in_bytes()
    return held


@pytest.mark.parametrize("partitions", [1, 64, 65, 1000, 1024])
def test_all_partitions_together_hold_no_more_than_one_bound(partitions):
    assert partitions * bytes_a_partition(partitions) <= FETCHED_BYTES
