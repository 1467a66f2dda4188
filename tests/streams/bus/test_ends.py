"""The end of a log."""

import pytest
from kafka import TopicPartition

from streams.bus.clients import make_consumer, make_producer
from streams.bus.ends import find_ends

pytestmark = pytest.mark.integration


def test_end_of_each_partition_is_one_past_its_last_record(topics):
    topic = topics.topic("ratings")
    producer = make_producer(topics, linger_ms=50)
    futures = [producer.send(topic, key=b"k", value=b"v", partition=0) for _ in range(100)]
    futures += [producer.send(topic, key=b"k", value=b"v", partition=2)]
    last = {record.partition: record.offset for record in (future.get(10) for future in futures)}
    producer.close()
    consumer = make_consumer(topics)
    try:
        ends = find_ends(consumer, [TopicPartition(topic, partition) for partition in range(4)])
    finally:
        consumer.close()
    assert {tp.partition: end for tp, end in ends.items()} == {0: last[0] + 1, 1: 0, 2: last[2] + 1, 3: 0}
    assert last == {0: 99, 2: 0}
