"""A whole topic in memory, kept up to date."""

import threading

import pytest

from schemas.errors import ConfigurationError, StreamrecError
from streams.bus.clients import make_producer
from streams.bus.compacted import CompactedReader
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def produce(topics):
    producer = make_producer(topics)

    def send(*pairs):
        futures = [producer.send(topics.topic("items"), key=key, value=value) for key, value in pairs]
        return [future.get(10) for future in futures]

    yield send
    producer.close()


@pytest.fixture
def follow(admin, topics):
    readers = []

    def start(on_records, topic=None):
        reader = CompactedReader(topics, admin, topic or topics.topic("items"), on_records)
        readers.append(reader)
        reader.start()
        return reader

    yield start
    for reader in readers:
        reader.stop()


def test_all_that_was_there_is_handed_over_before_it_has_caught_up(produce, follow):
    produce(*((f"k{i}".encode(), b"v") for i in range(300)))
    seen = []
    follow(seen.extend).wait_until_caught_up(20)
    assert {record.key for record in seen} == {f"k{i}".encode() for i in range(300)}


def test_empty_topic_is_caught_up_at_once(follow):
    seen = []
    follow(seen.extend).wait_until_caught_up(20)
    assert seen == []


def test_changes_follow_in_the_order_of_their_partition(produce, follow):
    seen = []
    follow(seen.extend).wait_until_caught_up(20)
    produce((b"a", b"1"), (b"a", b"2"), (b"a", None))
    wait_until(lambda: len(seen) == 3)
    assert [record.value for record in seen] == [b"1", b"2", None]


def test_missing_topic_is_refused_at_once(admin, topics):
    with pytest.raises(ConfigurationError, match="nowhere"):
        CompactedReader(topics, admin, "nowhere", print)


def test_failure_of_the_taker_is_raised_by_whoever_waits_or_checks(produce, follow):
    produce((b"a", b"1"))

    def fail(records):
        raise ValueError("cannot take it")

    reader = follow(fail)
    with pytest.raises(StreamrecError, match="cannot take it"):
        reader.wait_until_caught_up(20)
    with pytest.raises(StreamrecError, match="cannot take it"):
        reader.check()


def test_deadline_is_kept(produce, follow):
    produce((b"a", b"1"))
    release = threading.Event()
    reader = follow(lambda _: release.wait(20))
    try:
        with pytest.raises(StreamrecError, match=r"not read to its end within 0\.1 s"):
            reader.wait_until_caught_up(0.1)
    finally:
        release.set()


def test_stop_ends_the_thread(follow):
    reader = follow(lambda _: None)
    reader.wait_until_caught_up(20)
    reader.stop()
    assert not reader._thread.is_alive()
    reader.check()


def test_topic_whose_offsets_go_back_was_made_again_and_ends_the_reader(produce, follow):
    seen = []
    reader = follow(seen.extend)
    produce((b"a", b"1"), (b"a", b"2"))
    wait_until(lambda: len(seen) == 2)
    reader._newest = {record.partition: record.offset + 10 for record in seen}
    produce((b"a", b"3"))

    def has_ended():
        try:
            reader.check()
        except StreamrecError as error:
            return str(error)
        return ""

    assert "deleted and made again" in wait_until(has_ended)
