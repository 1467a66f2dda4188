"""Producer and reader of the freshness benchmark: what is sent when, where it then lies, and what a look sees."""

import doctest
from itertools import islice

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.protocol.producer import ProduceResponse
from redis import Redis

from benchmarks.ingest_sides import open_loop
from benchmarks.ingest_sides.log import PARTITIONS, LoggedRecord, keep_records, load_records
from benchmarks.ingest_sides.looks import look
from benchmarks.ingest_sides.open_loop import TICK_S, Connection, first_offsets, mix, ticks
from services.admin.bus import open_admin
from streams.bus.topics import create_topics


def test_the_example_of_ticks_gives_what_it_says():
    assert doctest.testmod(open_loop).failed == 0


@pytest.mark.parametrize(("rate", "events"), [(150_000.0, 30_000), (33_333.3, 9_999), (37.0, 20), (1 / TICK_S, 50)])
def test_each_event_goes_out_once_and_at_the_first_tick_after_it_is_due(rate, events):
    plan = list(ticks(rate, events))
    assert [tick.first for tick in plan] == [0, *(tick.end for tick in plan[:-1])]
    assert plan[-1].end == events
    for tick in plan:
        assert tick.at_s - TICK_S - 1e-9 <= tick.first / rate
        assert (tick.end - 1) / rate <= tick.at_s + 1e-9


def test_partitions_take_turns_and_begin_anew_at_the_end_of_their_records():
    log = [[LoggedRecord(offset, bytes([own, offset]), b"k") for offset in range(2 + own)] for own in range(2)]
    mixed = [(partition, tuple(record.value)) for partition, record in mix(log, 7)]
    assert mixed == [(0, (0, 0)), (1, (1, 0)), (0, (0, 1)), (1, (1, 1)), (0, (0, 0)), (1, (1, 2)), (0, (0, 1))]


def test_kept_records_are_read_as_they_were(tmp_path):
    log = [[LoggedRecord(0, b"v", b"k"), LoggedRecord(1, b"w", b"l")], []]
    keep_records(tmp_path / "log", log)
    assert load_records(tmp_path / "log") == log


@pytest.mark.integration
def test_records_lie_where_the_answers_say(broker, make_settings):
    settings = make_settings(bootstrap_servers=broker.url, partitions=PARTITIONS)
    with open_admin(settings) as admin:
        create_topics(admin, settings)
    topic = settings.topic("ratings")
    connection = Connection(broker.url, topic)
    sent = [
        [[LoggedRecord(0, b"a", b"k0"), LoggedRecord(0, b"b", b"k0")], [], [LoggedRecord(0, b"c", b"k2")], []],
        [[LoggedRecord(0, b"d", b"k0")], [LoggedRecord(0, b"e", b"k1")], [], [LoggedRecord(0, b"f", b"k3")]],
    ]
    requests = [connection.encode(each) for each in sent]
    for request in requests:
        connection.send(request)
    assert connection.offsets() == [{0: 0, 2: 0}, {0: 2, 1: 0, 3: 0}]
    consumer = KafkaConsumer(bootstrap_servers=broker.url, group_id=None, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    found = sorted((each.partition, each.offset, each.key, each.value) for each in islice(consumer, 6))
    consumer.close()
    assert found == [
        (0, 0, b"k0", b"a"),
        (0, 1, b"k0", b"b"),
        (0, 2, b"k0", b"d"),
        (1, 0, b"k1", b"e"),
        (2, 0, b"k2", b"c"),
        (3, 0, b"k3", b"f"),
    ]


def test_a_refused_batch_is_an_error():
    kind = ProduceResponse.TopicProduceResponse
    refused = kind.PartitionProduceResponse(index=2, error_code=3, base_offset=-1)
    answer = ProduceResponse(responses=[kind(name="ratings", partition_responses=[refused])])
    with pytest.raises(ValueError, match="partition 2 refused a batch: error 3"):
        first_offsets(answer)


@pytest.mark.integration
def test_a_look_sees_what_the_store_holds_then(store, make_settings):
    namespace = make_settings().namespace
    keys = [f"{namespace}:a", f"{namespace}:b"]
    with Redis.from_url(store.url) as client:
        client.set(keys[0], b"1")
        looks = look(store.url, keys)
        assert next(looks) == [b"1", None]
        client.mset({keys[0]: b"2", keys[1]: b"x" * 100_000})
        assert next(looks) == [b"2", b"x" * 100_000]
    looks.close()
